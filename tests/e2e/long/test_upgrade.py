"""The data folder of commit 35f8a8f is upgraded as docs/scaling.md says, and the suite continues with its data."""

from __future__ import annotations

import asyncio
import os
import shutil
import smtplib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from sqlalchemy import Boolean, MetaData

from services.config_api.storage.database import SCHEMA as CONFIG_SCHEMA
from services.config_api.storage.database import Database as ConfigDatabase
from services.relay.queue.database import SCHEMA as RELAY_SCHEMA
from services.relay.queue.database import Connection, open_database
from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.ports import free_address
from tests.peers.process import until
from tests.peers.smtp_sink import Offer, SmtpSink
from tests.peers.suite import ROOT, Suite

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[1] / "data" / "35f8a8f"
# These names are in the settings that the commit stored: the relay host with its password, and the mailbox server.
RELAY_HOST, RELAY_HOST_PORT, RELAY_HOST_PASSWORD = "smart.test", 2525, "not to be seen"
MAILBOX_SERVER, MAILBOX_SERVER_PORT = "box.test", 2424
# The last revisions of both schemas at that commit.
CONFIG_REVISION, RELAY_REVISION = "0002", "0003"
# The columns of the queue's tables that contain times, in microseconds.
TIMES = {
    "messages": ("received_at", "stored_at", "sweep_at", "finished_at"),
    "deliveries": ("due_at", "finished_at"),
    "destinations": ("wake_at",),
}


def restore(folder: Path) -> None:
    """Restores the data folder without its databases."""
    for name in ("admin-key", "secret-key"):
        shutil.copy(DATA / name, folder / name)
        (folder / name).chmod(0o600)
    # The commit made this folder for its PID files and let other users read it.
    (folder / "run").mkdir(mode=0o755)
    for service in ("policy", "relay"):
        (folder / service).mkdir(mode=0o700)
        shutil.copy(DATA / f"{service}-snapshot", folder / service / "snapshot")


def restore_databases(settings_path: str, queue_path: str) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Restores both databases as SQLite files. The queue's times are moved, so that the last delivery is due now."""
    settings, queue = sqlite3.connect(settings_path), sqlite3.connect(queue_path)
    settings.executescript((DATA / "config.sql").read_text())
    queue.executescript((DATA / "queue.sql").read_text())
    (due_at,) = queue.execute("SELECT max(due_at) FROM deliveries").fetchone()
    later = time.time_ns() // 1000 - due_at
    for table, columns in TIMES.items():
        queue.execute(f"UPDATE {table} SET {', '.join(f'{name} = {name} + {later}' for name in columns)}")
    queue.commit()
    return settings, queue


async def copy_to_postgresql(url: str, settings: sqlite3.Connection, queue: sqlite3.Connection) -> None:
    """Creates both schemas of that commit in one PostgreSQL database, and copies the rows of the SQLite databases to
    it.
    """
    config_database = ConfigDatabase(url)
    async with config_database.writing() as connection:
        await connection.run_sync(CONFIG_SCHEMA.create)
        await connection.run_sync(CONFIG_SCHEMA.upgrade, CONFIG_REVISION)
        await connection.run_sync(copy_rows, settings)
    await config_database.close()
    opened = open_database(url)
    await opened.open()

    def replace(connection: Connection) -> None:
        present = MetaData()
        present.reflect(connection)
        present.drop_all(connection)
        RELAY_SCHEMA.upgrade(connection, RELAY_REVISION)
        copy_rows(connection, queue)

    await opened.write(replace)
    await opened.close()


def copy_rows(connection: Connection, source: sqlite3.Connection) -> None:
    """Replaces the rows of all tables but `alembic_version` by those of `source`.

    Tables to which others refer come first.
    """
    tables = MetaData()
    tables.reflect(connection)
    for table in tables.sorted_tables:
        if table.name == "alembic_version":
            continue
        cursor = source.execute(f"SELECT * FROM {table.name}")
        names = [column[0] for column in cursor.description]
        connection.execute(table.delete())
        for row in cursor:
            values = {
                name: bool(value) if isinstance(table.c[name].type, Boolean) and value is not None else value
                for name, value in zip(names, row, strict=True)
            }
            connection.execute(table.insert().values(values))


def migrate(suite: Suite, service: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "services", service, "migrate"],
        env={**suite.environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        cwd=ROOT,
        check=True,
        timeout=60,
    )


