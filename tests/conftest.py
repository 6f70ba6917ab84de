"""The fixtures that start real peers for tests, and the options of the test run."""

from __future__ import annotations

import gc
import os
import shutil
import sys

# gRPC's fork handlers crash a child process that is started while gRPC's threads work. No child here uses gRPC before
# it executes another program, so the handlers are not needed.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# A service that a test starts alone is called over plain TCP on loopback. Complete suites still use Unix sockets.
os.environ["POSTHOUSE_INSECURE_GRPC"] = "true"

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from hypothesis import settings

from libs.runtime import logging as process_log
from tests.peers import memory
from tests.peers.clamd import Clamd
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres
from tests.peers.redis import Redis
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

# Hypothesis uses the same examples in every run, so that a new failure is caused by a change of the code.
# HYPOTHESIS_PROFILE=default generates new examples.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# A test makes many objects, but few reference cycles, which only the garbage collection finds.
_GC_THRESHOLDS = (20_000, 20, 50)

_TESTS = Path(__file__).parent
# The tests of this file take longest and mostly wait. They start first, so that the run does not end with a wait for
# them.
_FIRST = _TESTS / "relay" / "test_crash.py"
# These are many files that take a short time each. They start last, so that no process of the run is idle while another
# process works through a long file.
_LAST = (_TESTS / "libs", _TESTS / "policy" / "rules", _TESTS / "command_line")


def pytest_configure() -> None:
    """Lets Python store the compiled form of each module.

    Otherwise each process of the run, and each process that a test starts, would compile all of Posthouse again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the file that takes longest first, and those of short files last."""
    items.sort(key=lambda item: (item.path != _FIRST, any(item.path.is_relative_to(folder) for folder in _LAST)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leaves the modules and the collected tests out of garbage collection.

    They live as long as the process, and each full collection would look at all of them again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="kill services many times instead of a few times (takes long)"
    )


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> bool:
    """Returns whether the option `--torture` was given."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture
def log_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes log lines to standard error at once, where `capsys` sees them, whatever an earlier test has set."""
    monkeypatch.setattr(process_log, "_output", process_log.Output(process_log._StandardError()))
    monkeypatch.setattr(process_log, "_console", False)


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    """An empty DNS server on loopback. A test passes `dns_server.address` in the *_NAMESERVERS variables."""
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="session")
def certificates() -> trustme.CA:
    """A certificate authority: `issue_cert("mx.example.test")` for servers, `configure_trust(context)` for clients."""
    return trustme.CA()


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """An SMTP server that accepts everything.

    For TLS, AUTH, LMTP or a certain address, a test creates its own `SmtpSink`.
    """
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """An empty folder in memory, for databases. It is removed after the test."""
    folder = memory.make_folder("test")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres(_postgres: Postgres) -> Iterator[Postgres]:
    """The running PostgreSQL of the test session. Tests may create databases, and restart, kill or freeze it."""
    _postgres.ensure_running()
    yield _postgres
    _postgres.ensure_running()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The postgresql+asyncpg:// URL of a new database, which is dropped after the test."""
    with postgres.temporary_database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, memory_path: Path) -> str:
    """The URL of a new database. The test runs twice: with sqlite+aiosqlite:// and with postgresql+asyncpg://."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{memory_path / 'test.sqlite'}"


@pytest.fixture(scope="session")
def _redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture
def redis_server(_redis: Redis) -> Redis:
    """The running Redis of the test session, which is empty. Tests may kill, restart or freeze the server."""
    _redis.ensure_running()
    _redis.flush()
    return _redis


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of an empty Redis: redis://127.0.0.1:port/0."""
    return redis_server.url


@pytest.fixture(scope="session")
def _clamd() -> Iterator[Clamd]:
    with Clamd() as daemon:
        yield daemon


@pytest.fixture
def clamd(_clamd: Clamd) -> Clamd:
    """The running clamd of the test session. It finds `tests.peers.clamd.eicar()` and nothing else."""
    _clamd.ensure_running()
    return _clamd


@pytest.fixture
def start_suite() -> Iterator[Callable[[Suite], Suite]]:
    """Starts Posthouse: `start_suite(Suite(nameservers=dns_server.address))`.

    At a failure the services' logs are shown.
    """
    with ExitStack() as stack:

        def start(suite: Suite) -> Suite:
            stack.callback(suite.stop)
            stack.callback(lambda: print(suite.logs[-20_000:]))
            return suite.start()

        yield start
