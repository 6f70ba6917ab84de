"""`python -m services.ingress` as a process: start, signals, workers, logs, memory (C09, C32, C70, C137)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import resource
import signal
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from libs.runtime import processors
from libs.runtime.lifecycle import SettingsError
from services.ingress.settings import Settings
from tests.fakes.policy import FakePolicy
from tests.fakes.relay import FakeRelay
from tests.ingress.client import Client, resident
from tests.peers.ports import free_port, free_ports
from tests.peers.process import PeerProcess, descendants, until

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """The process and its ports."""

    def __init__(self, process: PeerProcess, port: int, metrics_port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.metrics_port = metrics_port
        self.folder = folder

    async def greeted(self) -> Client:
        """Waits until the process is ready, and returns a client that has read the greeting."""
        async with asyncio.timeout(60):
            while True:
                assert self.process.running, self.process.log_tail()
                with contextlib.suppress(OSError, EOFError):
                    client = await Client.connect("127.0.0.1", self.port)
                    if (await client.reply()).code == 220:
                        return client
                    client.close()
                await asyncio.sleep(0.02)

    async def client(self) -> Client:
        client = await self.greeted()
        assert (await client.command("EHLO client.example")).code == 250
        return client

    async def get(self, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.metrics_port)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    def resident(self) -> int:
        return resident(self.process.pid)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait)

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.process.log.read_text().splitlines() if line.startswith("{")]


Run = Callable[..., Running]


@pytest.fixture
def run(tmp_path: Path, policy: FakePolicy, relay: FakeRelay) -> Iterator[Run]:
    started: list[PeerProcess] = []

    def start(prefix: Sequence[str] = (), **changes: str) -> Running:
        smtp, submission, smtps = free_ports(3)
        metrics = free_port()
        environment = {
            # Without this variable Python stores compiled modules, so it does not compile them again at each start.
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
            "POSTHOUSE_DATA_DIR": str(tmp_path / "var"),
            "INGRESS_SMTP_PORT": str(smtp),
            "INGRESS_SUBMISSION_PORT": str(submission),
            "INGRESS_SMTPS_PORT": str(smtps),
            "INGRESS_METRICS_PORT": str(metrics),
            "INGRESS_LISTEN": "127.0.0.1:0",
            "INGRESS_POLICY_TARGET": f"127.0.0.1:{policy.port}",
            "INGRESS_RELAY_TARGET": f"127.0.0.1:{relay.port}",
            **changes,
        }
        process = PeerProcess(
            [*prefix, sys.executable, "-m", "services.ingress"],
            tmp_path / f"log{len(started)}",
            folder=ROOT,
            environment=environment,
            end_signal=signal.SIGTERM,
        )
        started.append(process)
        return Running(process, smtp, metrics, tmp_path / "var")

    yield start
    for process in started:
        process.kill()


async def test_ingress_starts_on_an_empty_folder_and_ends_on_sigterm(run: Run) -> None:
    ingress = run()
    client = await ingress.client()
    await client.starttls()
    key = ingress.folder / "tls" / "self-signed.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b" 200 " in await ingress.get("/readyz")
    assert b'posthouse_ingress_sessions_total{listener="smtp"}' in await ingress.get("/metrics")
    ingress.process.signal(signal.SIGTERM)
    assert (await client.reply()).code == 421
    client.close()
    assert await ingress.ended() == 0


async def test_c137_idle_clients_are_disconnected_and_a_running_transaction_may_finish(
    run: Run, relay: FakeRelay
) -> None:
    ingress = run()
    idle, busy = await ingress.client(), await ingress.client()
    await busy.envelope()
    assert (await busy.command("DATA")).code == 354
    ingress.process.signal(signal.SIGTERM)
    reply = await idle.reply()
    assert (reply.code, reply.enhanced) == (421, "4.3.2")
    # A second signal does no harm.
    ingress.process.signal(signal.SIGTERM)
    with pytest.raises(OSError, match="onnect"):
        await Client.connect("127.0.0.1", ingress.port)
    busy.send(b"Subject: x\r\n\r\nbody\r\n.\r\n")
    assert (await busy.reply()).code == 250
    assert (await busy.reply()).code == 421
    assert len(relay.messages) == 1
    for client in (idle, busy):
        client.close()
    assert await ingress.ended() == 0


async def test_c137_a_transaction_that_takes_too_long_is_ended_with_421(run: Run, relay: FakeRelay) -> None:
    ingress = run(INGRESS_DRAIN_SECONDS="0.5")
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    ingress.process.signal(signal.SIGTERM)
    assert (await client.reply()).code == 421
    client.close()
    assert await ingress.ended() == 0
    assert not relay.messages


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_in_use_is_logged_and_ends_the_process(run: Run, tmp_path: Path, workers: str) -> None:
    """F15: workers share a port with each other, but not with those of another ingress. F16: no key pair is written."""
    first = run(INGRESS_WORKERS=workers)
    await first.greeted()
    folder = tmp_path / "of the second"
    second = run(INGRESS_SMTP_PORT=str(first.port), INGRESS_WORKERS=workers, POSTHOUSE_DATA_DIR=str(folder))
    assert await second.ended() == 1
    assert "can't listen for smtp" in second.process.log.read_text()
    assert not (folder / "tls").exists()


async def test_invalid_settings_end_the_process(run: Run) -> None:
    ingress = run(INGRESS_SMTP_PORT="70000")
    assert await ingress.ended() == 2
    assert "INGRESS_SMTP_PORT=70000: " in ingress.process.log.read_text()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("INGRESS_LOG_LEVEL", "chatty", "INGRESS_LOG_LEVEL=chatty: must be one of debug"),
        ("INGRESS_POLICY_TARGET", "nowhere", "INGRESS_POLICY_TARGET=nowhere: "),
        ("INGRESS_TLS_CERT", "/nowhere.crt", "INGRESS_TLS_KEY"),
        ("INGRESS_PROXY_NETWORKS", "10.0.0.1/8", "INGRESS_PROXY_NETWORKS=10.0.0.1/8: "),
        ("INGRESS_CPUS", "first", "INGRESS_CPUS=first: "),
    ],
)
def test_invalid_settings_are_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        Settings.load()
    text = str(error.value)
    assert said in text
    assert "\n" not in text


async def test_several_workers_share_a_port_and_a_dead_one_is_replaced(run: Run, policy: FakePolicy) -> None:
    ingress = run(INGRESS_WORKERS="2")
    await ingress.greeted()
    workers = _workers(ingress)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    await asyncio.to_thread(
        until, lambda: len(_workers(ingress)) == 2 and workers[0] not in _workers(ingress), "a new worker"
    )
    for _ in range(10):
        client = await ingress.client()
        assert (await client.send_mail()).code == 250
    ingress.process.signal(signal.SIGTERM)
    assert await ingress.ended() == 0


async def test_all_threads_of_a_worker_run_on_its_processor(run: Run) -> None:
    last = processors.usable()[-1]
    ingress = run(INGRESS_CPUS=str(last))
    client = await ingress.client()
    assert (await client.send_mail()).code == 250
    threads = [int(name) for name in os.listdir(f"/proc/{ingress.process.pid}/task")]  # noqa: PTH208 - these are no files
    assert len(threads) > 1, "gRPC has threads of its own"
    assert {tuple(os.sched_getaffinity(thread)) for thread in threads} == {(last,)}
    missing = run(INGRESS_CPUS="99999")
    assert await missing.ended() == 1
    assert "INGRESS_CPUS: can't run on 99999" in missing.process.log.read_text()


async def test_workers_end_when_their_supervisor_is_killed(run: Run) -> None:
    ingress = run(INGRESS_WORKERS="2")
    await ingress.greeted()
    workers = _workers(ingress)
    ingress.process.kill()
    await asyncio.to_thread(until, lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "no worker")


def _workers(ingress: Running) -> list[int]:
    found = []
    for pid in descendants(ingress.process.pid):
        # A process may have ended since it was listed.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"services.ingress" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def b64(*parts: str) -> str:
    return base64.b64encode("\0".join(parts).encode()).decode()


async def test_c70_credentials_and_content_reach_no_log_at_any_level(run: Run, policy: FakePolicy) -> None:
    ingress = run(INGRESS_LOG_LEVEL="debug")
    client = await ingress.client()
    await client.starttls()
    plain = b64("", "alice-login", "hunter2-secret")
    await client.login("alice-login", "hunter2-secret")
    await client.command(f"AUTH\tPLAIN\t{plain}")
    await client.command(f"AUTH SCRAM-SHA-1 {plain}")
    await client.command(f"AUTH PLAIN {plain} x")
    await client.command("AUTH LOGIN")
    await client.command(b64("alice-login"))
    await client.command(b64("hunter2-secret") + "!")
    policy.on(pb.STAGE_AUTH, pb.Verdict())
    await client.login("alice-login", "hunter2-secret")
    assert (await client.send_mail(b"Subject: hunter2-subject\r\n\r\nhunter2-body\r\n")).code == 250
    await client.command("QUIT")
    ingress.process.signal(signal.SIGTERM)
    assert await ingress.ended() == 0
    written = ingress.process.log.read_text()
    assert "submission_stored" in written
    for secret in ("hunter2", "alice-login", plain, b64("alice-login"), b64("hunter2-secret")):
        assert secret not in written
    assert all(line["service"] == "ingress" for line in ingress.log() if line["event"] == "submission_stored")


async def test_c09_c32_c45_two_hundred_hostile_clients_use_little_memory(run: Run, policy: FakePolicy) -> None:
    """There are five kinds of hostile clients, 40 of each, all at once.

    The test measures how much the process grows.
    """
    policy.profile.max_message_size = 0
    policy.profile.max_junk_commands = 0
    ingress = run()
    await (await ingress.client()).command("QUIT")
    before = ingress.resident()
    line = b"y" * 70 + b"\r\n"
    floods = [
        (False, b"z" * 400_000),
        (False, b"EHLO x.example\r\n" + b"NOOP\r\n" * 20_000),
        (True, b"BDAT 900000000\r\n" + b"y" * 400_000),
        (True, b"DATA\r\n" + line * 6_000),
        (True, b"DATA\r\n" + (b"y" * 9_000 + b"\r\n") * 45),
    ]
    clients = []
    for number in range(200):
        client = await Client.connect("127.0.0.1", ingress.port)
        assert (await client.reply()).code == 220
        clients.append(client)
        in_transaction, octets = floods[number % 5]
        if in_transaction:
            await client.command("EHLO x.example")
            await client.envelope()
        client.send(octets)
    # While all these octets are being sent, another client is still served.
    patient = await ingress.client()
    assert (await patient.send_mail()).code == 250
    most = 0
    for _ in range(10):
        assert (await patient.command("NOOP")).code == 250
        most = max(most, ingress.resident() - before)
        await asyncio.sleep(0.02)
    for client in clients:
        client.reset()
    # The limit is half a megabyte for each client: a quarter of a megabyte of its message, and a socket buffer that is
    # not read yet.
    assert most < 200 * 512 * 1024


async def test_f11_a_server_name_beyond_ascii_gives_an_alert_and_one_log_line(run: Run) -> None:
    process = run()
    client = await process.client()
    assert (await client.command("STARTTLS")).code == 220
    client.send(_client_hello(b"m\xfcller.example"))
    record = await client.reader.readexactly(7)
    # The record is a fatal alert, and no octets follow that a client could take for a ServerHello.
    assert (record[0], record[5]) == (21, 2)
    await client.until_closed()
    async with asyncio.timeout(60):
        while not (failed := [line for line in process.log() if line["event"] == "handshake_failed"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(failed) == 1
    assert b"posthouse_ingress_handshake_failures_total 1.0" in await process.get("/metrics")
    process.process.stop()
    text = process.process.log.read_text()
    assert "Traceback" not in text
    assert "UnicodeDecodeError" not in text


def _client_hello(server_name: bytes) -> bytes:
    """Returns a ClientHello of TLS 1.2 with this server name, as a record (RFC 5246 section 7.4.1.2, RFC 6066 section
    3).
    """
    entry = b"\0" + struct.pack(">H", len(server_name)) + server_name
    names = struct.pack(">H", len(entry)) + entry
    extension = struct.pack(">HH", 0, len(names)) + names
    hello = b"\x03\x03" + b"r" * 32 + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
    hello += struct.pack(">H", len(extension)) + extension
    handshake = b"\x01" + len(hello).to_bytes(3) + hello
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


async def test_f12_too_few_open_files_are_reported_at_the_start_and_in_readyz(run: Run) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    process = run(prefix=["prlimit", "--nofile=256:256"])
    clients = [await process.client() for _ in range(20)]
    assert (await clients[0].send_mail()).code == 250
    (line,) = [line for line in process.log() if line["event"] == "open_files_limited"]
    assert (line["limit"], line["connections"], line["wanted"]) == (256, 128, 10_000)
    answer = await process.get("/readyz")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"room for 128 of 10000 connections" in answer
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


async def test_f08_ingress_starts_without_name_servers(run: Run, tmp_path: Path) -> None:
    """The process runs in a mount namespace of its own, in which /etc/resolv.conf is empty."""
    empty = tmp_path / "resolv.conf"
    empty.touch()
    process = run(prefix=["unshare", "--mount", "sh", "-c", f'mount --bind {empty} /etc/resolv.conf && exec "$@"', "-"])
    assert (await (await process.client()).send_mail()).code == 250
