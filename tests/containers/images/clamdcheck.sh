#!/bin/sh
# Like the script in the official image, this succeeds when clamd answers PING.
exec python3 -c "
import socket
with socket.create_connection(('127.0.0.1', 3310), timeout=5) as clamd:
    clamd.sendall(b'zPING\0')
    raise SystemExit(clamd.recv(16) != b'PONG\0')"
