"""`posthouse ready` tells ready, not ready and not reachable apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from services.suite import probe
from tests.peers.ports import free_port


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


def test_ready(server: str) -> None:
    assert probe.ask(f"{server}/200") == probe.READY


def test_not_ready_says_why(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.ask(f"{server}/503") == probe.NOT_READY
    assert "answers 503: the state" in capsys.readouterr().err


@pytest.mark.parametrize("url", [f"http://127.0.0.1:{free_port()}/readyz", "file:///etc/passwd", "8080", "http://[::1"])
def test_not_reachable_names_the_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.ask(url) == probe.NOT_REACHABLE
    assert url in capsys.readouterr().err


def test_a_proxy_of_the_environment_is_not_asked(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert probe.ask(f"{server}/200") == probe.READY
