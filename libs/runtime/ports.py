"""Whether a port can be listened on."""

from __future__ import annotations

import socket


def unavailable_reason(host: str, port: int) -> str:
    """Why nobody can listen there now; empty: somebody can, or `host` is a name, of which only a look-up tells.

    The port is bound alone, so that one that others would share counts as taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do, so that what is left of closed connections is in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except socket.gaierror:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""
