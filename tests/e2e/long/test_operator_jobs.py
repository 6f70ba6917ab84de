"""An operator's tasks, done only with the command line on a running suite."""

from __future__ import annotations

import re
import shlex
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.command_line.posthouse import CommandLine
from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.process import until
from tests.peers.smtp_sink import Offer, SmtpSink, Stage, reply
from tests.peers.suite import Suite
from tests.peers.web import WebServer

pytestmark = pytest.mark.e2e


@pytest.fixture
def posthouse(suite: Suite) -> CommandLine:
    return CommandLine(suite)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture(scope="module")
def certificates() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def smart_host() -> Iterator[SmtpSink]:
    with SmtpSink(offer=Offer(logins={"gateway": "smart secret"})) as sink:
        yield sink


def send(suite: Suite, recipient: str, count: int = 1) -> None:
    with world.submission(suite) as client:
        for _ in range(count):
            client.sendmail(world.ALICE, [recipient], world.message(recipients=[recipient]))


def test_the_first_domain_and_its_accounts_get_mail(suite: Suite, posthouse: CommandLine, tmp_path: Path) -> None:
    folder = suite.folder / "mail" / "first"
    posthouse("domain", "add", "first.test", "mailbox.kind=maildir", f"mailbox.path={folder}")
    posthouse("account", "add", "ann", "addresses=ann@first.test", "password=-", stdin="a long password\n")
    # A command returns when its change is in force, so the test need not wait.
    assert world.reply_to_rcpt(suite, "ann@first.test")[0] == 250
    people = tmp_path / "people.csv"
    people.write_text(
        "login,addresses,password\nben,ben@first.test b@first.test,another password\nann,ann@first.test,\n"
    )
    assert posthouse("account", "import", str(people), "--yes").startswith(
        "account: 1 added, 0 changed, 1 as they were"
    )
    assert world.reply_to_rcpt(suite, "b@first.test")[0] == 250
    assert posthouse.json("account", "show", "ben")["addresses"] == ["ben@first.test", "b@first.test"]
    posthouse("alias", "add", "all@first.test", "targets=ann@first.test,ben@first.test")
    assert world.reply_to_rcpt(suite, "all@first.test")[0] == 250
    posthouse("account", "change", "ben", "enabled=false")
    assert posthouse.json("account", "list", "enabled=false")["items"][0]["login"] == "ben"
    posthouse("alias", "remove", "all@first.test")
    assert world.reply_to_rcpt(suite, "all@first.test") == (550, "5.1.1")


def test_a_domain_accepts_mail_only_for_the_recipients_in_its_list(
    suite: Suite, posthouse: CommandLine, tmp_path: Path
) -> None:
    posthouse("relay-domain", "add", "listed.test", "recipients=list")
    addresses = tmp_path / "addresses.csv"
    addresses.write_text("address\nfred@listed.test\ngina@listed.test\n")
    assert posthouse("recipients", "import", str(addresses), "--yes").startswith("recipients: 2 added")
    assert world.reply_to_rcpt(suite, "gina@listed.test")[0] == 250
    assert world.reply_to_rcpt(suite, "hugo@listed.test") == (550, "5.1.1")


def test_an_import_of_a_file_with_one_bad_row_adds_the_other_rows(posthouse: CommandLine, tmp_path: Path) -> None:
    posthouse("relay-domain", "add", "many.test", "recipients=list")
    addresses = tmp_path / "addresses.csv"
    rows = [f"user{number}@many.test" for number in range(2500)]
    addresses.write_text("\n".join(("address", *rows, "this is no address")))
    outcome = posthouse.run("recipients", "import", str(addresses), "--yes")
    assert outcome.status == 1
    assert outcome.output.startswith("recipients: 2500 added")
    assert "line 2502" in outcome.errors


def test_a_webhook_is_tested_and_its_secret_is_replaced(suite: Suite, posthouse: CommandLine, web: WebServer) -> None:
    web.answer("/hook", times=None)
    added = posthouse("webhook", "add", f"{web.url}/hook", "events=delivered,bounced")
    assert "secret" in added
    assert "delivered: status 200" in posthouse("webhook", "test", f"{web.url}/hook")
    (delivery,) = posthouse.json("webhook", "deliveries", f"{web.url}/hook")["items"]
    again = posthouse.run("webhook", "resend", f"{web.url}/hook", delivery["event_id"])
    assert again.status in (0, 1)
    assert "secret: " in posthouse("webhook", "rotate", f"{web.url}/hook", "--overlap", "0")
    missing = posthouse.run("webhook", "test", "https://nowhere.test/hook")
    assert (missing.status, missing.errors.count("\n")) == (1, 1)
    posthouse("webhook", "remove", f"{web.url}/hook")


