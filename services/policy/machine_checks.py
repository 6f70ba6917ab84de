"""Checks of policy's own machine: its name servers, and block lists that list this gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address

from libs.dns import name_server_check
from libs.dns.resolv_conf import ResolvConf
from libs.dns.servers import server_list
from libs.runtime.checks import Check, CheckResult, Checks, Level
from libs.runtime.machine_checks import certificate, clock, disk, name_servers, open_files
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.service import Lookups
from services.policy.rules.lookup import Lookup, Outcome, Question
from services.policy.rules.model import Snapshot
from services.policy.settings import Settings

# The file descriptors that policy needs for streams, look-ups and files, with a reserve.
_OPEN_FILES = 4096
_PARTY = "checks"


def checks(settings: Settings, resolver: Resolver, lookups: Lookups, snapshot: Callable[[], Snapshot | None]) -> Checks:
    servers = server_list(settings.nameservers)
    system = ResolvConf()
    by_name: dict[str, Check] = {
        "disk": disk(settings.data_dir),
        "clock": clock(),
        "open_files": open_files(_OPEN_FILES),
        "name_servers": name_servers(lambda: name_server_check.look(servers, system.addresses)),
        "block_lists": block_lists(resolver, lookups, snapshot),
    }
    if settings.security.tls is not None:
        by_name["grpc_certificate"] = certificate(settings.security.tls.certificate, check_id="grpc_certificate")
    return Checks(by_name)


def block_lists(resolver: Resolver, lookups: Lookups, snapshot: Callable[[], Snapshot | None]) -> Check:
    """Checks whether a configured block list lists an address of the gateway's hostname."""

    async def check() -> Sequence[CheckResult]:
        current = snapshot()
        zones = current.content_checks.dnsbl_zones if current is not None else ()
        if current is None or not zones:
            return [CheckResult("block_lists", Level.OK, "No block list is configured.")]
        hostname = current.profile.hostname
        answers = await resolver.for_party(_PARTY).resolve_all([(hostname, "A"), (hostname, "AAAA")])
        addresses = [
            str(record) for answer in answers for record in answer.records if ip_address(str(record)).is_global
        ]
        if not addresses:
            text = f"{hostname} has no public address that block lists could list."
            return [CheckResult("block_lists", Level.OK, text)]
        questions = {Question(Lookup.DNSBL, address, zone.zone): zone.codes for address in addresses for zone in zones}
        lookup_results = await lookups.find(list(questions), _PARTY)
        results: list[CheckResult] = []
        for question, codes in questions.items():
            lookup_result = lookup_results[question]
            if lookup_result.outcome is Outcome.FOUND and any(
                _is_listing(record, codes) for record in lookup_result.records
            ):
                text = f"The block list {question.zone} lists {question.subject}, an address of {hostname}."
                remedy = (
                    f"Find out why, and ask {question.zone} to remove it, because other servers refuse mail for "
                    "this reason."
                )
                results.append(CheckResult("block_lists", Level.ERROR, text, remedy))
        if results:
            return results
        silent = sorted({each.zone for each in questions if lookup_results[each].outcome is Outcome.NO_ANSWER})
        if silent:
            text = f"These block lists gave no usable answer: {', '.join(silent)}."
            remedy = "Check whether they still exist, and whether they answer the name servers that policy asks."
            return [CheckResult("block_lists", Level.WARNING, text, remedy)]
        return [CheckResult("block_lists", Level.OK, f"No configured block list lists an address of {hostname}.")]

    return check


def _is_listing(record: str, codes: Sequence[tuple[int, int]]) -> bool:
    number = int(ip_address(record))
    return any(low <= number <= high for low, high in codes)
