"""Access to the gRPC of the services: over Unix sockets by the permissions of their folder, over TCP by mutual TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grpc
import structlog

from libs.runtime import addresses
from libs.runtime.addresses import UnixSocket
from libs.runtime.certificates import load_pair, require_file
from libs.runtime.lifecycle import StartupError

log = structlog.get_logger(__name__)

# A service's certificate carries the URI of its service, by which servers know who calls, and a DNS name of this
# domain, by which clients know whom they reached.
URI_SCHEME = "posthouse"
DNS_DOMAIN = "posthouse.internal"

INSECURE_WARNING = "gRPC is open to every user of this machine (POSTHOUSE_INSECURE_GRPC)"


def service_uri(service: str) -> str:
    return f"{URI_SCHEME}://{service}"


def service_dns_name(service: str) -> str:
    """A host name has no underscore (RFC 1123 2.1)."""
    return f"{service.replace('_', '-')}.{DNS_DOMAIN}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side of mutual TLS: own chain and key, and the authority the other side is checked against."""

    certificate: Path
    key: Path
    authority: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """(key, chain, authority). Raises StartupError when a file can't be read."""
        try:
            for path in (self.key, self.certificate, self.authority):
                require_file(path)
            return self.key.read_bytes(), self.certificate.read_bytes(), self.authority.read_bytes()
        except OSError as error:
            raise StartupError(f"gRPC TLS: {error.filename}: {error.strerror}") from error
        except ValueError as error:
            raise StartupError(f"gRPC TLS: {error}") from error

    def check(self) -> None:
        """Raises StartupError when the files can't be read, or certificate and key are no pair."""
        self.read()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            load_pair(context, self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except ValueError as error:
            raise StartupError(f"gRPC TLS: {error}") from error
        except OSError as error:
            reason = getattr(error, "reason", "") or type(error).__name__
            raise StartupError(f"gRPC TLS: {self.authority}: {reason}") from error

    def state(self) -> tuple[tuple[int, int, int], ...]:
        """Changes whenever one of the files does; empty while one is missing."""
        try:
            statuses = [path.stat() for path in (self.certificate, self.key, self.authority)]
        except OSError:
            return ()
        return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in statuses)


@dataclass(frozen=True, slots=True)
class Security:
    """How a process guards the gRPC that it serves and calls. Unix sockets need nothing of it."""

    tls: TlsFiles | None = None
    # Plain TCP between processes of this machine is allowed (POSTHOUSE_INSECURE_GRPC).
    insecure_loopback: bool = False
    # Whoever may call a server may also ask it for its methods (POSTHOUSE_GRPC_REFLECTION).
    reflection: bool = False

    def require(self, listen_or_targets: Iterable[str]) -> None:
        """Raises ValueError when one of the addresses can be used neither by a Unix socket, nor by TLS, nor by
        loopback where that is allowed.
        """
        for text in listen_or_targets:
            address = addresses.parse(text)
            if isinstance(address, UnixSocket) or self.tls is not None:
                continue
            if not address.is_loopback:
                raise ValueError(
                    f"gRPC over TCP ({address}) needs mutual TLS: set GRPC_CERT, GRPC_KEY and GRPC_CA with the "
                    "service's prefix, which `posthouse certificates` makes, or use unix:PATH"
                )
            if not self.insecure_loopback:
                raise ValueError(
                    f"gRPC over TCP ({address}) needs mutual TLS: set GRPC_CERT, GRPC_KEY and GRPC_CA with the "
                    "service's prefix, or use unix:PATH; POSTHOUSE_INSECURE_GRPC=true allows plain TCP on loopback to "
                    "every user of this machine"
                )

    def transport(self, address: str) -> Literal["unix_socket", "mutual_tls", "plain_tcp"]:
        """How gRPC is spoken at this address."""
        if isinstance(addresses.parse(address), UnixSocket):
            return "unix_socket"
        return "plain_tcp" if self.tls is None else "mutual_tls"

    def is_open(self, address: str) -> bool:
        """Whether every user of the machine can call, or pretend to be, the server at this address."""
        return self.transport(address) == "plain_tcp"


class ServerCredentials:
    """What a server shows and demands at each handshake: the files as they are then; the last good ones when they
    are no pair, which they are not while they are being replaced one by one.
    """

    def __init__(self, files: TlsFiles) -> None:
        files.check()
        self._files = files
        self._state = files.state()
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(self._current, self._fetch, require_client_authentication=True)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        key, chain, authority = self._files.read()
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authority)

    def _fetch(self) -> grpc.ServerCertificateConfiguration:
        """At each handshake, in one of gRPC's own threads."""
        state = self._files.state()
        if state != self._state:
            try:
                self._files.check()
                self._current, self._state = self._read(), state
                log.info("grpc_certificates_reloaded", certificate=str(self._files.certificate))
            except StartupError as error:
                log.error("grpc_certificates_unusable", reason=str(error))
        return self._current