def test_the_commands_trace_and_why_show_why_mail_was_refused(suite: Suite, posthouse: CommandLine) -> None:
    assert world.reply_to_rcpt(suite, "nobody@ours.test") == (550, "5.1.1")
    until(lambda: posthouse.run("trace", "nobody@ours.test").status == 0, "the refusal is in the history")
    traced = posthouse("trace", "nobody@ours.test")
    session = re.search(r"session +([0-9a-f]{32})", traced)
    assert session is not None
    assert "550 5.1.1" in traced
    told = posthouse("why", "--session", session[1])
    assert "550 5.1.1" in told
    supposed = posthouse("why", "--client", "192.0.2.1", "--from", "a@far.test", "--to", "nobody@ours.test")
    assert "550 5.1.1" in supposed
    allowed = ("why", "--client", "192.0.2.1", "--from", "a@far.test", "--to", world.ALICE)
    assert "would be accepted" in posthouse(*allowed)
    rule = [f"--proposed-rule={member}" for member in ("list=block", "criterion=domain", "value=far.test")]
    assert "by the rule blocked_domain that is proposed" in posthouse(*allowed, *rule)
    assert posthouse.json("access", "list") == {"items": []}, "the rule is not stored"


def test_the_command_trace_finds_a_message_by_all_its_names(
    suite: Suite, posthouse: CommandLine, far: SmtpSink
) -> None:
    send(suite, "bob@far.test")
    far.wait_for_messages(1)
    until(lambda: "delivered" in posthouse.run("trace", "bob@far.test").output, "the message is delivered")
    (message,) = posthouse.json("trace", "bob@far.test")["items"]
    names = (
        message["queue_id"],
        message["origin"]["session_id"],
        f"<{message['message_id']}>",
        "far.test",
        world.ALICE,
    )
    for name in names:
        assert message["queue_id"] in posthouse("trace", name), name
    missing = posthouse.run("trace", "nobody@nowhere.test")
    assert (missing.status, missing.errors.count("\n")) == (1, 1)


def test_mail_for_a_destination_that_defers_is_suspended_held_and_released(
    suite: Suite, posthouse: CommandLine, outside: DnsServer, far: SmtpSink, smart_host: SmtpSink
) -> None:
    outside.add("stuck.test", "MX", "10 mx.far.test.")
    far.on(Stage.RCPT, reply("451 4.3.0 Not now"), address="carol@stuck.test")
    send(suite, "carol@stuck.test", count=4)
    until(lambda: "451" in posthouse("queue", "list", "to=stuck.test"), "an attempt has failed")
    row = next(line for line in posthouse("queue", "shape").splitlines() if line.startswith("stuck.test"))
    assert row.split()[:3] == ["stuck.test", "4", "4"]
    assert "domain:stuck.test" in posthouse("queue", "destinations")
    posthouse("suspend", "stuck.test")
    assert posthouse("queue", "hold", "to=stuck.test", "--dry-run") == "4 would be held\n"
    refused = posthouse.run("queue", "hold", "to=stuck.test")
    assert (refused.status, "--yes" in refused.errors) == (2, True), (
        "without a terminal the command cannot ask, and requires --yes"
    )
    assert posthouse("queue", "hold", "to=stuck.test", "--yes") == "4 held\n"
    assert posthouse("queue", "release", "to=stuck.test", "--yes") == "4 released\n"
    first, second, third, fourth = (
        item["queue_id"] for item in posthouse.json("queue", "list", "to=stuck.test")["items"]
    )
    assert posthouse("queue", "delete", first) == "1 deleted\n"
    assert posthouse("queue", "bounce", second) == "1 bounced\n"
    assert posthouse.run("queue", "hold", first).status in (1, 5)
    assert posthouse.run("queue", "redirect", fourth).status == 2
    assert posthouse.run("queue", "redirect", fourth, "--to", "nobody@ours.test").status == 1
    redirect = ("queue", "redirect", "to=stuck.test", "--next-hop", f"{smart_host.host}:{smart_host.port}")
    assert posthouse(*redirect, "--dry-run") == "2 would be redirected\n"
    assert posthouse("queue", "redirect", fourth, "--to", "dora@stuck.test") == "1 redirected\n"
    assert "to dora@stuck.test" in posthouse("queue", "show", fourth)
    posthouse("resume", "stuck.test")
    far.clear()
    assert posthouse("queue", "retry", third) == "1 retried\n"
    until(
        lambda: posthouse.run("queue", "list", "to=stuck.test", "--json").json["items"] == [],
        "the other messages are delivered",
    )


