"""`/v1/status`: the services and their replicas as they are, and what is to be looked at."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.config_api.peers import peers
from tests.config_api.service import Service, running
from tests.peers.ports import free_port

VERSION = version("posthouse")


def warnings(status: dict[str, Any]) -> dict[str, list[str]]:
    """The paths of each warning by its code."""
    assert all(len(each["paths"]) == min(each["count"], 20) for each in status["warnings"])
    return {each["code"]: each["paths"] for each in status["warnings"]}


async def test_each_replica_says_what_it_is(tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    async with peers() as (_, _, targets):
        more = {**targets, "policy_target": f"{targets['policy_target']},{away}"}
        async with running(f"sqlite:///{tmp_path / 'c'}", tmp_path, ingress_target=away, **more) as service:
            services = (await service.get("/v1/status"))["services"]
    shown = {(each["service"], each["address"]): (each["state"], each["version"]) for each in services}
    # The fakes of policy and relay have nothing to say of their readiness.
    assert shown == {
        ("config_api", "127.0.0.1:0"): ("ready", VERSION),
        ("policy", targets["policy_target"]): ("not_ready", VERSION),
        ("policy", away): ("unreachable", None),
        ("relay", targets["relay_target"]): ("not_ready", VERSION),
        ("ingress", away): ("unreachable", None),
    }
    assert {each["transport"] for each in services} == {"plain_tcp"}


async def test_what_is_to_be_looked_at(on_sqlite: Service) -> None:
    service = on_sqlite
    shown = warnings(await service.get("/v1/status"))
    assert shown.pop("default_hostname") == ["/v1/settings/general"]
    assert shown.pop("insecure_grpc") == []
    assert ("running_as_root" in shown) == (os.geteuid() == 0)
    assert not {"unverified_certificate", "unlimited_relay_domain"} & shown.keys()
    await service.change("/v1/settings/general", {"profile": {"hostname": "gw.example.org"}})
    host = {"host": "smart.example", "port": 587, "always_tls": True}
    rule = {"name": "r", "type": "recipient", "target_type": "domain", "targets": ["far.example"]}
    made = await service.make("relay-rules", {**rule, "relay_host": {**host, "verify_certificate": False}})
    other = {**rule, "name": "s", "targets": ["other.example"]}
    await service.make("relay-rules", {**other, "relay_host": host})
    # Without TLS a certificate is not verified either, which nobody chose.
    plain = {**rule, "name": "t", "targets": ["third.example"], "relay_host": {"host": "smart.example", "port": 25}}
    await service.make("relay-rules", plain)
    limited = {"name": "l", "domain": "limited.example", "recipients": "list"}
    await service.make("relay-domains", limited)
    domain = await service.make("relay-domains", {"name": "u", "domain": "any.example"})
    shown = warnings(await service.get("/v1/status"))
    assert "default_hostname" not in shown
    assert shown["unverified_certificate"] == [f"/v1/relay-rules/{made['id']}"]
    assert shown["unlimited_relay_domain"] == [f"/v1/relay-domains/{domain['id']}"]


async def test_no_more_than_20_paths_are_shown(on_sqlite: Service) -> None:
    for number in range(21):
        await on_sqlite.make("relay-domains", {"name": f"n{number}", "domain": f"d{number}.example"})
    (warning,) = [
        each for each in (await on_sqlite.get("/v1/status"))["warnings"] if each["code"] == "unlimited_relay_domain"
    ]
    assert (warning["count"], len(warning["paths"])) == (21, 20)
