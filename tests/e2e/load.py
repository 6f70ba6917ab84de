"""Clients that send numbered messages one after the other and record every answer."""

from __future__ import annotations

import itertools
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

_MESSAGES_PER_SESSION = 5
_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 30


class SteadyLoad:
    """One client for each of `addresses`. Each sends some messages over a connection and then connects again.

    Message 7 of the load `name` contains `name-7.`, and its Message-ID is `<name-7@load.test>`.

    `accepted` maps the number of each message whose content was answered with 250 to the monotonic time of this answer.
    `answers` counts the reply codes to all commands. `refusals` counts the texts of all 4xx and 5xx replies.
    """

    def __init__(self, name: str, host: str, port: int, addresses: Sequence[str], recipient: str) -> None:
        self.name = name
        self._host, self._port, self._recipient = host, port, recipient
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(address,), daemon=True) for address in addresses]
        self.accepted: dict[int, float] = {}
        self.answers: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
        # Number of connections that ended without a reply.
        self.broken = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def count(self) -> int:
        return len(self.accepted)

    def _run(self, address: str) -> None:
        while not self._stop.is_set():
            try:
                with smtplib.SMTP(timeout=_PATIENCE_SECONDS, source_address=(address, 0)) as client:
                    if self._take(client.connect(self._host, self._port)) == 220:
                        self._session(client)
            except (smtplib.SMTPException, OSError):
                with self._lock:
                    self.broken += 1
                self._stop.wait(_PAUSE_SECONDS)

    def _session(self, client: smtplib.SMTP) -> None:
        if self._take(client.ehlo("load.test")) != 250:
            return
        for _ in range(_MESSAGES_PER_SESSION):
            if self._stop.wait(_PAUSE_SECONDS):
                return
            number = next(self._numbers)
            content = f"Message-ID: <{self.name}-{number}@load.test>\r\n\r\n{self.name}-{number}.\r\n"
            taken = (
                self._take(client.mail("load@sender.test")) == 250
                and self._take(client.rcpt(self._recipient)) == 250
                and self._take(client.data(content)) == 250
            )
            if taken:
                self.accepted[number] = time.monotonic()
            else:
                client.rset()

    def _take(self, reply: tuple[int, bytes]) -> int:
        code, text = reply
        with self._lock:
            self.answers[code] += 1
            if code >= 400:
                self.refusals[f"{code} {text.decode('ascii', 'replace')}"] += 1
        return code
