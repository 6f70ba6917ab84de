"""`posthouse ready` distinguishes ready, not ready and not reachable."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from services.suite import probe
from tests.peers.ports import free_port
from tests.peers.smtp_sink import SmtpSink, Stage, reply


class StatusInPath(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/")))
        self.end_headers()
        self.wfile.write(b"the state")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), StatusInPath)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def status(*urls: str) -> int:
    with pytest.raises(probe.NotReadyError) as raised:
        probe.ask(urls)
    return raised.value.status


def test_the_probe_succeeds_when_all_services_are_ready(server: str) -> None:
    with SmtpSink() as sink:
        probe.ask([f"{server}/200", f"smtp://127.0.0.1:{sink.port}"])


def test_the_reason_is_shown_for_a_service_that_is_not_ready(server: str) -> None:
    with pytest.raises(probe.NotReadyError, match="answers 503: the state") as raised:
        probe.ask([f"{server}/200", f"{server}/503"])
    assert raised.value.status == probe.NOT_READY


def test_a_mail_server_that_refuses_every_session_is_not_ready() -> None:
    with SmtpSink() as sink:
        sink.on(Stage.CONNECT, reply("421 4.3.2 Not yet"))
        assert status(f"smtp://127.0.0.1:{sink.port}") == probe.NOT_READY


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:{free_port()}/readyz",
        f"smtp://127.0.0.1:{free_port()}",
        "file:///etc/passwd",
        "8080",
        "http://[::1",
        "smtp://127.0.0.1:port",
    ],
    # The names of the tests must be the same in all workers of a test run, but the free ports differ.
    ids=["http", "smtp", "other scheme", "no scheme", "half an address", "no port"],
)
def test_an_unused_or_invalid_address_is_not_reachable(url: str) -> None:
    assert status(url) == probe.NOT_REACHABLE


def test_a_proxy_in_the_environment_is_not_used(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    probe.ask([f"{server}/200"])
