"""Checks of ingress's own machine: the certificates that clients see, disk, clock, open files, and name servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from libs.dns import name_server_check
from libs.dns.resolv_conf import ResolvConf
from libs.dns.servers import server_list
from libs.runtime.checks import Check, Checks
from libs.runtime.machine_checks import certificate, clock, disk, name_servers, open_files
from services.ingress.settings import Settings

# The file descriptors of a worker besides its connections.
_OTHER_FILES = 100


class Hostname:
    """The gateway's name in the settings. It is empty until config_api has sent it."""

    def __init__(self) -> None:
        self.name = ""

    def set(self, name: str) -> None:
        self.name = name


def checks(settings: Settings, certificates: Sequence[Path], hostname: Hostname) -> Checks:
    """Returns the checks of ingress. The first one of `certificates` is for clients that ask for no name, so it must be
    valid for the hostname.
    """
    servers = server_list(settings.nameservers)
    system = ResolvConf()
    no_name: Callable[[], str] = lambda: ""  # noqa: E731
    by_name: dict[str, Check] = {
        "disk": disk(settings.data_dir),
        "clock": clock(),
        "open_files": open_files(settings.max_connections // settings.workers + _OTHER_FILES),
        "name_servers": name_servers(lambda: name_server_check.look(servers, system.addresses)),
    }
    for number, path in enumerate(certificates):
        name = no_name if number else lambda: hostname.name
        by_name[f"certificate {path}"] = certificate(path, name, public=True)
    if settings.security.tls is not None:
        by_name["grpc_certificate"] = certificate(settings.security.tls.certificate, check_id="grpc_certificate")
    return Checks(by_name)