def test_all_mail_uses_one_smart_host_and_the_mail_of_one_customer_uses_another(
    suite: Suite, posthouse: CommandLine, smart_host: SmtpSink
) -> None:
    revision = posthouse.json("config", "log", "--limit", "1")["items"][0]["number"]
    posthouse(
        "config",
        "set",
        "delivery.mode=relay_host",
        "delivery.relay_host.host=127.0.0.1",
        f"delivery.relay_host.port={smart_host.port}",
    )
    posthouse("test-relay", "default")
    refused = posthouse.run("suspend", "elsewhere.test")
    assert (refused.status, f"relay:127.0.0.1:{smart_host.port}" in refused.errors) == (1, True)
    send(suite, "dave@elsewhere.test")
    smart_host.wait_for_messages(1)
    assert "relay_host" in posthouse("config", "diff")
    assert "relay_host" in posthouse("config", "rollback", str(revision), "--dry-run")
    declined = posthouse.at_terminal("config", "rollback", str(revision), answers={"[y/N]:": "n"})
    assert declined.status == 1
    assert declined.output.index("relay_host") < declined.output.index("[y/N]"), (
        "the difference is shown before the question"
    )
    posthouse("config", "rollback", str(revision), "--yes")
    assert posthouse.json("config", "get", "delivery.mode") == "direct"
    posthouse(
        *("rule", "add", "customer", "type=sender", "target_type=address", f"targets={world.ALICE}"),
        *("relay_host.host=127.0.0.1", f"relay_host.port={smart_host.port}"),
    )
    posthouse("test-relay", "customer")
    told = posthouse("why", "--client", "127.0.0.1", "--from", world.ALICE, "--to", "dave@elsewhere.test")
    assert f"relay:127.0.0.1:{smart_host.port}" in told
    send(suite, "dave@elsewhere.test")
    smart_host.wait_for_messages(2)
    posthouse("rule", "remove", "customer")


def test_an_operator_lists_and_lifts_a_blocked_client(suite: Suite, posthouse: CommandLine) -> None:
    assert posthouse.json("blocked", "list") == {"items": []}
    nothing = posthouse.run("blocked", "lift", "--all", "--yes")
    assert (nothing.status, nothing.errors) == (1, "posthouse: no client is blocked\n")
    revision = posthouse.json("config", "log", "--limit", "1")["items"][0]["number"]
    # Clients in local networks are never blocked. The client of this test is on loopback, so the list of local networks
    # must be empty.
    posthouse("config", "set", "general.smtp_auth.local_networks=[]")
    posthouse("config", "set", "advanced-security.max_unknown_recipients_per_day=2")
    for name in ("first", "second"):
        assert world.reply_to_rcpt(suite, f"{name}@ours.test") == (550, "5.1.1")
    until(lambda: posthouse.json("blocked", "list")["items"], "the client is blocked")
    (blocked,) = posthouse.json("blocked", "list")["items"]
    with smtplib.SMTP() as client:
        assert client.connect(suite.host, suite.smtp_port)[0] == 421
    assert posthouse("blocked", "lift", blocked["client"]) == "1 lifted\n"
    until(lambda: world.reply_to_rcpt(suite, world.ALICE)[0] == 250, "mail of the client is accepted again")
    posthouse("config", "rollback", str(revision), "--yes")


def test_a_smart_host_with_a_login_gets_mail(suite: Suite, posthouse: CommandLine, certificates: trustme.CA) -> None:
    leaf = certificates.issue_cert("127.0.0.1")
    with SmtpSink(offer=Offer(logins={"gateway": "smart secret"}), certificate=leaf) as sink:
        rule = ("rule", "add", "with-login", "type=sender", "target_type=address", f"targets={world.ALICE}")
        host = ("relay_host.host=127.0.0.1", f"relay_host.port={sink.port}", "relay_host.always_tls=true")
        login = ("relay_host.verify_certificate=false", "relay_host.auth.username=gateway")
        argument = posthouse.run(*rule, *host, *login, "relay_host.auth.password=smart secret")
        assert (argument.status, "smart secret" in argument.errors) == (2, False)
        posthouse(*rule, *host, *login, "relay_host.auth.password=-", stdin="smart secret\n")
        assert "auth" in posthouse("test-relay", "with-login")
        send(suite, "dave@elsewhere.test")
        sink.wait_for_messages(1)
        posthouse("rule", "remove", "with-login")


