"""Certificates for the services, made as `posthouse certificates` makes them."""

from __future__ import annotations

import datetime
from pathlib import Path

from libs.runtime.security import Security, TlsFiles
from services.suite.certificates import DAYS, files_of, renew
from services.suite.topology import GRPC_SERVICES as SERVICES


class ServiceCertificates:
    """A folder with a certificate authority and the files of each service."""

    def __init__(self, folder: Path, *services: str) -> None:
        self._authority = folder / "authority"
        self.folder = folder / "certificates"
        self._services = services or SERVICES
        self.renew()

    def renew(self, *, days_later: float = 0, days: int = DAYS) -> list[str]:
        """Renews the certificates, as a later run of the command does."""
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days_later)
        return renew(self._authority, self.folder, now, days=days, services=self._services)

    def files(self, service: str) -> TlsFiles:
        return files_of(self.folder, service)

    def security(self, service: str) -> Security:
        return Security(self.files(service))

    def variables(self) -> dict[str, str]:
        """Returns the environment variables by which the services use these certificates."""
        variables: dict[str, str] = {}
        for service in SERVICES:
            files, prefix = self.files(service), f"{service.upper()}_GRPC_"
            variables |= {f"{prefix}CERT": str(files.certificate), f"{prefix}KEY": str(files.key)}
            variables[f"{prefix}CA"] = str(files.authority)
        return variables
