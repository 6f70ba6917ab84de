"""Checks whether a process can listen at a port."""

from __future__ import annotations

import socket


def unavailable_reason(host: str, port: int) -> str:
    """Returns why no process can listen at this port now. The result is empty when a process can listen, or when `host`
    is a name that cannot be looked up.

    The check does not share the port (SO_REUSEPORT), so a port that another process shares counts as taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # The option is set as servers set it, so that closed connections do not make the port unusable.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except socket.gaierror:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""
