"""Start of config_api: the first run without data, the admin key, migrations on both databases, and refused starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.runtime import lifecycle
from libs.runtime.database import VERSION_TABLE
from libs.runtime.lifecycle import StartupError
from libs.smtp.address import is_host_name
from services.config_api.changes import first_run
from services.config_api.changes.first_run import ADMIN_KEY_FILE
from services.config_api.resources.general import FALLBACK_HOSTNAME
from services.config_api.settings import Settings
from services.config_api.snapshot import publisher
from services.config_api.storage import tables
from services.config_api.storage.database import SCHEMA, Database
from tests.config_api.service import START_SECONDS, running, settings
from tests.peers.postgres import Postgres


async def test_the_first_run_needs_no_configuration(
    database_url: str, tmp_path: Path, resolver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(database_url, tmp_path / "new", nameservers=resolver, admin_key="") as service:
        key = (tmp_path / "new" / ADMIN_KEY_FILE).read_text().strip()
        service.api.headers["Authorization"] = f"Bearer {key}"
        general = await service.get("/v1/settings/general")
        assert is_host_name(general["profile"]["hostname"])
        assert (await service.get("/v1/api-keys"))["items"][0]["role"] == "admin"
        policy, _ = await service.policy(lambda _: True)
        assert policy.general.smtp_auth.enabled
    assert stat.S_IMODE((tmp_path / "new" / ADMIN_KEY_FILE).stat().st_mode) == 0o600
    shown = capsys.readouterr()
    assert key not in shown.out + shown.err, "the key is written only to its file, not to the output"
    async with running(database_url, tmp_path / "new", nameservers=resolver, admin_key="") as service:
        service.api.headers["Authorization"] = f"Bearer {key}"
        assert len((await service.get("/v1/api-keys"))["items"]) == 1
        # A second start makes no revision.
        assert len((await service.get("/v1/revisions"))["items"]) == 1
    shown = capsys.readouterr()
    assert key not in shown.out + shown.err


async def test_a_machine_without_a_qualified_name_gets_the_documented_hostname(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, qualified, found in (
        ("box", "box", FALLBACK_HOSTNAME),
        ("box", "localhost", FALLBACK_HOSTNAME),
        ("box", "Box.Example.org", "box.example.org"),
        ("mail.example.net", "other.example", "mail.example.net"),
    ):
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        monkeypatch.setattr(socket, "getfqdn", lambda qualified=qualified: qualified)
        assert await first_run._hostname() == found
    assert is_host_name(FALLBACK_HOSTNAME)


async def test_a_second_process_on_one_sqlite_file_is_refused(tmp_path: Path, resolver: str) -> None:
    url = f"sqlite:///{tmp_path / 'config.sqlite3'}"
    async with running(url, tmp_path, nameservers=resolver):
        with pytest.raises(StartupError, match="another config_api already uses"):
            async with running(url, tmp_path, nameservers=resolver):
                pass
    async with running(url, tmp_path, nameservers=resolver):
        pass


async def test_the_second_replica_on_a_database_makes_no_first_revision(
    postgres_url: str, tmp_path: Path, resolver: str
) -> None:
    async with (
        running(postgres_url, tmp_path, nameservers=resolver) as first,
        running(postgres_url, tmp_path, nameservers=resolver) as second,
    ):
        assert await first.get("/v1/revisions") == await second.get("/v1/revisions")
        assert len((await first.get("/v1/revisions"))["items"]) == 1


async def test_a_silent_database_is_reported_by_readyz(
    postgres: Postgres, postgres_url: str, tmp_path: Path, resolver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_ANSWER_SECONDS", 0.3)

    async def until(status: int) -> dict[str, Any]:
        async with asyncio.timeout(START_SECONDS):
            while (answer := await service.api.get("/readyz")).status_code != status:
                pass
        found: dict[str, Any] = answer.json()
        return found

    async with running(postgres_url, tmp_path, nameservers=resolver) as service:
        postgres.freeze()
        assert (await until(503))["missing"].keys() == {"database", "grpc"}
        postgres.thaw()
        await until(200)
        await service.make("trusted-networks", {"name": "n", "networks": ["192.0.2.0/24"]})
        await service.policy(lambda found: found.trusted_networks)


async def test_closing_does_not_wait_for_a_silent_database(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.config_api.storage.database._CLOSE_SECONDS", 0.2)
    opened = Database(postgres_url)
    await opened.open()
    asking = asyncio.create_task(_ask(opened))
    postgres.freeze()
    try:
        await opened.close()
    finally:
        postgres.thaw()
        asking.cancel()
        await asyncio.wait({asking})


async def test_a_silent_database_does_not_delay_the_end_of_the_service(
    postgres: Postgres, postgres_url: str, tmp_path: Path, resolver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.config_api.storage.database._CLOSE_SECONDS", 0.2)
    monkeypatch.setattr("services.config_api.__main__._GRACE_SECONDS", 0.2)
    monkeypatch.setattr(publisher, "_ANSWER_SECONDS", 0.2)
    try:
        # This time is less than the two minutes that a statement may take, so the test fails if the end waits for
        # the frozen database.
        async with asyncio.timeout(60), running(postgres_url, tmp_path, nameservers=resolver) as service:
            made = await service.make("api-keys", {"name": "used", "role": "reader"})
            service.api.headers["Authorization"] = f"Bearer {made['key']}"
            # The time at which the key was used is written when the service ends.
            await service.get("/v1/settings/general")
            postgres.freeze()
    finally:
        postgres.thaw()


async def _ask(opened: Database) -> None:
    while True:
        async with opened.reading() as connection:
            await connection.execute(text("SELECT 1"))


REVISIONS = [script.revision for script in SCHEMA.scripts().walk_revisions()][::-1]


@pytest.mark.parametrize("begin", ["nothing", *REVISIONS])
async def test_databases_of_every_release_are_migrated(
    database_url: str, tmp_path: Path, resolver: str, begin: str
) -> None:
    """A database of each earlier schema, with data that its release could have written, works after the upgrade."""
    if begin != "nothing":
        await _as_of(database_url, begin)
    async with running(database_url, tmp_path, nameservers=resolver) as service:
        assert (await service.get("/v1/settings/general"))["profile"]["hostname"]
        if begin != "nothing":
            [found] = (await service.get("/v1/trusted-networks"))["items"]
            assert found["name"] == "old"
            policy, _ = await service.policy(lambda snapshot: snapshot.trusted_networks)
            assert policy.trusted_networks[0].networks == ["192.0.2.0/24"]
        await service.make("trusted-networks", {"name": "new", "networks": ["192.0.2.0/24"]})
    opened = Database(database_url)
    await opened.open()
    try:
        async with opened.reading() as connection:
            found_columns = await connection.run_sync(_columns)
    finally:
        await opened.close()
    assert found_columns == {
        table.name: {column.name: column.nullable for column in table.columns}
        for table in tables.metadata.sorted_tables
    }


async def test_settings_of_an_earlier_release_have_the_limits_that_came_later(
    database_url: str, tmp_path: Path, resolver: str
) -> None:
    """Commit 35f8a8f stored its defaults at the first start, so the limits that later releases added are missing."""
    async with running(database_url, tmp_path, nameservers=resolver):
        pass
    opened = Database(database_url)
    earlier = '{"reject_unauthorized_pipelining":"enforce","max_junk_commands":7}'
    async with opened.writing() as connection:
        await connection.execute(
            text("UPDATE documents SET body = :body WHERE kind = 'settings/advanced-security'"), {"body": earlier}
        )
    await opened.close()
    async with running(database_url, tmp_path, nameservers=resolver) as service:
        shown = await service.get("/v1/settings/advanced-security")
        assert (shown["max_junk_commands"], shown["max_refused_recipients"]) == (7, 100)
        policy, _ = await service.policy(lambda snapshot: snapshot.HasField("advanced_security"))
        limits = policy.advanced_security
        assert (limits.max_junk_commands, limits.max_refused_recipients) == (7, 100)
        changed = await service.change("/v1/settings/advanced-security", {"max_refused_recipients": 5})
        assert changed["max_refused_recipients"] == 5
        await service.policy(lambda snapshot: snapshot.advanced_security.max_refused_recipients == 5)


async def _as_of(url: str, revision: str) -> None:
    opened = Database(url)
    body = '{"name":"old","networks":["192.0.2.0/24"],"enabled":true}'
    document = "01900000-0000-7000-8000-000000000001"

    async def fill(connection: AsyncConnection) -> None:
        if not opened.is_sqlite:
            await connection.execute(text(f"CREATE SCHEMA {SCHEMA.service}"))
        await connection.run_sync(SCHEMA.upgrade, revision)
        await connection.execute(text("UPDATE head SET revision = 1"))
        row = {"kind": "trusted-networks", "id": document, "body": body}
        await connection.execute(text("INSERT INTO documents VALUES (:kind, :id, :body, 1, 1, 1)"), row)
        await connection.execute(
            text("INSERT INTO unique_keys VALUES ('trusted-networks/name', 'old', :kind, :id)"),
            {"kind": row["kind"], "id": document},
        )
        columns = "number, created_at, actor, action, summary"
        values = "1, 1, 'somebody', 'createTrustedNetwork', ''"
        await connection.execute(text(f"INSERT INTO revisions ({columns}) VALUES ({values})"))
        await connection.execute(text("INSERT INTO changes VALUES (1, :kind, :id, NULL, :body)"), row)

    async with opened.writing() as connection:
        await fill(connection)
    await opened.close()


def _columns(connection: Connection) -> dict[str, dict[str, bool | None]]:
    inspector = inspect(connection)
    return {
        table: {column["name"]: column["nullable"] for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
        if table != VERSION_TABLE
    }


async def test_migrations_only_add_to_the_schema(tmp_path: Path) -> None:
    """While the next release starts, the running release must work with the new schema."""
    before: dict[str, dict[str, bool]] = {}
    for revision in REVISIONS:
        opened = Database(f"sqlite+aiosqlite:///{tmp_path / revision}")
        async with opened.writing() as connection:
            await connection.run_sync(SCHEMA.upgrade, revision)
            after = await connection.run_sync(_may_be_left_out)
        await opened.close()
        for table, columns in before.items():
            assert columns.items() <= after[table].items(), (revision, table)
            assert all(after[table][name] for name in after[table].keys() - columns.keys()), (revision, table)
        before = after
    assert before


def _may_be_left_out(connection: Connection) -> dict[str, dict[str, bool]]:
    inspector = inspect(connection)
    return {
        table: {
            column["name"]: bool(column["nullable"] or column["default"] is not None)
            for column in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
        if table != VERSION_TABLE
    }


async def test_a_running_config_api_continues_while_a_newer_release_migrates(
    postgres_url: str, tmp_path: Path, resolver: str
) -> None:
    async with running(postgres_url, tmp_path, nameservers=resolver) as service:
        opened = Database(postgres_url)
        async with opened.writing() as connection:
            for table in (table.name for table in tables.metadata.sorted_tables):
                await connection.execute(text(f"ALTER TABLE {table} ADD COLUMN newer text"))
            await connection.execute(text("CREATE TABLE newer (id int)"))
            await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        await opened.close()
        await service.make("trusted-networks", {"name": "new", "networks": ["192.0.2.0/24"]})
        await service.change("/v1/settings/general", {"profile": {"max_hops": 41}})
        assert (await service.get("/v1/revisions"))["items"][0]["number"] == 3
        policy, _ = await service.policy(lambda snapshot: snapshot.general.profile.max_hops == 41)
        assert len(policy.trusted_networks) == 1


async def test_f16_a_file_of_another_program_is_not_changed(tmp_path: Path, resolver: str) -> None:
    file = tmp_path / "photos.sqlite3"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    with pytest.raises(StartupError, match="CONFIG_API_DATABASE_URL names a file with the tables of another program"):
        async with running(f"sqlite+aiosqlite:///{file}", tmp_path, nameservers=resolver):
            pass
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("photos",)]


async def test_a_database_of_a_newer_release_is_refused(database_url: str, tmp_path: Path, resolver: str) -> None:
    async with running(database_url, tmp_path, nameservers=resolver):
        pass
    opened = Database(database_url)
    async with opened.writing() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    await opened.close()
    with pytest.raises(StartupError, match=r"newer release .*9999"):
        async with running(database_url, tmp_path, nameservers=resolver):
            pass


async def test_config_api_and_relay_can_share_one_postgresql(postgres_url: str, tmp_path: Path, resolver: str) -> None:
    """All tables are in a schema of their own. Tables of other programs with the same names are not touched."""
    opened = Database(postgres_url)
    async with opened.writing() as connection:
        await connection.execute(text("CREATE TABLE public.alembic_version (version_num text)"))
        await connection.execute(text("INSERT INTO public.alembic_version VALUES ('of relay')"))
        await connection.execute(text("CREATE TABLE public.revisions (x int)"))
    await opened.close()
    async with running(postgres_url, tmp_path, nameservers=resolver) as service:
        await service.get("/v1/revisions")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://x/y", "must begin with sqlite"),
        ("nonsense", "not a database URL"),
        ("sqlite://", "needs a file"),
        ("postgresql://user:hunter2@127.0.0.1:1/none", "PostgreSQL at 127.0.0.1:1 can't be reached"),
    ],
)
async def test_databases_that_cannot_be_used_are_refused(
    tmp_path: Path, url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SERVER_SECONDS", 0)
    with pytest.raises(StartupError, match=message) as caught:
        async with running(url, tmp_path):
            pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONFIG_API_PORT", "70000"),
        ("CONFIG_API_POLICY_TARGET", "nowhere"),
        ("CONFIG_API_PROXY_NETWORKS", "10.0.0.1/8"),
        ("CONFIG_API_GRPC_CERT", "/x"),
    ],
)
def test_the_error_names_an_invalid_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match=name):
        Settings.load()


def test_an_unreadable_key_file_is_refused(tmp_path: Path) -> None:
    from services.config_api.secrets.sealing import KEY_FILE, load_sealer

    load_sealer("", tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(StartupError, match="chmod 600"):
        load_sealer("", tmp_path)


def test_urls_with_a_driver_are_accepted_too(tmp_path: Path) -> None:
    found: Any = Database(f"sqlite+aiosqlite:///{tmp_path / 'x'}")
    assert found.is_sqlite
    assert make_url(settings("", tmp_path).url).database == str(tmp_path / "config.sqlite3")