def test_signing_keys_and_secret_keys_are_managed(suite: Suite, posthouse: CommandLine) -> None:
    added = posthouse("dkim", "add", "ours.test", "selector=s1", "algorithm=ed25519-sha256")
    assert "s1._domainkey.ours.test" in added
    assert "v=DKIM1" in added
    posthouse("dkim", "remove", "ours.test")
    here = CommandLine(None, **suite.environment)
    busy = here.run("rotate-secret-key")
    assert busy.status != 0
    assert "another config_api already uses" in busy.output + busy.errors
    former = (suite.folder / "secret-key").read_text()
    suite.terminate("config_api")
    assert "encrypted under the new key" in here("rotate-secret-key")
    assert (suite.folder / "secret-key").read_text() != former
    here.run("migrate")
    suite.start_service("config_api")
    until(lambda: posthouse.run("status").status == 0, "all services are ready")


def test_a_key_is_made_replaced_and_removed(suite: Suite, posthouse: CommandLine) -> None:
    made = posthouse.json("key", "add", "robot", "role=reader")
    robot = CommandLine(suite, POSTHOUSE_KEY=made["key"])
    robot("status")
    refused = robot.run("config", "set", "general.profile.banner=ESMTP")
    assert (refused.status, "admin" in refused.errors) == (4, True)
    rotated = posthouse.json("key", "rotate", "robot", "--overlap", "0")
    assert robot.run("status").status == 4
    CommandLine(suite, POSTHOUSE_KEY=rotated["key"])("status")
    posthouse("key", "remove", "robot")


def test_a_test_message_shows_its_result(suite: Suite, posthouse: CommandLine, far: SmtpSink) -> None:
    server = f"{suite.host}:{suite.submission_port}"
    arguments = ("send-test", "--to", "erin@far.test", "--from", world.ALICE, "--login", world.LOGIN)
    shown = posthouse(*arguments, "--server", server, stdin=f"{world.PASSWORD}\n")
    assert "delivered" in shown
    assert far.wait_for_messages(1)[0].accepted_recipients == [b"erin@far.test"]
    (message,) = posthouse.json("trace", "erin@far.test")["items"]
    assert message["queue_id"] in posthouse("trace", f"<{message['message_id']}>")
    wrong = posthouse.run(*arguments, "--server", server, stdin="wrong\n")
    assert (wrong.status, wrong.errors.startswith("posthouse: refused: 535")) == (1, True)
    several = ("--to", world.ALICE, "--to", "nobody@ours.test", "--from", world.ALICE, "--login", world.LOGIN)
    partly = posthouse.run("send-test", *several, "--server", server, stdin=f"{world.PASSWORD}\n")
    assert partly.status == 1
    assert f"{world.ALICE}: 250" in partly.output
    assert "nobody@ours.test: 550 5.1.1" in partly.output


def test_settings_are_changed_by_a_file_and_by_an_editor(suite: Suite, tmp_path: Path) -> None:
    posthouse = CommandLine(suite, VISUAL="", EDITOR="sed -i s/ESMTP/ESMTP_edited/")
    exported = tmp_path / "settings.json"
    posthouse("config", "export", str(exported))
    posthouse("config", "edit", "general")
    assert "ESMTP_edited" in posthouse.json("config", "get", "general.profile.banner")
    planned = posthouse.json("config", "import", str(exported), "--dry-run")
    assert [change["id"] for change in planned["changes"]] == ["settings/general"]
    posthouse("config", "import", str(exported), "--yes")
    assert "ESMTP_edited" not in posthouse.json("config", "get", "general.profile.banner")
    nothing = posthouse.run("config", "get", "general.nonsense")
    assert (nothing.status, nothing.errors.count("\n")) == (1, 1)


