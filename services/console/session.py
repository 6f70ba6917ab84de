"""The session of a browser: an API key in an encrypted cookie, with the token that each form contains. The console
stores nothing, so every replica with the same secret key can use the session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from libs.runtime.lifecycle import StartupError, write_private_once
from libs.runtime.sealed_file import split_keys

COOKIE = "posthouse_console"
NOTICE_COOKIE = "posthouse_console_notice"
# A session ends after this time, whether it is used or not.
LONGEST_SECONDS = 12 * 3600
# A notice is shown on the next page, which follows at once.
NOTICE_SECONDS = 60
_KEY_FILE = "console-secret-key"


@dataclass(frozen=True, slots=True)
class Session:
    """The content of the cookie. `key` is the API key, and empty before sign-in. `token` must be in each form of this
    session.
    """

    key: str
    token: str

    def allows(self, token: str) -> bool:
        """Returns whether a form with this token comes from a page of this session."""
        return hmac.compare_digest(self.token.encode(), token.encode("utf-8", "replace"))


class Sessions:
    """Encrypts sessions and notices in cookies, and decrypts them."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet(
            [Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())) for key in keys]
        )

    def begin(self, key: str = "") -> Session:
        """Returns a new session, for the key or for the sign-in page."""
        return Session(key, secrets.token_urlsafe(24))

    def seal(self, session: Session) -> str:
        return self._seal(["session", session.key, session.token])

    def open(self, cookie: str) -> Session | None:
        """Returns the session in a cookie, or None for a cookie that is too old, or that this console did not make."""
        members = self._open(cookie, "session", LONGEST_SECONDS)
        return Session(members[0], members[1]) if len(members) == 2 else None

    def seal_notice(self, text: str) -> str:
        return self._seal(["notice", text])

    def open_notice(self, cookie: str) -> str:
        """Returns the notice in a cookie. The result is empty when there is none."""
        return "".join(self._open(cookie, "notice", NOTICE_SECONDS))

    def _seal(self, members: list[str]) -> str:
        return self._fernet.encrypt(json.dumps(members).encode()).decode("ascii")

    def _open(self, cookie: str, kind: str, seconds: int) -> list[str]:
        try:
            members = json.loads(self._fernet.decrypt(cookie.encode("utf-8", "replace"), ttl=seconds))
        except InvalidToken:
            return []
        return members[1:] if members[0] == kind else []


def load_sessions(environment_keys: str, data_folder: Path) -> Sessions:
    """Makes the sessions with the keys of CONSOLE_SECRET_KEY, or with the key of the key file, which is made in the
    first run. Raises StartupError.
    """
    if keys := split_keys(environment_keys):
        return Sessions(keys)
    path = data_folder / _KEY_FILE
    try:
        if not path.exists():
            data_folder.mkdir(parents=True, exist_ok=True)
            write_private_once(path, f"{secrets.token_urlsafe(32)}\n".encode())
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise StartupError(f"{path}: others can read this key: chmod 600 it")
        keys = tuple(path.read_text("ascii").split())
    except (OSError, UnicodeError) as error:
        raise StartupError(f"{path}: the secret key can't be read: {type(error).__name__}") from None
    if not keys:
        raise StartupError(f"{path}: the file contains no key")
    return Sessions(keys)
