"""DMARC: records, the DNS tree walk, sub-domains, sp, np, psd, alignment, broken records (RFC 9989, RFC 7489)."""

from __future__ import annotations

import pytest

from libs.dns.servers import server_list
from libs.smtp.address import from_wire
from services.policy.lookups import dmarc as lookup
from services.policy.lookups.resolver import Resolver
from services.policy.rules import dmarc
from services.policy.rules.addresses import bare_facts
from services.policy.rules.clients import Client
from services.policy.rules.dmarc import Disposition, Published
from services.policy.rules.lookup import LookupResult, Outcome
from services.policy.rules.model import CheckResult, Content, DkimSignature, Facts, Stage
from tests.peers.dns import Behaviour, DnsServer


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("v=DMARC1; p=reject", Published("reject")),
        ("v=DMARC1;p=quarantine;", Published("quarantine")),
        ("v = DMARC1 ; p = none ; rua=mailto:a@b.test", Published("none")),
        ("v=DMARC1; P=Reject; SP=None", Published("reject", "none")),
        ("v=DMARC1; p=none; sp=quarantine; np=reject", Published("none", "quarantine", "reject")),
        ("v=DMARC1; p=reject; adkim=s; aspf=s", Published("reject", strict_dkim=True, strict_spf=True)),
        ("v=DMARC1; p=reject; adkim=r; aspf=x", Published("reject")),
        ("v=DMARC1; p=reject; psd=y", Published("reject", psd="y")),
        ("v=DMARC1; p=reject; psd=n; t=y", Published("reject", psd="n", testing=True)),
        ("v=DMARC1; p=reject; psd=maybe", Published("reject")),
        # RFC 9989 has removed RFC 7489's tag pct.
        ("v=DMARC1; p=reject; pct=0", Published("reject")),
        ("v=DMARC1; p=reject; nonsense; =; x", Published("reject")),
        ("v=DMARC1; sp=reject; p=none", Published("none", "reject")),
        # When the policy is invalid, a record that asks for reports counts as p=none. Any other such record is ignored.
        ("v=DMARC1; p=bogus; rua=mailto:a@b.test", Published("none")),
        ("v=DMARC1; rua=mailto:a@b.test", Published("none")),
        ("v=DMARC1; p=reject; sp=bogus; rua=mailto:a@b.test!10m", Published("none")),
        ("v=DMARC1; p=bogus", None),
        ("v=DMARC1", None),
        ("v=DMARC1; p=bogus; rua=nonsense", None),
        ("v=DMARC2; p=reject", None),
        ("v=dmarc1; p=reject", None),
        ("p=reject; v=DMARC1", None),
        ("v=DMARC10; p=reject", None),
        ("", None),
        ("v=spf1 -all", None),
    ],
)
def test_records_are_read(text: str, wanted: Published | None) -> None:
    assert dmarc.parse(text) == wanted


def test_several_dmarc_records_count_as_no_record() -> None:
    assert dmarc.only_record(["v=DMARC1; p=reject", "v=DMARC1; p=none"]) is None
    assert dmarc.only_record(["something else", "v=DMARC1; p=reject"]) == Published("reject")


@pytest.mark.parametrize(
    ("domain", "wanted"),
    [
        ("test", ("test",)),
        ("a.b.test", ("a.b.test", "b.test", "test")),
        (
            "a.b.c.d.e.f.test",
            ("a.b.c.d.e.f.test", "b.c.d.e.f.test", "c.d.e.f.test", "d.e.f.test", "e.f.test", "f.test", "test"),
        ),
        # After the first query, a name of eight or more labels is cut to seven, so a walk has at most eight queries.
        (
            "a.b.c.d.e.f.g.h.i.j.mail.test",
            (
                "a.b.c.d.e.f.g.h.i.j.mail.test",
                "f.g.h.i.j.mail.test",
                "g.h.i.j.mail.test",
                "h.i.j.mail.test",
                "i.j.mail.test",
                "j.mail.test",
                "mail.test",
                "test",
            ),
        ),
    ],
)
def test_the_tree_walk_asks_the_right_domains(domain: str, wanted: tuple[str, ...]) -> None:
    assert dmarc.walk(domain) == wanted