def test_commands_on_the_machine_of_the_suite_need_neither_address_nor_key(suite: Suite, tmp_path: Path) -> None:
    """The command reads the first admin key and the API's address from the data folder of `posthouse up`."""
    (suite.folder / "run" / "api-url").write_text(f"{suite.api_url}\n")
    here = CommandLine(POSTHOUSE_DATA_DIR=str(suite.folder), HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert "config_api" in here("version")


def test_doctor_and_top_show_faults_and_state(suite: Suite, posthouse: CommandLine) -> None:
    sick = posthouse.run("doctor", "--run", "--json")
    levels = {finding["id"]: finding["level"] for finding in sick.json["items"] if finding["service"] == "config_api"}
    assert (sick.status, levels["hostname"]) == (1, "error"), (
        "the check fails, because the suite has the default hostname"
    )
    assert "hostname" in posthouse.run("doctor").output
    look = posthouse.json("top")
    assert {service["state"] for service in look["services"]} == {"ready"}
    assert "accepted in 60 min" in posthouse("top", "--once")


def test_a_password_that_is_typed_is_not_shown(suite: Suite, posthouse: CommandLine) -> None:
    typed = posthouse.at_terminal(
        "account", "add", "zoe", "addresses=zoe@ours.test", "password=-", answers={"password:": "a typed password"}
    )
    assert (typed.status, "a typed password" in typed.output) == (0, False)
    with world.smtp(suite) as client:
        client.starttls(context=world.no_verify())
        client.login("zoe", "a typed password")


def test_each_exit_status_has_its_cause(suite: Suite, posthouse: CommandLine, tmp_path: Path) -> None:
    assert posthouse.run("status").status == 0
    assert posthouse.run("account", "show", "nobody").status == 1
    assert posthouse.run("queue", "list", "state=waiting").status == 2
    assert CommandLine(suite, POSTHOUSE_URL="http://127.0.0.1:1").run("status").status == 3
    assert CommandLine(suite, POSTHOUSE_KEY="ph_wrong").run("status").status == 4
    # The editor is a script: while it is open, somebody else changes the same section.
    editor = tmp_path / "editor"
    change = (sys.executable, "-m", "services", "config", "set", "general.profile.banner=ESMTP_theirs")
    editor.write_text(f'#!/bin/sh\n{shlex.join(change)} >&2 && sed -i s/ESMTP/ESMTP_ours/ "$1"\n')
    editor.chmod(0o700)
    conflict = CommandLine(suite, VISUAL=str(editor)).run("config", "edit", "general")
    assert (conflict.status, "Read the object again" in conflict.errors) == (5, True), conflict.errors
    assert all(
        posthouse.run(*arguments).errors.count("\n") == 1
        for arguments in (("account", "show", "nobody"), ("queue", "list", "state=waiting"))
    )


def _selectors_of_signatures(content: bytes) -> list[str]:
    header = content.partition(b"\r\n\r\n")[0].decode("ascii", "replace")
    return re.findall(r"\bs=([a-z0-9]+);", header)


def test_signing_keys_are_imported_and_replaced_while_mail_flows(
    suite: Suite, posthouse: CommandLine, far: SmtpSink, tmp_path: Path
) -> None:
    """The old key is imported. The new key is published, then used, and the old one is removed."""

    def signed_by() -> list[str]:
        before = len(far.messages)
        send(suite, "bob@far.test")
        return _selectors_of_signatures(far.wait_for_messages(before + 1)[-1].content)

    # rspamd stores its DKIM keys in this form.
    for domain, kind in (("ours.test", "rsa"), ("other.test", "ed25519")):
        path = tmp_path / f"{domain}.old.key"
        command = ["rspamadm", "dkim_keygen", "-s", "old", "-d", domain, "-t", kind, "-k", str(path)]
        record = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        public = "".join(re.findall(r'"([^"]*)"', record)).partition("p=")[2].strip()
        (tmp_path / f"{domain}.p").write_text(public)
    imported = posthouse.json("dkim", "import", str(tmp_path), "--yes")["imported"]
    for key in imported:
        assert key["dns_record"].endswith("p=" + (tmp_path / f"{key['domain']}.p").read_text())
    assert signed_by() == ["old"]
    with DnsServer() as names:
        rotate = ("dkim", "rotate", "ours.test", "--nameserver", names.address)
        new = posthouse.json(*rotate, "--selector", "new")
        assert (new["step"], signed_by()) == ("published", ["old"])
        early = posthouse.run(*rotate)
        assert (early.status, "not published yet" in early.output, signed_by()) == (1, True, ["old"])
        record = new["key"]["dns_record"]
        names.add(
            new["key"]["dns_name"], "TXT", " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))
        )
        assert (posthouse.json(*rotate)["step"], signed_by()) == ("used", ["new"])
        early = posthouse.run(*rotate)
        assert (early.status, "has to stay until" in early.output) == (1, True)
        assert posthouse.json(*rotate, "--overlap-days", "0")["step"] == "withdrawn"
    (left,) = posthouse.json("dkim", "list", "domain=ours.test")["items"]
    assert (left["selector"], signed_by()) == ("new", ["new"])
