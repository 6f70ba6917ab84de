"""`/v1/status` shows the state of the services and their replicas, and warnings about the configuration."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from libs.runtime import rpc
from services.config_api.http import middleware
from tests.config_api.peers import peers
from tests.config_api.service import Service, running
from tests.peers import plain_grpc
from tests.peers.ports import free_port

VERSION = version("posthouse")


def warnings(status: dict[str, Any]) -> dict[str, list[str]]:
    """Returns the paths of each warning by its code."""
    assert all(len(each["paths"]) == min(each["count"], 20) for each in status["warnings"])
    return {each["code"]: each["paths"] for each in status["warnings"]}


async def test_each_replica_shows_its_state_and_version(tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_port()}"
    async with peers() as (_, _, targets):
        more = {**targets, "policy_target": f"{targets['policy_target']},{away}"}
        async with running(f"sqlite:///{tmp_path / 'c'}", tmp_path, ingress_target=away, **more) as service:
            services = (await service.get("/v1/status"))["services"]
    shown = {(each["service"], each["address"]): (each["state"], each["version"]) for each in services}
    # The fake services have no configuration, so only config_api reports a revision.
    assert [(each["service"], each["revision"]) for each in services if each["revision"] is not None] == [
        ("config_api", 1)
    ]
    # The fakes of policy and relay report no readiness.
    assert shown == {
        ("config_api", "127.0.0.1:0"): ("ready", VERSION),
        ("policy", targets["policy_target"]): ("not_ready", VERSION),
        ("policy", away): ("unreachable", None),
        ("relay", targets["relay_target"]): ("not_ready", VERSION),
        ("ingress", away): ("unreachable", None),
    }
    assert {each["transport"] for each in services} == {"plain_tcp"}


async def test_the_status_warns_of_risky_settings(on_sqlite: Service) -> None:
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
    # Without TLS no certificate is verified, but nobody chose that, so there is no warning.
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


async def test_a_replica_reports_its_revision_in_force(on_sqlite: Service, tmp_path: Path) -> None:
    server = rpc.Server({}, lambda _: None, revision=lambda: 42)
    port = await plain_grpc.start(server)
    async with running(f"sqlite:///{tmp_path / 'c'}", tmp_path, policy_target=f"127.0.0.1:{port}") as service:
        services = (await service.get("/v1/status"))["services"]
        assert [each["revision"] for each in services if each["service"] == "policy"] == [42]
        await service.make("trusted-networks", {"name": "n", "networks": ["192.0.2.0/24"]})
        wanted = services[0]["revision"] + 1
        while (await service.get("/v1/status"))["services"][0]["revision"] != wanted:
            pass
    await server.stop(0)


async def test_every_config_api_that_shares_the_database_is_listed(postgres_url: str, tmp_path: Path) -> None:
    more = {"secret_key": "one secret key for both"}
    async with AsyncExitStack() as stack:
        ports = [free_port() for _ in range(2)]
        first, _ = [
            await stack.enter_async_context(
                running(postgres_url, tmp_path / str(port), grpc_listen=f"127.0.0.1:{port}", **more)
            )
            for port in ports
        ]

        async def listed() -> list[tuple[str, str, str]]:
            services = (await first.get("/v1/status"))["services"]
            return [
                (each["address"], each["state"], each["version"])
                for each in services
                if each["service"] == "config_api"
            ]

        wanted = [(f"127.0.0.1:{port}", "ready", VERSION) for port in ports]
        # The replica that answers the request comes first.
        while await listed() != wanted:
            pass
    # A replica that stopped in an orderly way is removed from the list at once.
    async with running(postgres_url, tmp_path / "third", **more) as service:
        async with service.watch_policy("policy-1"):
            pass
        services = (await service.get("/v1/status"))["services"]
        assert len([each for each in services if each["service"] == "config_api"]) == 1


async def test_an_answer_waits_for_replicas_that_watch_another_config_api(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "IN_FORCE_SECONDS", 60.0)
    more = {"secret_key": "one secret key for both"}
    async with (
        running(postgres_url, tmp_path / "1", **more) as first,
        running(postgres_url, tmp_path / "2", **more) as second,
        second.watch_policy("policy-2") as watch,
    ):
        await watch.next()
        await watch.put_in_force()
        # The answer waits for the replica only after `first` has learnt that the replica watches `second`.
        number = 0
        while True:
            number += 1
            network = {"name": f"n{number}", "networks": ["192.0.2.0/24"]}
            headers = {"Prefer": "respond-async"}
            answer = await first.api.post("/v1/trusted-networks", json=network, headers=headers)
            if answer.headers["posthouse-in-force"] == "false; waiting=policy-2":
                break
        while watch.revision < int(answer.headers["etag"].strip('"')):
            await watch.next()
        await watch.put_in_force()
        network = {"name": "last", "networks": ["192.0.2.0/24"]}
        request = asyncio.create_task(first.api.post("/v1/trusted-networks", json=network))
        await watch.next()
        assert not request.done()
        await watch.put_in_force()
        assert (await request).headers["posthouse-in-force"] == "true"