# The columns are: the domain, the records by name, whether the domain exists, and the result. The result is the domain
# where the record is published, the policy, and the organizational domain.
_HOLDS = [
    # The record is published at the domain itself.
    ("a.test", {"a.test": "p=reject; sp=none"}, True, ("a.test", "reject", "a.test")),
    # To a sub-domain sp applies, or p when there is no sp.
    ("x.a.test", {"a.test": "p=reject; sp=quarantine"}, True, ("a.test", "quarantine", "a.test")),
    ("x.y.a.test", {"a.test": "p=reject"}, True, ("a.test", "reject", "a.test")),
    # To a name that does not exist np applies. Without np sp applies, and without both of them p.
    ("x.a.test", {"a.test": "p=none; sp=quarantine; np=reject"}, False, ("a.test", "reject", "a.test")),
    ("x.a.test", {"a.test": "p=none; np=reject"}, True, ("a.test", "none", "a.test")),
    ("x.a.test", {"a.test": "p=none; sp=quarantine"}, False, ("a.test", "quarantine", "a.test")),
    # The domain's own record has priority over that of its organization. The organization is the name that has a record
    # and the fewest labels.
    ("x.a.test", {"x.a.test": "p=none", "a.test": "p=reject"}, True, ("x.a.test", "none", "a.test")),
    # Records of names between the domain and its organization are not used.
    ("x.y.a.test", {"y.a.test": "p=none", "a.test": "p=reject"}, True, ("a.test", "reject", "a.test")),
    # With psd=n a name is an organization, whatever records the names above it have.
    ("x.y.a.test", {"y.a.test": "p=none; psd=n", "a.test": "p=reject"}, True, ("y.a.test", "none", "y.a.test")),
    # With psd=y a name is a public suffix, and the organization has one label more.
    ("x.a.bank.test", {"bank.test": "p=reject; psd=y"}, True, ("bank.test", "reject", "a.bank.test")),
    (
        "x.a.bank.test",
        {"a.bank.test": "p=none", "bank.test": "p=reject; psd=y"},
        True,
        ("a.bank.test", "none", "a.bank.test"),
    ),
    ("bank.test", {"bank.test": "p=reject; psd=y"}, True, ("bank.test", "reject", "bank.test")),
    ("never.bank.test", {"bank.test": "p=none; psd=y; np=reject"}, False, ("bank.test", "reject", "never.bank.test")),
    # There is no valid record.
    ("x.a.test", {}, True, ("", "none", "x.a.test")),
    ("x.a.test", {"a.test": "p=bogus"}, True, ("", "none", "x.a.test")),
]


@pytest.mark.parametrize(("domain", "records", "exists", "wanted"), _HOLDS)
async def test_the_policy_of_a_domain_is_found(
    domain: str, records: dict[str, str], exists: bool, wanted: tuple[str, str, str], dns_server: DnsServer
) -> None:
    for name, text in records.items():
        dns_server.add(f"_dmarc.{name}", "TXT", f"v=DMARC1; {text}")
    if exists:
        dns_server.add(domain, "A", "203.0.113.1")
    lookup_result = (await lookup.record(Resolver(server_list(dns_server.address), seconds=2), domain)).lookup_result
    held = lookup_result.dmarc
    assert held is not None
    assert (held.published_at, held.policy, held.organizational_domain) == wanted
    assert lookup_result.outcome is (Outcome.FOUND if wanted[0] else Outcome.NONE)


async def test_a_missing_answer_in_the_walk_gives_no_answer(dns_server: DnsServer) -> None:
    dns_server.add("_dmarc.a.test", "TXT", "v=DMARC1; p=reject")
    dns_server.behave("_dmarc.x.a.test", Behaviour.SERVFAIL)
    lookup_result = (
        await lookup.record(Resolver(server_list(dns_server.address), seconds=2), "x.a.test")
    ).lookup_result
    assert lookup_result.outcome is Outcome.NO_ANSWER


def judged(
    records: dict[str, str],
    authors: str,
    *,
    spf: tuple[CheckResult, str] = (CheckResult.NONE, ""),
    dkim: dict[str, CheckResult] | None = None,
) -> dmarc.DmarcResult:
    """Returns the result of DMARC. `records` maps domains to their records, which every tree walk finds."""
    signatures = tuple(DkimSignature(result, domain) for domain, result in (dkim or {}).items())
    content = Content(
        authors=tuple(bare_facts(from_wire(author.encode())) for author in authors.split()),
        dkim_checked=True,
        dkim=signatures,
    )
    facts = Facts(
        Stage.END_OF_DATA,
        0.0,
        "",
        Client("192.0.2.1", "192.0.2.1", "192.0.2.0/24", False, False, True),
        content=content,
    )
    published = {name: dmarc.parse(f"v=DMARC1; {text}") for name, text in records.items()}
    for question in (
        *(dmarc.question(author.domain) for author in content.authors),
        *(dmarc.question(signature.domain) for signature in signatures),
        dmarc.question(spf[1]),
    ):
        found = {step: record for step in dmarc.walk(question.subject) if (record := published.get(step)) is not None}
        held = dmarc.applying(question.subject, found, exists=True)
        facts.lookup_results[question] = LookupResult(Outcome.FOUND if held.published_at else Outcome.NONE, dmarc=held)
    return dmarc.evaluate(facts, *spf)


