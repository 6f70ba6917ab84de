"""After the import of a Postfix's configuration, Posthouse replies as this Postfix does, or the report says why not."""

from __future__ import annotations

import contextlib
import re
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from services.command_line.postfix.parameters import read_main, read_master
from tests.command_line.posthouse import CommandLine
from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.ports import free_port
from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CONFIGURATIONS = Path(__file__).parents[1] / "data" / "postfix"
TRUSTED, STRANGER = "127.0.0.2", "127.0.0.5"
OUTSIDE = "someone@outside.example"
# A Postfix in a test has no certificates, no logins by Dovecot and no rspamd, so these settings turn them off.
_OF_THE_TEST = {
    "inet_interfaces": "all",
    "inet_protocols": "ipv4",
    "smtpd_sasl_auth_enable": "no",
    "smtpd_tls_security_level": "none",
    "smtpd_milters": "",
    "smtpd_tls_cert_file": "",
    "smtpd_tls_key_file": "",
}
# The peer's own settings are reset to Postfix's defaults, which apply to parameters that main.cf does not contain.
_POSTFIX_DEFAULTS = {
    "virtual_mailbox_domains": "",
    "virtual_mailbox_maps": "",
    "virtual_mailbox_base": "",
    "mydestination": "$myhostname, localhost.$mydomain, localhost",
    "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
    "local_recipient_maps": "proxy:unix:passwd.byname $alias_maps",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A client that sends EHLO, MAIL, and one RCPT for each recipient.

    `reported` is the parameter whose finding explains why the codes of Postfix and Posthouse differ. When it is empty,
    the codes must be equal.
    """

    recipients: Sequence[str]
    client: str = STRANGER
    sender: str = OUTSIDE
    helo: str = "client.outside.example"
    reported: str = ""


DEFERRED = "smtpd_relay_restrictions"
CASES: Mapping[str, Sequence[Case]] = {
    "null_client": [
        Case(["a@anywhere.example"], client=TRUSTED),
        Case(["a@anywhere.example"], reported=DEFERRED),
    ],
    "smart_host": [
        Case(["a@anywhere.example", "root@gw.example.com"], client=TRUSTED),
        Case(["postmaster@gw.example.com", "root@gw.example.com", "nobody@gw.example.com"]),
        Case(["root+tag@gw.example.com"]),
        Case(["tickets@gw.example.com"], reported="alias_maps"),
        Case(["a@anywhere.example"], reported=DEFERRED),
    ],
    "several_relays": [
        Case(["a@anywhere.example", "b@partner.example", "c@sub.partner.example"], client=TRUSTED),
        Case(["a@anywhere.example"], client=TRUSTED, sender="boss@example.com"),
        Case(["a@old.example"], client=TRUSTED, reported="transport_maps"),
        Case(["b@partner.example"], reported=DEFERRED),
    ],
    "mailbox_server": [
        Case(["ann@example.org", "ben@example.org", "zoe@example.org"]),
        Case(["carl@example.net", "zoe@example.net"]),
        Case(["anybody@open.example"]),
        Case([f"user{number}@open.example" for number in range(52)]),
        Case(["a@anywhere.example"], client=TRUSTED),
        Case(["a@sub.example.org"], reported=DEFERRED),
    ],
    "alias_domains": [
        Case(["info@forward.example", "sales@forward.example", "nobody@forward.example"]),
        Case(["abuse@catch.example", "anybody@catch.example"]),
        Case(["a@anywhere.example"], client=TRUSTED),
        Case(["a@anywhere.example"], reported=DEFERRED),
    ],
    "mail_hub": [
        Case(["dan@users.example", "emma@users.example", "nobody@users.example", "dan+tag@users.example"]),
        Case(["all@users.example", "fay@team.example", "dan@team.example"]),
        Case(["a@anywhere.example"], client=TRUSTED),
        Case(["a@anywhere.example"], reported=DEFERRED),
    ],
    "strict_gateway": [
        Case(["a@kept.example"]),
        Case(["a@kept.example"], sender="x@spam.example"),
        Case(["a@kept.example"], sender="x@below.spam.example"),
        Case(["a@kept.example", "closed@kept.example"]),
        Case(["a@kept.example"], sender="bad@mixed.example"),
        Case(["a@kept.example"], sender="good@mixed.example"),
        Case(["a@kept.example"], sender="odd@mixed.example"),
        Case(["a@kept.example"], helo="short"),
        Case(["a@kept.example"], helo="short", client=TRUSTED),
        Case(["a@kept.example"], sender="nodomain@local"),
        Case(["a@kept.example"], client="127.0.0.66"),
        Case(["a@kept.example"], client="127.0.1.9"),
        Case(["slow@kept.example"], reported="smtpd_recipient_restrictions"),
        Case(["a@anywhere.example"], client=TRUSTED),
    ],
    "secure_routes": [
        Case(["ann@inner.example", "zoe@inner.example", "anybody@listed.example"]),
        Case(["a@anywhere.example", "b@direct.example"], client=TRUSTED),
        Case(["b@direct.example"], reported=DEFERRED),
    ],
    "submission": [
        Case(["a@ours.example", "b@ours.example", "c@ours.example", "d@ours.example"]),
        Case(["a@anywhere.example"]),
        Case(["a@sub.ours.example"]),
        Case(["a@anywhere.example"], client=TRUSTED),
    ],
}


@pytest.fixture(params=sorted(CASES))
def configuration(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A copy of a configuration that Postfix's processes can read, with compiled tables."""
    with tempfile.TemporaryDirectory(prefix="posthouse-import-") as name:
        folder = Path(name) / request.param
        shutil.copytree(CONFIGURATIONS / request.param, folder)
        for path in (folder.parent, folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder


def postfix_of(folder: Path) -> Postfix:
    """Runs a Postfix with this configuration on a port of its own."""
    given = read_main((folder / "main.cf").read_text())
    for service in read_master((folder / "master.cf").read_text()) if (folder / "master.cf").exists() else ():
        given |= service.overrides if service.name == "smtp" else {}
    settings = {**_POSTFIX_DEFAULTS, **given, **_OF_THE_TEST}
    for name, value in settings.items():
        for prefix in ("/etc/postfix", "$config_directory", "${config_directory}"):
            value = value.replace(prefix, str(folder))
        # Debian's Postfix may lack these types of tables, so the tables get another type or are compiled again.
        settings[name] = value.replace("pcre:", "regexp:")
    for path in folder.iterdir():
        if f"hash:{path}" in " ".join(settings.values()):
            program = "postalias" if path.name == "aliases" else "postmap"
            (folder / "postmap").mkdir(exist_ok=True)
            (folder / "postmap" / "main.cf").touch()
            subprocess.run([program, "-c", folder / "postmap", f"hash:{path}"], check=True)
    return Postfix(settings=settings)


def codes(host: str, port: int, case: Case) -> list[int]:
    """Returns the codes of the replies to MAIL and each RCPT, or only the code of the greeting when it is not 220."""
    with smtplib.SMTP(local_hostname=case.helo, source_address=(case.client, 0), timeout=60) as client:
        replies = [client.connect(host, port)[0]]
        if replies[0] != 220:
            return replies
        client.ehlo(case.helo)
        replies = [client.mail(case.sender)[0]]
        return replies + [client.rcpt(recipient)[0] for recipient in case.recipients]


def test_replies_have_the_codes_of_postfix_or_the_report_explains_the_difference(
    suite: Suite, outside: DnsServer, configuration: Path
) -> None:
    posthouse = CommandLine(suite)
    outside.replace("provider.example", "MX", "20 mx2.provider.example.", "10 mx1.provider.example.")
    options = ("--nameserver", outside.address)
    revision = world.newest_revision(suite)
    cases = CASES[configuration.name]
    with postfix_of(configuration) as postfix:
        wanted = [codes(postfix.host, postfix.port, case) for case in cases]
    planned = posthouse.json("import", "postfix", str(configuration), *options, "--dry-run")
    assert planned["changes"]
    assert world.newest_revision(suite) == revision, "a dry run changes nothing"
    asked = posthouse.run("import", "postfix", str(configuration), *options)
    assert (asked.status, "--yes" in asked.errors) == (2, True), (
        "without a terminal the command cannot ask, and requires --yes"
    )
    report: Any = posthouse.json("import", "postfix", str(configuration), *options, "--yes")
    try:
        until(lambda: world.reply_to_rcpt(suite, "postmaster@ours.test")[0] == 250, "policy uses the imported settings")
        seen = [codes(suite.host, suite.smtp_port, case) for case in cases]
        told = {finding["parameter"] for finding in report["findings"] if finding["level"] != "taken"}
        for case, of_postfix, of_posthouse in zip(cases, wanted, seen, strict=True):
            if case.reported:
                assert case.reported in told, case
                assert of_postfix != of_posthouse, f"{case}: the codes are equal, so the test must not expect a finding"
            else:
                assert of_posthouse == of_postfix, case
        again = posthouse.json("import", "postfix", str(configuration), *options, "--dry-run")
        # A password in the request counts as a change, because it is not compared with the stored password.
        differences = [each for change in again["changes"] for each in change["differences"] if not each.get("secret")]
        assert differences == [], "a second import changes nothing"
    finally:
        posthouse("config", "rollback", str(revision), "--yes")


def test_next_hops_and_policies_exist_after_the_import(suite: Suite, outside: DnsServer) -> None:
    posthouse = CommandLine(suite)
    revision = world.newest_revision(suite)
    outside.replace("provider.example", "MX", "20 mx2.provider.example.", "10 mx1.provider.example.")
    posthouse("import", "postfix", str(CONFIGURATIONS / "secure_routes"), "--nameserver", outside.address, "--yes")
    try:
        relay_host = suite.api.get("/v1/settings/delivery").json()["relay_host"]
        hosts = [(each["host"], each["port"]) for each in (relay_host, *relay_host["fallback_hosts"])]
        assert hosts == [("mx1.provider.example", 587), ("mx2.provider.example", 587)], (
            "spare.example is not among the hosts, because it has another TLS level"
        )
        assert relay_host["verify_certificate"]
        next_hops = {each["domain"]: each["next_hop"] for each in suite.api.get("/v1/relay-domains").json()["items"]}
        assert next_hops["inner.example"]["tls"] == "none"
        assert next_hops["listed.example"]["tls"] == "encrypt"
        assert next_hops["listed.example"]["fallback_hosts"] == [{"host": "10.0.0.7", "port": 2525}]
        policies = {each["domain"]: each["level"] for each in suite.api.get("/v1/tls-policies").json()["items"]}
        assert policies == {"direct.example": "verify", ".direct.example": "encrypt"}
        assert suite.api.get("/v1/settings/queue").json()["max_messages_per_minute_per_destination"] == 60
    finally:
        posthouse("config", "rollback", str(revision), "--yes")


# The TLS level of a next hop, and whether its server offers STARTTLS. No client knows the authority of its certificate.
HOPS = [("none", True), ("may", True), ("may", False), ("encrypt", True), ("encrypt", False), ("secure", True)]


@dataclass(frozen=True, slots=True)
class Hop:
    domain: str
    level: str
    server: SmtpSink

    @property
    def next_hop(self) -> str:
        return f"[{self.server.host}]:{self.server.port}"

    def seen(self) -> str:
        """Returns how the message came to this server, or an empty text when none has come."""
        return next(("over TLS" if each.session.tls else "in clear" for each in self.server.messages), "")


@pytest.fixture
def hops(certificates: trustme.CA) -> Iterator[list[Hop]]:
    """The servers of relay domains: one for each pair in `HOPS`, and one more, which the test makes a fallback host."""
    with contextlib.ExitStack() as stack:
        certificate = certificates.issue_cert("nobody.example")
        yield [
            Hop(f"hop{number}.example", level, stack.enter_context(SmtpSink(certificate=certificate if tls else None)))
            for number, (level, tls) in enumerate([*HOPS, ("may", False)])
        ]


def test_posthouse_uses_tls_and_fallback_hosts_like_postfix_after_the_import(suite: Suite, hops: list[Hop]) -> None:
    with tempfile.TemporaryDirectory(prefix="posthouse-import-") as name:
        folder = Path(name)
        last = hops[-1]
        (folder / "transport").write_text(
            "".join(f"{hop.domain} smtp:{hop.next_hop}\n" for hop in hops[:-1])
            + f"{last.domain} smtp:[127.0.0.1]:{free_port()}, {last.next_hop}\n"
        )
        (folder / "policy").write_text("".join(f"{hop.next_hop} {hop.level}\n" for hop in hops[:-1]))
        (folder / "main.cf").write_text(
            f"mynetworks = 127.0.0.2/32\nrelay_domains = {' '.join(hop.domain for hop in hops)}\n"
            "transport_maps = texthash:$config_directory/transport\nsmtp_tls_security_level = may\n"
            "smtp_tls_policy_maps = texthash:$config_directory/policy\n"
        )
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        with postfix_of(folder) as postfix:
            of_postfix = {hop.domain: _sent_by_postfix(postfix, hop) for hop in hops}
        for hop in hops:
            hop.server.clear()
        posthouse = CommandLine(suite)
        revision = world.newest_revision(suite)
        posthouse("import", "postfix", str(folder), "--yes")
        try:
            of_posthouse = {hop.domain: _sent_by_posthouse(suite, hop) for hop in hops}
        finally:
            for hop in hops:
                posthouse.run("queue", "delete", f"to={hop.domain}", "--yes")
            posthouse("config", "rollback", str(revision), "--yes")
    assert of_posthouse == of_postfix
    deferred = [hop.level for hop in hops if of_postfix[hop.domain] == "deferred"]
    assert deferred == ["encrypt", "secure"]


def _send(host: str, port: int, recipient: str) -> None:
    with smtplib.SMTP(host, port, source_address=(TRUSTED, 0), timeout=60) as client:
        client.sendmail(OUTSIDE, [recipient], world.message(OUTSIDE, [recipient]))


def _sent_by_postfix(postfix: Postfix, hop: Hop) -> str:
    recipient = f"ann@{hop.domain}"
    _send(postfix.host, postfix.port, recipient)
    is_deferred = re.compile(rf"to=<{re.escape(recipient)}>.*status=deferred").search
    until(lambda: bool(hop.seen() or is_deferred(postfix.log)), f"Postfix has tried to deliver to {recipient}")
    return hop.seen() or "deferred"


def _sent_by_posthouse(suite: Suite, hop: Hop) -> str:
    recipient = f"ann@{hop.domain}"
    until(lambda: world.reply_to_rcpt(suite, recipient)[0] == 250, f"policy accepts mail to {recipient}")
    _send(suite.host, suite.smtp_port, recipient)

    def is_deferred() -> bool:
        (message,) = suite.api.get("/v1/messages", params={"recipient": recipient}).json()["items"]
        (delivery,) = suite.api.get(f"/v1/messages/{message['queue_id']}").json()["deliveries"]
        return bool(delivery["attempts"])

    until(lambda: bool(hop.seen()) or is_deferred(), f"Posthouse has tried to deliver to {recipient}")
    return hop.seen() or "deferred"
