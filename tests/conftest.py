"""The fixtures that give tests their real peers, and the options of the test run."""

from __future__ import annotations

import os

# gRPC's fork handlers crash children that are started while its threads work; no child here uses gRPC before exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# A service that a test starts alone is called over plain TCP on loopback. Whole suites use Unix sockets all the same.
os.environ["POSTHOUSE_INSECURE_GRPC"] = "true"

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from hypothesis import settings

from libs.runtime import logging as process_log
from tests.peers.clamd import Clamd
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres
from tests.peers.redis import Redis
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

# Every run has the same examples, so that a failure comes from a change. HYPOTHESIS_PROFILE=default makes new examples.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# This file takes longest, and mostly waits. It begins first, so that the run does not have to wait for it at the end.
_FIRST = Path(__file__).parent / "relay" / "test_crash.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the longest file first."""
    items.sort(key=lambda item: item.path != _FIRST)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="kill services again and again instead of a few times (takes long)"
    )


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> bool:
    """Whether the run was asked to take its time (`--torture`)."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture
def log_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are written at once and where `capsys` sees them, whatever an earlier test of this process configured."""
    monkeypatch.setattr(process_log, "_output", process_log.Output(process_log._StandardError()))
    monkeypatch.setattr(process_log, "_console", False)


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    """An empty DNS server on loopback; give `dns_server.address` to the *_NAMESERVERS variables."""
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="session")
def certificates() -> trustme.CA:
    """A certificate authority: `issue_cert("mx.example.test")` for servers, `configure_trust(context)` for clients."""
    return trustme.CA()


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """A plain SMTP server that accepts everything; make an `SmtpSink` yourself for TLS, AUTH, LMTP or an address."""
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres(_postgres: Postgres) -> Iterator[Postgres]:
    """The session's PostgreSQL, running: `create_database()`, and `restart()`, `kill()`, `freeze()` for fault tests."""
    _postgres.ensure_running()
    yield _postgres
    _postgres.ensure_running()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A fresh database, as a postgresql+asyncpg:// URL; dropped after the test."""
    url = postgres.create_database()
    yield url
    postgres.ensure_running()
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database; the test runs twice, with sqlite+aiosqlite:// and with postgresql+asyncpg://."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture(scope="session")
def _redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture
def redis_server(_redis: Redis) -> Redis:
    """The session's Redis, running and empty: `kill()`, `restart()`, `freeze()` for fault tests."""
    _redis.ensure_running()
    _redis.flush()
    return _redis


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis, as redis://127.0.0.1:port/0."""
    return redis_server.url


@pytest.fixture(scope="session")
def _clamd() -> Iterator[Clamd]:
    with Clamd() as daemon:
        yield daemon


@pytest.fixture
def clamd(_clamd: Clamd) -> Clamd:
    """The session's clamd, running: `clamd.address`; it finds `tests.peers.clamd.eicar()` and nothing else."""
    _clamd.ensure_running()
    return _clamd


@pytest.fixture
def start_suite() -> Iterator[Callable[[Suite], Suite]]:
    """Starts Posthouse: `start_suite(Suite(nameservers=dns_server.address))`. A failure shows the services' logs."""
    with ExitStack() as stack:

        def start(suite: Suite) -> Suite:
            stack.callback(suite.stop)
            stack.callback(lambda: print(suite.logs[-20_000:]))
            return suite.start()

        yield start
