"""ARC: the public validation suite, and malformed or hostile chains (C101)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.smtp import header
from libs.smtp.dkim import BodyHashes
from services.ingress.checks import chain
from services.ingress.checks.keys import Key, NoKey, read_key
from services.ingress.checks.signatures import HeaderFields
from services.ingress.content_facts import ArcChain
from services.ingress.verdict import CheckResult

SUITE = Path(__file__).resolve().parents[4] / "shared" / "data" / "arc" / "arc-draft-validation-tests.yml"


def load() -> list[Any]:
    if not SUITE.exists():
        return []
    found = []
    for group in yaml.safe_load_all(SUITE.read_text()):
        keys = {
            f"{name.rstrip('.').lower()}.": read_key(text.encode()) if text else NoKey("none")
            for name, text in (group.get("txt-records") or {}).items()
        }
        for name, case in group["tests"].items():
            found.append(pytest.param(case, keys, id=f"{group['description']} {name}"))
    return found


CASES = load()
# An empty expectation in the suite means that a seal says cv=fail, so the chain has ended. RFC 8617 section 5.2 step 1
# calls this state fail.
EXPECTED = {"None": CheckResult.NONE, "Pass": CheckResult.PASS, "Fail": CheckResult.FAIL, "": CheckResult.FAIL}


def validate(message: bytes, keys: dict[str, Key | NoKey]) -> ArcChain:
    where = header.boundary(message)
    fields = HeaderFields.of(message[: where.header_end])
    wanted = chain.key_names(fields)
    known = {name: keys.get(name, NoKey("no key for signature")) for name in wanted}
    return chain.validate(fields, BodyHashes(lambda: [message[where.body_start :]]), known)


@pytest.mark.skipif(not CASES, reason="the public suite is not here")
@pytest.mark.parametrize(("case", "keys"), CASES)
def test_c101_the_public_validation_suite_has_the_expected_results(
    case: dict[str, Any], keys: dict[str, Key | NoKey]
) -> None:
    message = case["message"].replace("\n", "\r\n").encode()
    found = validate(message, keys)
    assert found.result is EXPECTED[str(case["cv"])]


def base() -> tuple[bytes, dict[str, Key | NoKey]]:
    """Returns a message with a valid chain from the public suite, and the keys of its signatures."""
    for parameters in CASES:
        case, keys = parameters.values
        if case["cv"] == "Pass":
            return case["message"].replace("\n", "\r\n").encode(), keys
    pytest.skip("the public ARC suite is not installed")


def test_c101_a_key_that_cannot_be_looked_up_is_a_temporary_error() -> None:
    message, keys = base()
    assert validate(message, keys).result is CheckResult.PASS
    silent: dict[str, Key | NoKey] = {name: NoKey("nobody answered", temporary=True) for name in keys}
    assert validate(message, silent).result is CheckResult.TEMPERROR


@pytest.mark.parametrize(
    "fields",
    [
        b"".join(
            b"ARC-Seal: i=%d; cv=pass; a=rsa-sha256; d=d.example; s=s; b=AAAA\r\n"
            b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=d.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
            b"ARC-Authentication-Results: i=%d; x\r\n" % (n, n, n)
            for n in range(51, 0, -1)
        ),
        b"ARC-Seal: i=99999999999999999999; b=x\r\n",
        b"ARC-Seal: nonsense\r\n",
        b"".join(
            (
                b"ARC-Message-Signature:i=1; a=rsa-sha256; d=d.example; s=s; h=from; bh=AAAA; b=AAAA\r\n",
                b"ARC-Seal:i=1; cv=none; a=rsa-sha256; d=d.example; s=s; b=AAAA\r\n",
                b"ARC-Authentication-Results:i=1; x\r\n",
            )
        ),
        b"ARC-Seal: i=1; cv=none; a=rsa-sha256; d=d\xff.example; s=s; b=AAAA\r\n" * 3,
        b"ARC-Seal: i=1; b=" + b"A \r\n " * 2000 + b"\r\n",
    ],
    ids=["51 sets", "huge instance", "no tags", "no blank", "8 bit", "too long"],
)
def test_c101_broken_chains_fail_without_an_exception(fields: bytes) -> None:
    assert validate(fields + b"From: a@b.example\r\n\r\nx\r\n", {}).result is CheckResult.FAIL


def test_a_message_without_a_chain_has_the_result_none() -> None:
    assert validate(b"From: a@b.example\r\n\r\nx\r\n", {}) == ArcChain(CheckResult.NONE, 0, b"")
