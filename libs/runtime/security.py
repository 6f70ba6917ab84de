"""The protection of the services' gRPC: Unix sockets by the permissions of their folder, and TCP by mutual TLS."""

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

# The certificate of a service contains a URI, by which servers recognise the service as a caller. It also contains a
# DNS name in this domain, by which clients recognise the service as a server.
URI_SCHEME = "posthouse"
DNS_DOMAIN = "posthouse.internal"

INSECURE_WARNING = "gRPC is open to every user of this machine (POSTHOUSE_INSECURE_GRPC)"


def service_uri(service: str) -> str:
    return f"{URI_SCHEME}://{service}"


def service_dns_name(service: str) -> str:
    """Returns the DNS name in the certificate of a service. It has hyphens in place of underscores, which a host name
    must not have (RFC 1123 2.1).
    """
    return f"{service.replace('_', '-')}.{DNS_DOMAIN}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files of one side of mutual TLS: its chain and key, and the authority for the other side."""

    certificate: Path
    key: Path
    authority: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Returns (key, chain, authority). Raises StartupError when a file cannot be read."""
        try:
            for path in (self.key, self.certificate, self.authority):
                require_file(path)
            return self.key.read_bytes(), self.certificate.read_bytes(), self.authority.read_bytes()
        except OSError as error:
            raise StartupError(f"gRPC TLS: {error.filename}: {error.strerror}") from error
        except ValueError as error:
            raise StartupError(f"gRPC TLS: {error}") from error

    def check(self) -> None:
        """Checks that the files can be read, and that certificate and key belong together. Raises StartupError."""
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
        """Returns a value that changes whenever one of the files changes. The result is empty while a file does not
        exist.
        """
        try:
            statuses = [path.stat() for path in (self.certificate, self.key, self.authority)]
        except OSError:
            return ()
        return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in statuses)


@dataclass(frozen=True, slots=True)
class Security:
    """The protection of the gRPC that a process serves and calls. Unix sockets do not need these settings."""

    tls: TlsFiles | None = None
    # Whether plain TCP between processes of this machine is allowed (POSTHOUSE_INSECURE_GRPC).
    insecure_loopback: bool = False
    # Whether callers may ask a server for its methods (POSTHOUSE_GRPC_REFLECTION).
    reflection: bool = False

    def require(self, listen_or_targets: Iterable[str]) -> None:
        """Checks that each address is a Unix socket, is used with TLS, or is on loopback where that is allowed. Raises
        ValueError.
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
        """Returns the kind of connection to this address."""
        if isinstance(addresses.parse(address), UnixSocket):
            return "unix_socket"
        return "plain_tcp" if self.tls is None else "mutual_tls"

    def is_open(self, address: str) -> bool:
        """Whether every user of the machine can call the server at this address, or pretend to be it."""
        return self.transport(address) == "plain_tcp"


class ServerCredentials:
    """The certificates of a server for each handshake: those in the present files, or the last valid certificates while
    the present files cannot be read or do not belong together. Files do not belong together for a moment while they are
    replaced one by one.
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
        """Returns the certificates for a handshake. gRPC calls this at each handshake, in one of its threads."""
        state = self._files.state()
        if state != self._state:
            try:
                self._files.check()
                self._current, self._state = self._read(), state
                log.info("grpc_certificates_reloaded", certificate=str(self._files.certificate))
            except StartupError as error:
                log.error("grpc_certificates_unusable", reason=str(error))
        return self._current
