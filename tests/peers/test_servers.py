"""The peers for databases, virus scanner and load balancer are real servers, which a test can stop and start again."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import socket

import asyncpg
import pytest
import redis.asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.peers.clamd import SIGNATURE, Clamd, eicar
from tests.peers.haproxy import Haproxy
from tests.peers.ports import free_port
from tests.peers.postgres import Postgres
from tests.peers.redis import Redis
from tests.peers.smtp_sink import SmtpSink, Stage


async def scalar(url: str, statement: str) -> object:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


def plain(url: str) -> str:
    return url.replace("+asyncpg", "")


async def test_each_test_has_a_database_of_its_own(postgres: Postgres, postgres_url: str) -> None:
    other = postgres.create_database()
    assert other != postgres_url
    for url in (postgres_url, other):
        await scalar(url, "CREATE TABLE mine AS SELECT 7 AS x")
        assert await scalar(url, "SELECT x FROM mine") == 7
    postgres.drop_database(other)
    assert postgres.query(f"SELECT count(*) FROM pg_database WHERE datname = '{other.rpartition('/')[2]}'") == "0"


async def test_both_kinds_of_databases_execute_sql(database_url: str) -> None:
    assert await scalar(database_url, "SELECT 40 + 2") == 42


async def test_postgresql_breaks_connections_and_keeps_its_data(postgres: Postgres, postgres_url: str) -> None:
    await scalar(postgres_url, "CREATE TABLE kept AS SELECT 1 AS x")
    connection = await asyncpg.connect(plain(postgres_url))
    await asyncio.to_thread(postgres.restart)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetch("SELECT 1")
    assert await scalar(postgres_url, "SELECT x FROM kept") == 1
    for end in (postgres.kill, postgres.break_off):
        end()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncpg.connect(plain(postgres_url))
        postgres.start()
        assert await scalar(postgres_url, "SELECT x FROM kept") == 1


async def test_a_frozen_postgresql_does_not_answer_until_it_thaws(postgres: Postgres, postgres_url: str) -> None:
    connection = await asyncpg.connect(plain(postgres_url))
    postgres.freeze()
    asking = asyncio.create_task(connection.fetchval("SELECT 5"))
    done, _ = await asyncio.wait({asking}, timeout=0.2)
    assert not done
    postgres.thaw()
    assert await asking == 5
    await connection.close()


async def test_redis_can_be_flushed_stopped_and_restarted(redis_server: Redis, redis_url: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        await client.set("a", "b")
        assert await client.get("a") == b"b"
        redis_server.flush()
        assert await client.get("a") is None
        redis_server.kill()
        with pytest.raises((redis.ConnectionError, OSError)):
            await client.get("a")
        redis_server.restart()
        assert await client.ping()


async def test_a_frozen_redis_does_not_answer_until_it_thaws(redis_server: Redis, redis_url: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        await client.ping()
        redis_server.freeze()
        asking = asyncio.ensure_future(client.get("a"))
        done, _ = await asyncio.wait({asking}, timeout=0.2)
        assert not done
        redis_server.thaw()
        assert await asking is None


def test_clamd_finds_eicar_and_passes_clean_text(clamd: Clamd) -> None:
    found = f"stream: {SIGNATURE} FOUND".encode()
    mail = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
    encoded = mail + b"Content-Transfer-Encoding: base64\r\n\r\n"
    encoded += base64.encodebytes(eicar()).replace(b"\n", b"\r\n")
    assert clamd.command(b"INSTREAM", b"clean text") == b"stream: OK"
    assert clamd.command(b"INSTREAM", eicar()) == found
    assert clamd.command(b"INSTREAM", eicar()[:30], eicar()[30:]) == found
    assert clamd.command(b"INSTREAM", encoded) == found


def test_clamd_accepts_settings_and_can_be_restarted() -> None:
    with Clamd({"StreamMaxLength": "1M"}) as clamd:
        assert clamd.command(b"INSTREAM", b"x" * 2_000_000) == b"INSTREAM size limit exceeded. ERROR"
        clamd.kill()
        with pytest.raises(ConnectionRefusedError):
            clamd.command(b"PING")
        clamd.restart()
        clamd.freeze()
        with pytest.raises(TimeoutError):
            clamd.command(b"PING", seconds=0.2)
        clamd.thaw()
        assert clamd.command(b"INSTREAM", eicar()).endswith(b"FOUND")


def test_the_balancer_sends_the_client_address_and_skips_dead_backends(smtp_sink: SmtpSink) -> None:
    dead = f"127.0.0.1:{free_port()}"
    gate = smtp_sink.hold(Stage.CONNECT)
    with (
        Haproxy([dead, smtp_sink.address]) as balancer,
        socket.create_connection((balancer.host, balancer.port)) as own,
    ):
        gate.wait_reached()
        smtp_sink.wait_until(
            lambda: len(smtp_sink._sessions[0].octets) >= 28, "the backend has received the PROXY header"
        )
        header = bytes(smtp_sink.sessions[0].octets)
        gate.open()
        host, port = own.getsockname()
    assert header[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    assert header[16:20] == socket.inet_aton(host)
    assert int.from_bytes(header[24:26], "big") == port


def test_the_balancer_distributes_connections_and_drains_a_backend() -> None:
    def connect(times: int) -> tuple[int, int]:
        before = len(one.sessions), len(other.sessions)
        for _ in range(times):
            with smtplib.SMTP(balancer.host, balancer.port, timeout=60) as client:
                client.noop()
        return len(one.sessions) - before[0], len(other.sessions) - before[1]

    one, other = SmtpSink(), SmtpSink()
    balancer = Haproxy([one.address, other.address], proxy_protocol=False)
    with one, other, balancer:
        assert connect(4) == (2, 2)
        balancer.drain(1)
        assert connect(3) == (0, 3)
        balancer.undrain(1)
        assert connect(4) == (2, 2)
