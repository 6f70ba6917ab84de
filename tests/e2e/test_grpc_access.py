"""Each service may call only its gRPC methods over TCP, and other users may call nothing at the Unix sockets.

The table is compared with the descriptors of the contracts, so a new method without a row makes a test fail.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import grpc
import httpx
import pytest

from libs.runtime.security import TlsFiles, service_dns_name
from services.suite.certificates import files_of, renew
from services.suite.topology import GRPC_SERVICES as SERVICES
from tests.e2e.grpc_caller import call_all, described_methods
from tests.peers.suite import ROOT, Suite

pytestmark = pytest.mark.e2e

CONFIG, POLICY, RELAY = "posthouse.config.v1.Configuration", "posthouse.policy.v1.Policy", "posthouse.relay.v1.Relay"
CHECKS = "posthouse.checks.v1.Checks"
INGRESS = "posthouse.ingress.v1.Ingress"
HEALTH, REFLECTION = "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"
EVERYBODY = set(SERVICES)
# Maps each method to the services that may call it.
MAY_CALL: dict[str, set[str]] = {
    f"{CONFIG}/WatchPolicy": {"policy"},
    f"{CONFIG}/ReportRuleHits": {"policy"},
    f"{CONFIG}/WatchRelay": {"relay"},
    f"{CONFIG}/UpgradePasswordHashes": {"policy"},
    f"{POLICY}/Decide": {"ingress"},
    f"{POLICY}/DecideStream": {"ingress"},
    f"{POLICY}/Explain": {"config_api"},
    f"{POLICY}/ListBlockedClients": {"config_api"},
    f"{POLICY}/UnblockClient": {"config_api"},
    f"{RELAY}/Submit": {"ingress"},
    f"{RELAY}/VerifyRecipient": {"ingress"},
    f"{RELAY}/ListMessages": {"config_api"},
    f"{RELAY}/GetMessage": {"config_api"},
    f"{RELAY}/GetMessageContent": {"config_api"},
    f"{RELAY}/ActOnMessages": {"config_api"},
    f"{RELAY}/ListHistory": {"config_api"},
    f"{RELAY}/GetStatistics": {"config_api"},
    f"{RELAY}/ListDestinations": {"config_api"},
    f"{RELAY}/SuspendDestination": {"config_api"},
    f"{RELAY}/ResumeDestination": {"config_api"},
    f"{RELAY}/ResolveRoute": {"config_api"},
    f"{RELAY}/TestRelayHost": {"config_api"},
    f"{RELAY}/ReadEvents": {"config_api"},
    f"{CHECKS}/ListChecks": {"config_api"},
    f"{INGRESS}/SubmitMessage": {"config_api"},
    f"{HEALTH}/Check": EVERYBODY,
    f"{HEALTH}/Watch": EVERYBODY,
    f"{HEALTH}/List": EVERYBODY,
    f"{REFLECTION}/ServerReflectionInfo": EVERYBODY,
}
SERVED_BY = {
    CONFIG: {"config_api"},
    POLICY: {"policy"},
    RELAY: {"relay"},
    CHECKS: {"ingress", "policy", "relay"},
    INGRESS: {"ingress"},
    HEALTH: EVERYBODY,
    REFLECTION: EVERYBODY,
}
# The gRPC library's health service does not implement this method yet.
UNSERVED = {f"{HEALTH}/List"}


def serves(server: str, path: str) -> bool:
    return server in SERVED_BY[path.partition("/")[0]] and path not in UNSERVED


def test_every_grpc_method_has_its_row() -> None:
    assert set(described_methods()) == MAY_CALL.keys()


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with Suite({"POSTHOUSE_GRPC_REFLECTION": "true"}, secured=True) as running:
        yield running
        print(running.logs[-20_000:])


def expected(server: str, caller: str, path: str) -> str:
    """Returns the name of the expected status, or an empty text when the call must not be refused."""
    if not serves(server, path):
        return "UNIMPLEMENTED"
    return "" if caller in MAY_CALL[path] else "PERMISSION_DENIED"


def refusals(server: str, results: dict[str, str]) -> dict[str, str]:
    """Replaces each status by "" unless it shows that the caller is refused or that the method does not exist."""
    shown = {"PERMISSION_DENIED", "UNIMPLEMENTED", "UNAVAILABLE", "UNAUTHENTICATED"}
    return {path: status if status in shown else "" for path, status in results.items()}


def channel(suite: Suite, server: str, files: TlsFiles) -> grpc.Channel:
    key, chain, authority = files.read()
    options = [("grpc.ssl_target_name_override", service_dns_name(server))]
    return grpc.secure_channel(suite.layout[server].grpc, grpc.ssl_channel_credentials(authority, key, chain), options)


@pytest.mark.parametrize("server", SERVICES)
@pytest.mark.parametrize("caller", SERVICES)
def test_each_service_may_call_only_the_methods_of_the_table(suite: Suite, server: str, caller: str) -> None:
    assert suite.certificates is not None
    with channel(suite, server, suite.certificates.files(caller)) as connected:
        assert refusals(server, call_all(connected)) == {path: expected(server, caller, path) for path in MAY_CALL}


@pytest.mark.parametrize("server", SERVICES)
def test_a_service_that_is_not_in_the_table_may_call_only_health_and_reflection(
    suite: Suite, server: str, tmp_path: Path
) -> None:
    """The refusals are also logged and counted."""
    renew(suite.folder / "tls" / "authority", tmp_path, datetime.datetime.now(datetime.UTC), services=["stranger"])
    metrics = f"http://{suite.host}:{suite.port(f'{server.upper()}_METRICS_PORT')}/metrics"
    counter = f"posthouse_{server}_grpc_calls_refused_total"

    def count() -> float:
        lines = httpx.get(metrics, timeout=60).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(counter))

    before = count()
    with channel(suite, server, files_of(tmp_path, "stranger")) as connected:
        results = refusals(server, call_all(connected))
    for path, status in results.items():
        # Health and reflection may be called with the certificate of any service, so this certificate is enough for
        # them.
        caller = "relay" if MAY_CALL[path] is EVERYBODY else "stranger"
        assert status == expected(server, caller, path), path
    refused = [path for path, status in results.items() if status == "PERMISSION_DENIED"]
    assert count() == before + len(refused)
    lines = [json.loads(line) for line in suite.log(server).splitlines() if "grpc_call_refused" in line]
    logged = {line["method"].removeprefix("/") for line in lines if line["caller"] == "stranger"}
    assert logged == set(refused)


def test_the_status_shows_the_transport_between_the_services(suite: Suite) -> None:
    services = suite.api.get("/v1/status").json()["services"]
    shown = {(each["service"], each["transport"], each["state"], each["version"]) for each in services}
    assert shown == {(service, "mutual_tls", "ready", version("posthouse")) for service in SERVICES}


def as_user(user: int, suite: Suite) -> dict[str, dict[str, str]]:
    """Calls all methods at each service's Unix socket as this user, and returns the results by service."""
    targets = {name: process.grpc for name, process in suite.layout.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.grpc_caller", str(user), json.dumps(targets)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_can_call_nothing() -> None:
    with Suite() as suite:
        # Usually another user cannot enter a test's data folder. Here only the permissions of the sockets' folder
        # protect them.
        suite.folder.chmod(0o755)
        for path in (suite.folder, *suite.folder.parents):
            assert path.stat().st_mode & 0o001, f"another user can enter {path}"
        status = suite.api.get("/v1/status").json()
        assert {each["transport"] for each in status["services"]} == {"unix_socket"}
        assert "insecure_grpc" not in {warning["code"] for warning in status["warnings"]}
        for server, results in as_user(65534, suite).items():
            assert results == dict.fromkeys(MAY_CALL, "UNAVAILABLE"), server
        for server, results in as_user(0, suite).items():
            refused = refusals(server, results)
            assert refused == {
                path: "" if serves(server, path) and not path.startswith(REFLECTION) else "UNIMPLEMENTED"
                for path in MAY_CALL
            }, "a process that can open the socket may call every method except reflection, which is off"


def test_posthouse_up_opens_only_tcp_ports_for_mail_and_http() -> None:
    """Metrics are served only when a port for them is set."""
    with Suite(by_command=True, metrics=False) as suite:
        pids = {str(suite.pid(name)) for name in suite.layout}
        listening = {port for pid in pids for port in _tcp_ports(pid)}
        names = ("CONFIG_API_PORT", "INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT")
        assert listening == {suite.port(name) for name in names}


def _tcp_ports(pid: str) -> set[int]:
    """Returns the ports on which a process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = str(descriptor.readlink())
        except OSError:
            continue
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            # The state 0A means LISTEN.
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
