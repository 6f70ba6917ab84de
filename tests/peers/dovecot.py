"""A complete Dovecot in a temporary folder: a mailbox server that accepts mail by LMTP, with users and quotas."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import smtplib
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import DEADLINE_SECONDS, PeerError, PeerProcess, program, until

_OWNER = "mail"


class Dovecot:
    """A Dovecot that accepts mail for its users by LMTP. It needs root, as every Dovecot does.

    `users` maps each address to its quota in octets; 0 means no quota. The server can be stopped and started again on
    the same port. With a `certificate` it offers STARTTLS.
    """

    def __init__(
        self, users: Mapping[str, int], *, host: str = LOOPBACK, certificate: trustme.LeafCert | None = None
    ) -> None:
        self.host = host
        self.port = free_port(host)
        self._quotas = dict(users)
        # Users whose mail is refused with 4yz while the mailbox is full.
        self._refused_for_now: set[str] = set()
        self._certificate = certificate
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-dovecot-"))
        self._process: PeerProcess | None = None

    @property
    def log(self) -> str:
        path = self._folder / "log"
        return path.read_text("utf-8", "backslashreplace") if path.exists() else ""

    def messages(self, user: str) -> list[bytes]:
        """Returns the messages in the user's mailbox, oldest first, with line ends as Dovecot stores them."""
        kept = [path for path in (self._folder / "mail" / user / "new").glob("*") if path.is_file()]
        return [path.read_bytes() for path in sorted(kept, key=lambda path: path.stat().st_mtime_ns)]

    def wait_for_messages(self, user: str, count: int, seconds: float = DEADLINE_SECONDS) -> list[bytes]:
        """Waits until the mailbox contains `count` messages, and returns all its messages.

        Raises PeerError with the log's tail.
        """
        try:
            until(
                lambda: len(self.messages(user)) >= count,
                f"Dovecot's mailbox of {user} holds {count} messages",
                seconds,
            )
        except PeerError as error:
            tail = "\n".join(self.log.splitlines()[-20:])
            raise PeerError(f"{error}\n{tail}") from None
        return self.messages(user)

    def put(self, user: str) -> None:
        """Delivers a short message to the user by LMTP."""
        with smtplib.LMTP(self.host, self.port, timeout=DEADLINE_SECONDS) as client:
            client.sendmail("", [user], b"Subject: put here by the test\r\n\r\nHello.\r\n")

    def reply_to_rcpt(self, user: str) -> int:
        """Sends RCPT for the user and returns the code of the reply, without sending a message."""
        with smtplib.LMTP(self.host, self.port, timeout=DEADLINE_SECONDS) as client:
            client.ehlo()
            client.mail("")
            return client.rcpt(user)[0]

    def set_full(self, user: str, *, refuses_for_now: bool = False) -> None:
        """Gives a user whose mailbox contains mail a quota of one octet, and returns when Dovecot applies this quota.

        Dovecot then refuses the user's mail at RCPT: with 452 when `refuses_for_now` is true, otherwise with 552.
        """
        self._refused_for_now.discard(user)
        if refuses_for_now:
            self._refused_for_now.add(user)
        self._set_quota(user, 1, 452 if refuses_for_now else 552)

    def make_room(self, user: str) -> None:
        """Removes the user's quota, and returns when Dovecot accepts mail for the user again."""
        self._set_quota(user, 0, 250)

    def _set_quota(self, user: str, octets: int, code: int) -> None:
        self._quotas[user] = octets
        self._write_users()
        # Dovecot reads the file again at most once a second.
        until(lambda: self.reply_to_rcpt(user) == code, f"Dovecot answers {code} for {user}")

    def start(self) -> Self:
        if os.geteuid() != 0:
            raise PeerError("Dovecot can only be started by root")
        configuration = self._lay_out()
        self._process = PeerProcess(
            [program("dovecot", "/usr/sbin/dovecot"), "-F", "-c", configuration],
            self._folder / "output",
            end_signal=signal.SIGTERM,
        )
        self._process.until_ready(self._greets)
        return self

    def stop(self) -> None:
        """Ends the server with all its processes. The mailboxes stay."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _lay_out(self) -> Path:
        self._folder.chmod(0o755)
        for name in ("run", "state", "mail"):
            (self._folder / name).mkdir(exist_ok=True)
        shutil.chown(self._folder / "mail", _OWNER, _OWNER)
        self._write_users()
        configuration = self._folder / "dovecot.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=self._folder, host=self.host, port=self.port, tls=self._tls())
        )
        return configuration

    def _write_users(self) -> None:
        lines = []
        for user, quota in self._quotas.items():
            extra = f"userdb_quota_rule=*:bytes={quota}" if quota else ""
            if user in self._refused_for_now:
                extra += " userdb_quota_full_tempfail=yes"
            lines.append(f"{user}:{{PLAIN}}x::::::{extra}\n")
        # The file is replaced as a whole, so Dovecot never reads a half-written file.
        written = self._folder / "users.new"
        written.write_text("".join(lines))
        written.replace(self._folder / "users")

    def _tls(self) -> str:
        """Writes the certificate's file and returns the lines of the configuration that are about TLS."""
        if self._certificate is None:
            return "ssl = no"
        pem = self._folder / "certificate.pem"
        pem.touch(mode=0o600)
        chain = b"".join(blob.bytes() for blob in self._certificate.cert_chain_pems)
        pem.write_bytes(self._certificate.private_key_pem.bytes() + chain)
        return f"ssl = yes\nssl_cert = <{pem}\nssl_key = <{pem}"

    def _greets(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5) as connection:
            if connection.recv(4).startswith(b"220"):
                connection.sendall(b"QUIT\r\n")
                return True
        return False


_CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
{tls}
auth_username_format = %Lu
recipient_delimiter = +
mail_location = maildir:{folder}/mail/%Lu
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
first_valid_gid = 1
mail_privileged_group = mail
mail_plugins = quota
lmtp_rcpt_check_quota = yes
passdb {{
  driver = passwd-file
  args = username_format=%Lu {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%Lu {folder}/users
  default_fields = uid=mail gid=mail home={folder}/mail/%Lu
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_grace = 0
}}
service lmtp {{
  inet_listener lmtp {{
    address = {host}
    port = {port}
  }}
}}
service stats {{
  chroot =
}}
"""
