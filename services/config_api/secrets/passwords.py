"""Hashes the passwords of accounts with argon2id, in a few threads so that the event loop never waits."""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from libs.runtime.passwords import hash_password
from services.config_api.problems import Problem

_THREADS = 2
# The largest number of callers that wait. Further callers must try again later.
_QUEUE_LIMIT = 64


class PasswordHashing:
    """Hashes passwords in a pool of threads. The number of waiting callers is limited."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Returns the PHC string of the password. The password is first converted to NFC (RFC 8265 4.2.2), as in
        policy.

        Raises Problem 503 when too many callers wait.
        """
        password = unicodedata.normalize("NFC", password)
        if self._waiting >= _QUEUE_LIMIT:
            raise Problem(503, "busy", "Too many passwords are being set at once.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, hash_password, password)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