PASS, FAIL, TEMPERROR = CheckResult.PASS, CheckResult.FAIL, CheckResult.TEMPERROR


@pytest.mark.parametrize(
    ("record", "author", "spf", "dkim", "result", "disposition"),
    [
        ("p=reject", "u@a.test", (PASS, "a.test"), {}, PASS, Disposition.NONE),
        ("p=reject", "u@a.test", (PASS, "bounce.a.test"), {}, PASS, Disposition.NONE),
        ("p=reject; aspf=s", "u@a.test", (PASS, "bounce.a.test"), {}, FAIL, Disposition.REJECT),
        ("p=reject; aspf=s", "u@a.test", (PASS, "a.test"), {}, PASS, Disposition.NONE),
        ("p=reject", "u@a.test", (PASS, "evil.test"), {}, FAIL, Disposition.REJECT),
        ("p=reject", "u@a.test", (PASS, "nota.test"), {}, FAIL, Disposition.REJECT),
        ("p=reject", "u@a.test", (PASS, "test"), {}, FAIL, Disposition.REJECT),
        ("p=reject", "u@a.test", (FAIL, "a.test"), {}, FAIL, Disposition.REJECT),
        ("p=reject", "u@a.test", (TEMPERROR, "a.test"), {}, TEMPERROR, Disposition.TEMPFAIL),
        ("p=reject", "u@a.test", (TEMPERROR, "evil.test"), {}, FAIL, Disposition.REJECT),
        ("p=reject", "u@a.test", (FAIL, "a.test"), {"news.a.test": PASS}, PASS, Disposition.NONE),
        ("p=reject; adkim=s", "u@a.test", (FAIL, "a.test"), {"news.a.test": PASS}, FAIL, Disposition.REJECT),
        ("p=reject", "u@a.test", (FAIL, ""), {"a.test": FAIL, "evil.test": PASS}, FAIL, Disposition.REJECT),
        ("p=reject", "u@a.test", (FAIL, ""), {"a.test": TEMPERROR}, TEMPERROR, Disposition.TEMPFAIL),
        ("p=reject", "u@a.test", (FAIL, ""), {"a.test": CheckResult.POLICY}, FAIL, Disposition.REJECT),
        ("p=quarantine", "u@a.test", (FAIL, ""), {}, FAIL, Disposition.QUARANTINE),
        ("p=none", "u@a.test", (TEMPERROR, "a.test"), {}, FAIL, Disposition.NONE),
        ("p=reject; t=y", "u@a.test", (FAIL, ""), {}, FAIL, Disposition.QUARANTINE),
        ("p=quarantine; t=y", "u@a.test", (FAIL, ""), {}, FAIL, Disposition.NONE),
        ("p=none; sp=reject", "u@x.a.test", (PASS, "y.a.test"), {}, PASS, Disposition.NONE),
        ("p=none; sp=reject", "u@x.a.test", (FAIL, "y.a.test"), {}, FAIL, Disposition.REJECT),
        # C98: with several authors the strictest policy applies, whatever the order of the authors is.
        ("p=reject", "u@other.test v@a.test", (PASS, "other.test"), {}, FAIL, Disposition.REJECT),
        ("p=reject", "v@a.test u@other.test", (PASS, "other.test"), {}, FAIL, Disposition.REJECT),
        ("p=reject", "v@a.test w@x.a.test", (PASS, "a.test"), {}, PASS, Disposition.NONE),
    ],
)
def test_c98_dmarc_judges_alignment_and_several_authors(
    record: str,
    author: str,
    spf: tuple[CheckResult, str],
    dkim: dict[str, CheckResult],
    result: CheckResult,
    disposition: Disposition,
) -> None:
    found = judged({"a.test": record}, author, spf=spf, dkim=dkim)
    assert (found.result, found.disposition) == (result, disposition)


def test_two_organizations_under_one_public_suffix_are_not_aligned() -> None:
    records = {"bank.test": "p=reject; psd=y", "a.bank.test": "p=reject"}
    assert judged(records, "u@a.bank.test", spf=(PASS, "b.bank.test")).disposition is Disposition.REJECT
    assert judged(records, "u@a.bank.test", spf=(PASS, "x.a.bank.test")).result is PASS
