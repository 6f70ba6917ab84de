"""The same dialogue with a real Postfix and with Posthouse after the import of its configuration."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.command_line.postfix.parameters import read_main, read_master
from tests.command_line.posthouse import CommandLine
from tests.e2e import world
from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.suite import Suite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CONFIGURATIONS = Path(__file__).parents[1] / "data" / "postfix"
TRUSTED, STRANGER = "127.0.0.2", "127.0.0.5"
OUTSIDE = "someone@outside.example"
# What Posthouse's test has for itself, and what a Postfix of a test can't have: certificates, Dovecot's logins, rspamd.
_OF_THE_TEST = {
    "inet_interfaces": "all",
    "inet_protocols": "ipv4",
    "smtpd_sasl_auth_enable": "no",
    "smtpd_tls_security_level": "none",
    "smtpd_milters": "",
    "smtpd_tls_cert_file": "",
    "smtpd_tls_key_file": "",
}
# The peer's own settings, as Postfix has them where main.cf says nothing.
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
    """A client that says EHLO, MAIL and one RCPT for each recipient.

    `reported`: the parameter whose finding says why the codes differ; empty: they must be the same.
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
    "submission": [
        Case(["a@ours.example", "b@ours.example", "c@ours.example", "d@ours.example"]),
        Case(["a@anywhere.example"]),
        Case(["a@sub.ours.example"]),
        Case(["a@anywhere.example"], client=TRUSTED),
    ],
}


@pytest.fixture(params=sorted(CASES))
def configuration(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A copy of a configuration, with tables that are compiled, which Postfix's processes can read."""
    with tempfile.TemporaryDirectory(prefix="posthouse-import-") as name:
        folder = Path(name) / request.param
        shutil.copytree(CONFIGURATIONS / request.param, folder)
        for path in (folder.parent, folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder


def postfix_of(folder: Path) -> Postfix:
    """A Postfix with this configuration, on a port of its own."""
    given = read_main((folder / "main.cf").read_text())
    for service in read_master((folder / "master.cf").read_text()) if (folder / "master.cf").exists() else ():
        given |= service.overrides if service.name == "smtp" else {}
    settings = {**_POSTFIX_DEFAULTS, **given, **_OF_THE_TEST}
    for name, value in settings.items():
        for prefix in ("/etc/postfix", "$config_directory", "${config_directory}"):
            value = value.replace(prefix, str(folder))
        # The tables of these are compiled anew, since the port of Debian may lack a type.
        settings[name] = value.replace("pcre:", "regexp:")
    for path in folder.iterdir():
        if f"hash:{path}" in " ".join(settings.values()):
            program = "postalias" if path.name == "aliases" else "postmap"
            (folder / "postmap").mkdir(exist_ok=True)
            (folder / "postmap" / "main.cf").touch()
            subprocess.run([program, "-c", folder / "postmap", f"hash:{path}"], check=True)
    return Postfix(settings=settings)


def codes(host: str, port: int, case: Case) -> list[int]:
    """The codes of MAIL and of each RCPT; of a server that ends the session the last one that it gave."""
    with smtplib.SMTP(local_hostname=case.helo, source_address=(case.client, 0), timeout=60) as client:
        replies = [client.connect(host, port)[0]]
        if replies[0] != 220:
            return replies
        client.ehlo(case.helo)
        replies = [client.mail(case.sender)[0]]
        return replies + [client.rcpt(recipient)[0] for recipient in case.recipients]


def test_codes_are_those_of_postfix_or_the_report_says_why(suite: Suite, configuration: Path) -> None:
    posthouse = CommandLine(suite)
    revision = world.newest_revision(suite)
    cases = CASES[configuration.name]
    with postfix_of(configuration) as postfix:
        wanted = [codes(postfix.host, postfix.port, case) for case in cases]
    planned = posthouse.json("import", "postfix", str(configuration), "--dry-run")
    assert planned["changes"]
    assert world.newest_revision(suite) == revision, "a dry run changes nothing"
    asked = posthouse.run("import", "postfix", str(configuration))
    assert (asked.status, "--yes" in asked.errors) == (2, True), "nobody is at a terminal to be asked"
    report: Any = posthouse.json("import", "postfix", str(configuration), "--yes")
    try:
        until(lambda: world.reply_to_rcpt(suite, "postmaster@ours.test")[0] == 250, "policy decides by it")
        seen = [codes(suite.host, suite.smtp_port, case) for case in cases]
        told = {finding["parameter"] for finding in report["findings"] if finding["level"] != "taken"}
        for case, of_postfix, of_posthouse in zip(cases, wanted, seen, strict=True):
            if case.reported:
                assert case.reported in told, case
                assert of_postfix != of_posthouse, f"{case}: nothing to report"
            else:
                assert of_posthouse == of_postfix, case
        again = posthouse.json("import", "postfix", str(configuration), "--dry-run")
        # A password that is given again counts as changed, since nobody compares it with the stored one.
        differences = [each for change in again["changes"] for each in change["differences"] if not each.get("secret")]
        assert differences == [], "a second import changes nothing"
    finally:
        posthouse("config", "rollback", str(revision), "--yes")
