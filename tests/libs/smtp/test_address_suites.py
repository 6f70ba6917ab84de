"""The public test suites of addresses are run, and each difference from their results has a reason."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from libs.smtp.address import AddressError, parse_address, parse_forward_path

SUITES = Path(__file__).parents[4] / "shared" / "data" / "addresses"

pytestmark = pytest.mark.skipif(not SUITES.is_dir(), reason="the public test suites are not here")

# The categories of the suite whose addresses are valid in an SMTP envelope.
FOR_SMTP = {"ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321"}

LONG = "taken: long local parts and paths exist in VERP and token addresses (C55)"
DOT = "taken: one final dot is the DNS root and is dropped, as in every domain here (C103)"
STYLE = "taken: `::` for a single group of zeros is a matter of style, and made canonical"
NUMBER = "refused: no top-level domain is numeric, and a bare IP address must never become a host (C53)"
# Maps the number of each test whose result differs to the reason.
DIFFERENCES = {
    "tests.xml": {
        "23": NUMBER,
        "24": NUMBER,
        "26": LONG,
        "35": DOT,
        "39": LONG,
        "59": LONG,
        "60": LONG,
        "71": STYLE,
    },
    "tests-original.xml": {
        "21": LONG,
        "23": LONG,
        "48": NUMBER,
        "82": DOT,
        "97": NUMBER,
        "113": DOT,
        "200": DOT,
        "216": NUMBER,
    },
}


def cases(name: str) -> list[tuple[str, str, str]]:
    """Returns number, address and category of each test.

    The suites write control characters as their symbols (U+2400…).
    """
    found = []
    for test in ET.parse(SUITES / name).getroot().iter("test"):
        written = test.findtext("address") or ""
        text = "".join(chr(ord(one) - 0x2400) if 0x2400 <= ord(one) < 0x2420 else one for one in written)
        found.append((test.attrib["id"], text, test.findtext("category") or ""))
    return found


def taken(text: str) -> bool:
    try:
        parse_forward_path(b"<" + text.encode() + b">", smtputf8=True)
    except AddressError:
        return False
    return True


def configurable(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", DIFFERENCES)
def test_addresses_of_isemail_are_accepted_or_refused_as_listed(name: str) -> None:
    suite = cases(name)
    assert len(suite) > 150
    differing = {number: text for number, text, category in suite if taken(text) is not (category in FOR_SMTP)}
    assert differing.keys() == DIFFERENCES[name].keys(), differing
    for number, text in differing.items():
        assert DIFFERENCES[name][number].startswith("taken") is taken(text)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_configuration_and_envelope_accept_the_same_addresses(name: str) -> None:
    assert [text for _, text, _ in cases(name) if configurable(text) is not taken(text)] == []


def test_every_domain_that_email_validator_accepts_is_a_domain() -> None:
    answers = json.loads((SUITES / "email-validator-mocked-dns-answers.json").read_text())
    domains = {entry["query"]["name"].rstrip(".") for entry in answers}
    assert len(domains) > 3
    for domain in domains:
        assert parse_address(f"user@{domain}").domain == domain.lower()
