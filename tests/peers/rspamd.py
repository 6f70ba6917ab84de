"""Debian's rspamd with a configuration of our own: one worker, no DNS, no Redis, and all GTUBE patterns enabled."""

from __future__ import annotations

import shutil
import signal
import urllib.request

from tests.peers.lifetime import Daemon
from tests.peers.ports import LOOPBACK
from tests.peers.process import PeerProcess, descendants, program, runs, send_all, unprivileged_user, until

_ASK_SECONDS = 30.0
# The pattern is from https://spamassassin.apache.org/gtube/. rspamd has variants of it, one for each action.
_GTUBE = {"reject": "X", "add header": "Y", "rewrite subject": "Z"}


def gtube(action: str = "reject") -> bytes:
    """Returns the line for which rspamd recommends `action`.

    It is put together here so that no file of this repository is spam.
    """
    return b"".join(
        (_GTUBE[action].encode(), b"JS*C4JDBQADN1.NSBN3*2IDNEN*", b"GTUBE-STANDARD-ANTI-UBE-", b"TEST-EMAIL*C.34X\r\n")
    )


class Rspamd(Daemon):
    """A daemon on a free loopback port. `settings` are sections of rspamd.conf, in addition to those below."""

    def __init__(self, settings: str = "") -> None:
        super().__init__("rspamd")
        self._user = unprivileged_user("_rspamd")
        self._settings = settings

    @property
    def url(self) -> str:
        """The daemon's URL, as the policy setting `spam.rspamd` expects it."""
        return f"http://{LOOPBACK}:{self.port}"

    def log(self) -> str:
        path = self._folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _launch(self) -> PeerProcess:
        configuration = self._folder / "rspamd.conf"
        configuration.write_text(
            f"""
            options {{
                pidfile = "{self._folder}/rspamd.pid";
                filters = "";
                enable_test_patterns = true;
                dns {{ nameserver = ["{LOOPBACK}:9"]; timeout = 0.1s; retransmits = 1; }}
            }}
            logging {{ type = "console"; level = "info"; }}
            actions {{ reject = 15; rewrite_subject = 8; add_header = 6; greylist = 4; }}
            worker "normal" {{ bind_socket = "{LOOPBACK}:{self.port}"; count = 1; }}
            {self._settings}
            """
        )
        for path in (self._folder, configuration):
            if self._user is not None:
                shutil.chown(path, self._user)
        folders = {"DBDIR": self._folder, "RUNDIR": self._folder, "LOGDIR": self._folder}
        return PeerProcess(
            [
                program("rspamd"),
                "--no-fork",
                f"--config={configuration}",
                *(f"--var={name}={folder}" for name, folder in folders.items()),
            ],
            self._folder / "log",
            user=self._user,
            folder=self._folder,
            # On SIGTERM, rspamd's main process ends its workers too.
            end_signal=signal.SIGTERM,
        )

    def kill(self) -> None:
        workers = self._workers()
        super().kill()
        send_all(workers, signal.SIGKILL)
        until(lambda: not any(map(runs, workers)), "rspamd's workers have ended")

    def freeze(self) -> None:
        super().freeze()
        send_all(self._workers(), signal.SIGSTOP)

    def thaw(self) -> None:
        send_all(self._workers(), signal.SIGCONT)
        super().thaw()

    def _workers(self) -> list[int]:
        """Returns the worker processes, which go on answering when the process that started them is killed."""
        return [] if self._process is None else descendants(self._process.pid)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=_ASK_SECONDS) as answer:
                return bool(answer.read().strip() == b"pong")
        except OSError:
            return False
