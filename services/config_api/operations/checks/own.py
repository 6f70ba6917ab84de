"""config_api's own checks: its machine, the hostname in the DNS, and settings that do harm or have no effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from libs.dns import name_server_check
from libs.dns.resolv_conf import ResolvConf
from libs.runtime.checks import Check, CheckResult, Checks, Level
from libs.runtime.machine_checks import certificate, clock, disk, name_servers, open_files
from services.config_api.changes.check_context import StoredCheckContext
from services.config_api.operations.checks.rules_that_never_act import access_rules_that_never_act
from services.config_api.resources.general import FALLBACK_HOSTNAME, hostname_findings
from services.config_api.resources.relay_rules import RELAY_RULES
from services.config_api.settings import Settings
from services.config_api.storage.documents import Store

_OPEN_FILES = 1024
# The largest number of objects that one result names.
_SHOWN = 5


def checks(settings: Settings, store: Store, check_context_for: Callable[[str], StoredCheckContext]) -> Checks:
    system = ResolvConf()
    hostname = _Hostname(store)
    made: dict[str, Check] = {
        "disk": disk(settings.data_dir),
        "clock": clock(),
        "open_files": open_files(_OPEN_FILES),
        "name_servers": name_servers(lambda: name_server_check.look(settings.name_servers, system.addresses)),
        "hostname": lambda: _hostname(hostname, check_context_for("")),
        "relay_domains": lambda: _relay_domains(store),
        "access_rules": lambda: _access_rules(store),
        "relay_rules": lambda: _relay_rules(store, check_context_for),
    }
    for check_id, path in _certificates(settings).items():
        made[check_id] = certificate(path, check_id=check_id)
    return Checks(made)


class _Hostname:
    """Reads the hostname of the gateway from the settings."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> str:
        general = await self._store.get("settings/general", "settings/general")
        return FALLBACK_HOSTNAME if general is None else str(general.body["profile"]["hostname"])


def _certificates(settings: Settings) -> dict[str, Path]:
    paths = {"certificate": settings.tls_cert}
    if settings.security.tls is not None:
        paths["grpc_certificate"] = settings.security.tls.certificate
    return {check_id: path for check_id, path in paths.items() if path is not None}


async def _hostname(hostname: _Hostname, check_context: StoredCheckContext) -> Sequence[CheckResult]:
    name = await hostname.read()
    if name == FALLBACK_HOSTNAME:
        text = f"The hostname is {name}, the default hostname, from which other servers refuse mail."
        remedy = (
            "Set it to the name that this gateway has in the DNS, in the general settings: "
            "`posthouse config set general.profile.hostname=NAME`."
        )
        return [CheckResult("hostname", Level.ERROR, text, remedy)]
    remedy = (
        f"Publish an A or AAAA record for {name}, and have the owner of the address publish a PTR record that names "
        f"{name}."
    )
    findings = await hostname_findings(name, check_context)
    results = [CheckResult("hostname", Level.WARNING, f"{name}: {each.detail}", remedy) for each in findings]
    text = f"Nothing is wrong with the addresses of {name} and their PTR records, as far as the DNS answered."
    return results or [CheckResult("hostname", Level.OK, text)]


async def _relay_domains(store: Store) -> Sequence[CheckResult]:
    unlimited = [
        document.body["domain"]
        for document in await store.all("relay-domains")
        if document.body["enabled"] and document.body["recipients"] == "any"
    ]
    if not unlimited:
        return [CheckResult("relay_domains", Level.OK, "No relay domain accepts mail for unknown recipients.")]
    text = (
        f"Relay domains that accept mail for any recipient: {_listed(unlimited)}. If their own server refuses mail, "
        "it is returned to senders that may be forged."
    )
    remedy = "Set recipients to list or verify in /v1/relay-domains/{id}."
    return [CheckResult("relay_domains", Level.WARNING, text, remedy)]


async def _access_rules(store: Store) -> Sequence[CheckResult]:
    rules = [(document.id, document.body) for document in await store.all("access-rules")]
    trusted = [document.body for document in await store.all("trusted-networks")]
    general = await store.get("settings/general", "settings/general")
    auth = general.body["smtp_auth"] if general is not None else {}
    exempt = [network for body in trusted if body["enabled"] for network in body["networks"]]
    if auth.get("skip_for_local_networks"):
        exempt += auth["local_networks"]
    idle = access_rules_that_never_act(rules, exempt, datetime.now(UTC))
    if not idle:
        return [CheckResult("access_rules", Level.OK, "Every access rule can act.")]
    remedy = "Delete or change these rules: GET /v1/access-rules/{id} shows each of them."
    return [
        CheckResult("access_rules", Level.WARNING, f"{reason} {_listed(ids)}.", remedy) for reason, ids in idle.items()
    ]


async def _relay_rules(store: Store, check_context_for: Callable[[str], StoredCheckContext]) -> Sequence[CheckResult]:
    idle = []
    for document in await store.all("relay-rules"):
        findings = await RELAY_RULES.check(document.body, check_context_for(document.id))
        unreachable = {finding.pointer for finding in findings if finding.code == "unreachable"}
        if document.body["enabled"] and len(unreachable) == len(document.body["targets"]):
            idle.append(document.id)
    if not idle:
        return [CheckResult("relay_rules", Level.OK, "Every relay rule can act.")]
    text = f"Relay rules that never act, because other rules take all of their mail first: {_listed(idle)}."
    return [CheckResult("relay_rules", Level.WARNING, text, "Delete these rules, or change their position or targets.")]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
