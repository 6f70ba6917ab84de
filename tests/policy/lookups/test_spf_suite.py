"""The public test suite of RFC 7208 (version 2014.04), run with our resolver and a real DNS server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.dns.servers import server_list
from libs.smtp.network import canonical_ip
from services.policy.lookups import spf
from services.policy.lookups.resolver import Resolver
from services.policy.rules.content import spf_result
from services.policy.rules.lookup import Lookup, Question
from tests.peers.dns import Behaviour, DnsServer

SUITE = Path(__file__).parents[4] / "shared" / "data" / "spf" / "pyspf" / "rfc7208-tests.yml"
_KINDS = ("A", "AAAA", "MX", "TXT", "PTR")

pytestmark = pytest.mark.skipif(not SUITE.exists(), reason="the suite is not here")


def _scenarios() -> Iterator[Any]:
    if SUITE.exists():
        with SUITE.open(encoding="utf-8") as documents:
            yield from filter(None, yaml.safe_load_all(documents))


SCENARIOS = list(_scenarios())


def test_all_scenarios_of_the_suite_are_run() -> None:
    assert sum(len(scenario["tests"]) for scenario in SCENARIOS) == 203


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["description"])
async def test_each_scenario_has_the_expected_result(scenario: dict[str, Any], dns_server: DnsServer) -> None:
    for name, records in scenario["zonedata"].items():
        _load(dns_server, name, records)
    resolver = Resolver(server_list(dns_server.address), seconds=0.5)
    wrong = {}
    for name, test in scenario["tests"].items():
        found = await spf.check(
            resolver,
            Question(
                Lookup.SPF,
                test.get("mailfrom") or "",
                helo=test.get("helo") or "",
                client=str(canonical_ip(test["host"])),
            ),
        )
        wanted = test["result"] if isinstance(test["result"], list) else [test["result"]]
        result = spf_result(found.lookup_result).name.lower()
        if result not in wanted:
            wrong[name] = f"{result}, not {' or '.join(wanted)}"
    assert wrong == {}


def _load(server: DnsServer, name: str, records: list[Any]) -> None:
    """Loads the records of one name. A record of type SPF is loaded as TXT, unless the suite says what TXT has.

    TIMEOUT means that questions for the types without records get no answer.
    """
    given = [record for record in records if isinstance(record, dict)]
    held = {kind for record in given for kind, value in record.items() if value != "NONE"}
    without_text = {"TXT": "NONE"} in given
    for record in given:
        for kind, value in record.items():
            if kind == "SPF":
                if "TXT" not in held and not without_text:
                    server.add(name, "TXT", _text(value))
                    held = held | {"TXT-by-SPF"}
            elif value == "TIMEOUT":
                server.behave(name, Behaviour.SILENT, kind)
            elif kind == "TXT":
                if value != "NONE":
                    server.add(name, "TXT", _text(value))
            elif kind == "MX":
                preference, host = value
                server.add(name, "MX", f"{preference} {host.rstrip('.')}.")
            else:
                server.add(name, kind, value if kind in ("A", "AAAA") else f"{value.rstrip('.')}.")
    if "TIMEOUT" in records:
        for kind in _KINDS:
            if kind not in held and not (kind == "TXT" and "TXT-by-SPF" in held):
                server.behave(name, Behaviour.SILENT, kind)


def _text(value: str | list[str]) -> str:
    parts = value if isinstance(value, list) else [value]
    return " ".join('"' + "".join(map(_escaped, part.encode("utf-8"))) + '"' for part in parts)


def _escaped(octet: int) -> str:
    char = chr(octet)
    if char in '"\\':
        return f"\\{char}"
    return char if " " <= char <= "~" else f"\\{octet:03d}"
