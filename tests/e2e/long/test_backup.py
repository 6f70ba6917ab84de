"""A backup is made while mail flows, and restored on an empty machine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.command_line.posthouse import CommandLine
from tests.e2e import world
from tests.e2e.load import SteadyLoad
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.peers.suite import Suite

# This time is long enough for two suites, which start one after the other.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PASSPHRASE = "a passphrase of the operator"
RECIPIENT = "carol@far.test"
# The least number of messages in the queue before the backup begins, and of messages that come while it runs.
BEFORE, MEANWHILE = 60, 20

Databases = Callable[[], Mapping[str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Returns a function that makes two new databases and returns their variables.

    With SQLite there are no such variables, because the databases are files in the data folder.
    """
    if request.param == "sqlite":
        return dict
    server: Postgres = request.getfixturevalue("server")
    return lambda: {f"{service}_DATABASE_URL": server.create_database() for service in ("CONFIG_API", "RELAY")}


def test_nothing_that_was_accepted_before_a_backup_is_missing_after_it(
    databases: Databases, outside: DnsServer, far: SmtpSink, tmp_path: Path
) -> None:
    far.on(Stage.RCPT, reply("451 4.3.0 Not now"), address=RECIPIENT)
    file, passphrase = tmp_path / "posthouse.backup", tmp_path / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    arguments = (str(file), "--passphrase-file", str(passphrase))

    def suite_of(variables: Mapping[str, str]) -> Suite:
        return Suite({"RELAY_MX_PORT": str(far.port), **variables}, nameservers=outside.address)

    with suite_of(databases()) as former:
        world.local_domain(former)
        world.account(former)
        world.trust_loopback(former)
        world.until_in_force(former)
        until(lambda: world.reply_to_rcpt(former, RECIPIENT)[0] == 250, "mail for other domains is accepted")
        sources = [f"127.0.1.{number}" for number in range(1, 5)]
        with SteadyLoad("load", former.host, former.smtp_port, sources, RECIPIENT) as load:
            until(lambda: load.count() >= BEFORE, "there is mail in the queue")
            began = time.monotonic()
            taken = CommandLine(None, **former.environment)("backup", *arguments)
            sofar = load.count()
            until(lambda: load.count() >= sofar + MEANWHILE, "more mail is accepted")
        accepted_before = {number for number, at in load.accepted.items() if at < began}
        # Changes after the backup are lost, but the numbers of their revisions are not used again.
        world.create(former, "/v1/relay-domains", {"name": "late", "domain": "late.test"})
        last_revision, admin_key = world.newest_revision(former), former.admin_key
    assert "rows of relay" in taken
    assert file.stat().st_mode & 0o077 == 0
    assert b"451" not in file.read_bytes()

    later = suite_of(databases())
    try:
        (wrong := tmp_path / "wrong").write_text("another passphrase\n")
        posthouse = CommandLine(None, **later.environment)
        refused = posthouse.run("restore", str(file), "--passphrase-file", str(wrong))
        assert (refused.status, refused.errors.count("\n")) == (1, 1)
        told = posthouse("restore", *arguments)
        waiting = re.search(r"waits in the queue: messages (\d+)", told)
        assert waiting is not None, told
        assert int(waiting[1]) >= len(accepted_before)
        assert posthouse.run("restore", *arguments).status == 1, (
            "a second restore is refused, because the machine is not empty any more"
        )
        later.start()
        assert later.admin_key == admin_key
        assert world.newest_revision(later) > last_revision
        until(lambda: world.reply_to_rcpt(later, RECIPIENT)[0] == 250, "policy uses the restored settings")
        with world.submission(later):
            """The login succeeds, so the account has its password again."""
        far.clear()
        CommandLine(later)("queue", "retry", "to=far.test", "--yes")
        world.until_queue_is_empty(later)
        numbers = {int(number) for message in far.messages for number in re.findall(rb"load-(\d+)\.", message.content)}
        assert accepted_before - numbers == set()
        assert len(numbers) == int(waiting[1])
        (message, *_) = world.history(later)
        attempts = later.api.get(f"/v1/messages/{message['queue_id']}").json()["deliveries"]
        assert all(delivery["possible_duplicate"] for delivery in attempts)
    finally:
        print(later.logs[-20_000:])
        later.stop()


def test_the_databases_of_a_running_suite_are_found_without_variables(server: Postgres, tmp_path: Path) -> None:
    file, passphrase = tmp_path / "posthouse.backup", tmp_path / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    arguments = (str(file), "--passphrase-file", str(passphrase))
    url, other_url = server.create_database(), server.create_database()
    with Suite(by_command=True, postgres_url=url) as former:
        world.local_domain(former)
        admin_key = former.admin_key
        posthouse = CommandLine(None, **former.environment)
        assert f"the database of relay: {url}" in posthouse("backup", *arguments)
        assert posthouse("migrate").count("up to date") == 2
        # On PostgreSQL this command may run while the suite runs.
        posthouse("rotate-secret-key")
        assert not list(former.folder.rglob("*.sqlite3")), "no command made an empty database of its own"
    later = Suite(by_command=True, postgres_url=other_url)
    try:
        restored = CommandLine(None, **later.environment)("restore", *arguments, "--postgres", other_url)
        assert f"into the database of config_api: {other_url}" in restored
        later.start()
        assert later.admin_key == admin_key
        assert [each["name"] for each in later.api.get("/v1/local-domains").json()["items"]] == ["ours.test"]
    finally:
        later.stop()


def test_a_suite_started_with_a_password_names_the_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "databases.json").write_text('{"config_api": "", "relay": ""}')
    for command in (("backup", str(tmp_path / "file")), ("migrate",), ("rotate-secret-key",)):
        outcome = CommandLine(None, POSTHOUSE_DATA_DIR=str(tmp_path)).run(*command)
        assert outcome.status == 2
        assert outcome.errors.count("\n") == 1
        assert "CONFIG_API_DATABASE_URL that has a password: set it" in outcome.errors