@pytest.fixture
def relay_host(certificates: trustme.CA) -> Iterator[SmtpSink]:
    """A relay host that accepts mail only after TLS and a login with the password that is encrypted in the settings."""
    offer = Offer(logins={"gateway": RELAY_HOST_PASSWORD}, auth_required=True, tls_required=True)
    leaf = certificates.issue_cert(RELAY_HOST)
    with SmtpSink(offer, host=free_address(), port=RELAY_HOST_PORT, certificate=leaf) as sink:
        yield sink


@pytest.fixture
def mailbox_server() -> Iterator[SmtpSink]:
    with SmtpSink(Offer(lmtp=True), host=free_address(), port=MAILBOX_SERVER_PORT) as sink:
        yield sink


@pytest.fixture(params=["sqlite", "postgresql"])
def upgraded(
    request: pytest.FixtureRequest,
    relay_host: SmtpSink,
    mailbox_server: SmtpSink,
    certificates: trustme.CA,
    tmp_path: Path,
) -> Iterator[Suite]:
    authority = tmp_path / "authority.pem"
    certificates.cert_pem.write_to_path(str(authority))
    with DnsServer() as dns:
        dns.add(RELAY_HOST, "A", relay_host.host)
        dns.add(MAILBOX_SERVER, "A", mailbox_server.host)
        environment = {"RELAY_TLS_CA_FILE": str(authority)}
        url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
        if url:
            environment |= {"CONFIG_API_DATABASE_URL": url, "RELAY_DATABASE_URL": url}
        suite = Suite(environment, nameservers=dns.address, by_command=True)
        try:
            restore(suite.folder)
            paths = (suite.folder / "config.sqlite3", suite.folder / "relay" / "queue.sqlite3")
            settings, queue = restore_databases(*(":memory:" if url else str(path) for path in paths))
            with closing(settings), closing(queue):
                if url:
                    asyncio.run(copy_to_postgresql(url, settings, queue))
            for service in ("config_api", "relay"):
                migrate(suite, service)
            yield suite.start()
            print(suite.logs[-20_000:])
        finally:
            suite.stop()


def test_a_data_folder_of_35f8a8f_works_after_the_upgrade(
    upgraded: Suite, relay_host: SmtpSink, mailbox_server: SmtpSink
) -> None:
    # The queued message arrives. The relay host's password, as the old commit encrypted it, is still valid.
    (taken,) = relay_host.wait_for_messages(1)
    assert b"Queued before the upgrade." in taken.content
    assert (taken.sender, [recipient.address for recipient in taken.recipients]) == (
        b"alice@ours.test",
        [b"bob@far.test"],
    )
    assert taken.session.authenticated
    world.until_queue_is_empty(upgraded)
    outcomes = {(one["sender"], one["state"]) for one in world.history(upgraded)}
    assert {("alice@ours.test", "delivered"), ("someone@far.test", "delivered")} <= outcomes
    # The account logs in only with its password, and its mail leaves through the same relay host.
    until(lambda: world.reply_to_rcpt(upgraded, world.ALICE)[0] == 250, "ingress has connected to policy and relay")
    with smtplib.SMTP(upgraded.host, upgraded.submission_port, timeout=60) as client:
        client.starttls(context=world.no_verify())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(world.LOGIN, "another password")
    with world.submission(upgraded) as client:
        client.sendmail(world.ALICE, ["bob@far.test"], world.message(text="Sent after the upgrade."))
    assert b"Sent after the upgrade." in relay_host.wait_for_messages(2)[1].content
    # Incoming mail goes to the mailbox server of the local domain, and only to its accounts.
    assert world.reply_to_rcpt(upgraded, "nobody@ours.test")[0] == 550
    with world.smtp(upgraded) as client:
        client.sendmail("someone@far.test", [world.ALICE], world.message("someone@far.test", [world.ALICE], "Come in."))
    assert b"Come in." in mailbox_server.wait_for_messages(1)[0].content
    # The commit stored its snapshots unencrypted, with the passwords. No such copy may remain.
    assert RELAY_HOST_PASSWORD.encode() in (DATA / "relay-snapshot").read_bytes()
    for service in ("policy", "relay"):
        snapshot, then = upgraded.folder / service / "snapshot", (DATA / f"{service}-snapshot").read_bytes()
        until(lambda kept=snapshot, then=then: kept.read_bytes() != then, f"{service} has stored a new snapshot")  # type: ignore[misc]
        secret = RELAY_HOST_PASSWORD.encode() if service == "relay" else b"$argon2id$"
        assert secret not in snapshot.read_bytes()
    assert RELAY_HOST_PASSWORD not in upgraded.logs
