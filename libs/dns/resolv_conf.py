"""The present name servers of the system."""

from __future__ import annotations

from pathlib import Path

import dns.exception
import dns.resolver
import structlog

log = structlog.get_logger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")


class ResolvConf:
    """The name servers in resolv.conf. The file is read again whenever it changes.

    A machine may change its network, or start before it has one. So a missing, empty or unreadable file is logged and
    raises no error, and the DNS gives no answer until there is a name server (F08).
    """

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._state: tuple[int, int, int] | None = None
        self._addresses: tuple[str, ...] | None = None

    def addresses(self) -> tuple[str, ...]:
        """Returns the addresses of the name servers, as the same object while the file does not change. The result is
        empty while the file names no server.
        """
        state = self._look()
        if self._addresses is None or state != self._state:
            self._state, self._addresses = state, self._read()
        return self._addresses

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> tuple[str, ...]:
        resolver = dns.resolver.Resolver(configure=False)
        try:
            resolver.read_resolv_conf(str(self._path))
        except (dns.exception.DNSException, OSError, ValueError):
            log.warning("no_name_server", file=str(self._path))
            return ()
        return tuple(server for server in resolver.nameservers if isinstance(server, str))
