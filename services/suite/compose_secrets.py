"""`posthouse secrets`: the secrets that compose.yaml gives to its containers. Each is in a file that one user may
read.
"""

from __future__ import annotations

import base64
import datetime
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from libs.runtime import self_signed
from libs.runtime.lifecycle import StartupError, write_private

# The users of our image and of Redis's image, and that of PostgreSQL's image, which reads its password as root.
_OURS, _REDIS, _ROOT = 10001, 999, 0
_READERS: Mapping[str, int] = MappingProxyType({"redis_password": _REDIS, "postgres_password": _ROOT})
# The chain and the key of each certificate: one for mail clients, and one for browsers.
_CERTIFICATES = (("tls_chain", "tls_key"), ("console_tls_chain", "console_tls_key"))
_CERTIFICATE_DAYS = 3650
_TOKEN_OCTETS = 24


def make_missing(folder: Path, now: datetime.datetime, hostname: str) -> list[str]:
    """Makes the missing files, and does not change the content of the others. Returns the names of the new files.
    `hostname` is the name in the self-signed certificates, which are used until there are real ones. If the process
    runs as root, each file of the folder is given to the user of its container. Raises StartupError.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        files_made = _make_texts(folder)
        for chain, key in _CERTIFICATES:
            files_made += _make_certificate(folder / chain, folder / key, now, hostname)
        if os.geteuid() == _ROOT:
            for path in folder.iterdir():
                os.chown(path, _READERS.get(path.name, _OURS), -1)
                path.chmod(0o400)
    except OSError as error:
        raise StartupError(f"secrets: {error.filename}: {error.strerror}") from error
    return files_made


def _make_texts(folder: Path) -> list[str]:
    def read(name: str) -> str:
        return (folder / name).read_text().strip()

    # The order matters, because addresses contain passwords.
    recipes: dict[str, Callable[[], str]] = {
        "postgres_password": lambda: secrets.token_hex(_TOKEN_OCTETS),
        "redis_password": lambda: secrets.token_hex(_TOKEN_OCTETS),
        "admin_key": lambda: secrets.token_hex(_TOKEN_OCTETS),
        "console_secret_key": lambda: secrets.token_hex(_TOKEN_OCTETS),
        "secret_key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "config_database_url": lambda: f"postgresql+asyncpg://posthouse:{read('postgres_password')}@postgres/config",
        "queue_database_url": lambda: f"postgresql+asyncpg://posthouse:{read('postgres_password')}@postgres/queue",
        "state_url": lambda: f"redis://:{read('redis_password')}@redis:6379/0",
    }
    files_made = []
    for name, recipe in recipes.items():
        if not (folder / name).exists():
            write_private(folder / name, recipe().encode())
            files_made.append(name)
    return files_made


def _make_certificate(chain_path: Path, key_path: Path, now: datetime.datetime, hostname: str) -> list[str]:
    """Makes a self-signed pair, which proves nothing. Nothing is made if either file exists, because it may be from an
    operator.
    """
    if chain_path.exists() or key_path.exists():
        return []
    chain, key = self_signed.make(hostname, now, _CERTIFICATE_DAYS)
    write_private(key_path, key)
    write_private(chain_path, chain)
    return [chain_path.name, key_path.name]
