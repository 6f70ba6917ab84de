"""`posthouse up` starts a suite, keeps its services running and ends them, as an operator uses it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from libs.runtime import processors
from tests.e2e import world
from tests.peers.process import until
from tests.peers.suite import ROOT, Suite

pytestmark = pytest.mark.e2e


def _environment(suite: Suite, **more: str) -> dict[str, str]:
    return {**suite.environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}", **more}


def _runs(pid: int) -> bool:
    """Returns whether the process still runs. A zombie, which a container may keep for ever, counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def _up(suite: Suite, output: int = subprocess.PIPE, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `posthouse up`, and kills it at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "services", "up"],
        env=_environment(suite, **environment),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            # The children of `posthouse up` end together with it.
            process.kill()


def _pid(suite: Suite, name: str) -> int:
    """Returns the process id of a service; 0 while there is none."""
    try:
        return int((suite.folder / "run" / f"{name}.pid").read_text() or 0)
    except FileNotFoundError:
        return 0


def _end(process: subprocess.Popen[str]) -> str:
    """Ends a suite and returns its remaining output."""
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    assert process.returncode == 0, rest
    return rest


def _until_welcome(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith("  stop"):
            return lines
    raise AssertionError("\n".join(lines))


@pytest.fixture
def empty_folder_suite() -> Suite:
    """A suite that is not started. A test uses its ports and its folder, and starts it with `posthouse up`."""
    return Suite()


def test_first_run_needs_no_configuration_and_ctrl_c_ends_all(empty_folder_suite: Suite) -> None:
    suite = empty_folder_suite
    with _up(suite) as process:
        lines = _until_welcome(process)
        assert len(lines) <= 16, (
            "the output is about a dozen lines, without the log lines of the starting services (F17)"
        )
        key = suite.admin_key
        assert stat.S_IMODE((suite.folder / "admin-key").stat().st_mode) == 0o600
        assert suite.api.get("/v1/settings/general").status_code == 200
        assert suite.api.get("/v1/messages").json()["items"] == [], (
            "there are no messages, because nobody has sent any yet (F17)"
        )
        by_name = {path.stem: int(path.read_text()) for path in (suite.folder / "run").glob("*.pid")}
        pids = list(by_name.values())
        assert len(pids) == 4
        cpus = processors.usable()
        kept = {name: tuple(sorted(os.sched_getaffinity(by_name[name]))) for name in ("ingress", "relay")}
        assert kept == ({"ingress": cpus[:1], "relay": cpus[1:2]} if len(cpus) > 1 else dict.fromkeys(kept, cpus))
        with _up(suite) as second:
            output, _ = second.communicate()
        assert second.returncode == 1
        assert "posthouse: another suite" in output, "a second suite in the same folder is refused (F15)"
        assert [_pid(suite, name) for name in by_name] == pids, "the first suite goes on unchanged"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read() if process.stdout else ""
        assert process.wait() == 0, rest
        assert key not in "\n".join(lines) + rest, "the admin key is written only to its file, not to the output"
    assert not any(_runs(pid) for pid in pids)


def test_for_programs_every_line_is_json_and_ingress_may_listen_on_several_addresses(
    empty_folder_suite: Suite,
) -> None:
    """Case F09 of docs/cases.md describes this behaviour."""
    suite = empty_folder_suite
    with _up(suite, POSTHOUSE_LOG_FORMAT="json", INGRESS_HOST="0.0.0.0,::") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if '"suite_ready"' in line:
                break
        for host in ("127.0.0.1", "::1"):
            with smtplib.SMTP(host, suite.smtp_port, timeout=60) as client:
                assert client.noop()[0] == 250
        lines += _end(process).splitlines()
    events = [json.loads(line) for line in lines]
    assert {event.get("child") for event in events} == {None, "config_api", "policy", "relay", "ingress"}
    assert {"suite_ready", "suite_stopping", "listening"} <= {event["event"] for event in events}


def test_with_a_certificate_the_api_uses_https_and_the_first_screen_shows_this(
    empty_folder_suite: Suite, certificates: trustme.CA, tmp_path: Path
) -> None:
    suite = empty_folder_suite
    leaf = certificates.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    certificates.configure_trust(context)
    with _up(suite, CONFIG_API_TLS_CERT=str(chain), CONFIG_API_TLS_KEY=str(key)) as process:
        (address,) = {word.rstrip(",") for line in _until_welcome(process) for word in line.split() if "/docs" in word}
        assert address.startswith("https://")
        answer = httpx.get(
            address.replace("127.0.0.1", "localhost").replace("/docs", "/readyz"), verify=context, timeout=60
        )
        assert answer.status_code == httpx.codes.OK
        _end(process)


def test_every_service_that_dies_is_started_again(empty_folder_suite: Suite) -> None:
    suite = empty_folder_suite
    with _up(suite) as process:
        _until_welcome(process)
        for name in ("policy", "config_api", "relay", "ingress"):
            before = _pid(suite, name)
            os.kill(before, signal.SIGKILL)
            until(lambda name=name, before=before: _pid(suite, name) not in (0, before), f"{name} runs again")  # type: ignore[misc]
        until(lambda: all(map(suite.is_ready, suite.layout)), "all services are ready again", pause=0.5)
        rest = _end(process)
    for name in ("policy", "config_api", "relay", "ingress"):
        assert f"posthouse: {name} ended with signal 9; it is started again in 0.5 s" in rest


@pytest.mark.parametrize("sink", ["a full disk", "a reader that stopped"])
def test_mail_flows_even_if_nobody_reads_the_output(empty_folder_suite: Suite, sink: str) -> None:
    """F14: the services write more lines than a pipe holds, and neither stop nor die."""
    suite = empty_folder_suite
    reader, output = os.pipe()
    if sink == "a full disk":
        os.close(output)
        output = os.open("/dev/full", os.O_WRONLY)
    with _up(suite, output) as process:
        os.close(output)
        try:
            until(lambda: all(map(suite.is_ready, suite.layout)), "all services are ready", pause=0.5)
            pids = [_pid(suite, name) for name in suite.layout]
            world.local_domain(suite)
            world.account(suite)
            world.until_in_force(suite)
            for _ in range(3):
                _send_to_many(suite)
            assert [_pid(suite, name) for name in suite.layout] == pids, "no service was started again"
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        finally:
            os.close(reader)


def _send_to_many(suite: Suite) -> None:
    """Sends a message to 100 recipients, for each of which a line of at least 250 octets is logged."""
    with world.submission(suite) as client:
        client.mail(world.ALICE)
        for _ in range(100):
            assert client.rcpt(world.ALICE)[0] == 250
        assert client.data(b"Subject: x\r\n\r\nx\r\n")[0] == 250


def test_a_second_sigterm_is_harmless(empty_folder_suite: Suite) -> None:
    """F64: a client that is sending its content gets a reply, and its message is stored."""
    suite = empty_folder_suite
    with _up(suite) as process:
        _until_welcome(process)
        world.local_domain(suite)
        world.account(suite)
        world.until_in_force(suite)
        with contextlib.closing(world.submission(suite)) as client:
            client.mail(world.ALICE)
            assert client.rcpt(world.ALICE)[0] == 250
            client.putcmd("data")
            assert client.getreply()[0] == 354
            process.send_signal(signal.SIGTERM)
            _until_line(process, "shutdown_requested")
            process.send_signal(signal.SIGTERM)
            client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            assert client.getreply()[0] == 250
        rest, _ = process.communicate()
        assert process.returncode == 0, rest
        assert "killed" not in rest


def _until_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(text)


def test_the_client_gets_its_reply_when_relay_hangs_as_the_dot_is_sent(empty_folder_suite: Suite) -> None:
    """F63: `posthouse up` waits as long as ingress waits for relay."""
    suite = empty_folder_suite
    with _up(suite, INGRESS_RELAY_SECONDS="5", INGRESS_DRAIN_SECONDS="1") as process:
        _until_welcome(process)
        world.local_domain(suite)
        world.account(suite)
        world.until_in_force(suite)
        with contextlib.closing(world.submission(suite)) as client:
            client.mail(world.ALICE)
            assert client.rcpt(world.ALICE)[0] == 250
            client.putcmd("data")
            assert client.getreply()[0] == 354
            # Relay neither answers nor closes its connections, so ingress waits for its longest time.
            os.kill(_pid(suite, "relay"), signal.SIGSTOP)
            client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            process.send_signal(signal.SIGTERM)
            assert client.getreply()[0] == 451
        os.kill(_pid(suite, "relay"), signal.SIGCONT)
        rest, _ = process.communicate()
        assert process.returncode == 0, rest


def test_no_child_process_outlives_a_killed_parent(empty_folder_suite: Suite) -> None:
    suite = empty_folder_suite
    with _up(suite) as process:
        _until_welcome(process)
        pids = [int(path.read_text()) for path in (suite.folder / "run").glob("*.pid")]
        process.kill()
        process.communicate()
    until(lambda: not any(_runs(pid) for pid in pids), "the child processes have ended")


def test_replicas_without_a_shared_database_are_refused() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "services", "up", "--replicas", "relay=2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "PostgreSQL" in answer.stderr


def test_every_message_of_the_demonstration_has_the_expected_result() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "services", "demo"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count("right") == 4
    for address in ("bob@far.example", "carol@partner.example", "alice@ours.example"):
        assert f" {address} " in answer.stdout, "no address is cut off"
    assert "deprecated" not in answer.stdout + answer.stderr
