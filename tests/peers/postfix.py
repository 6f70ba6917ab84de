"""A complete Postfix in a temporary folder: a next hop that keeps mail, or a relay for comparisons of speed."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import DEADLINE_SECONDS, PeerError, PeerProcess, program, until

_OWNER = "postfix"
_DROP_GROUP = "postdrop"
_OWNED_FOLDERS = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved")
# The columns are: type, private, unprivileged, chroot, wake-up, process limit, command.
_SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
_LAST_WILL = 'read -r _; kill -TERM "$1"; while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; rm -rf "$2"'
_REMOVED = re.compile(r"postfix/qmgr\[\d+\]: \w+: removed")


class Postfix:
    """A Postfix that accepts mail from loopback for every domain. It needs root, as every Postfix does.

    With `next_hop` (host:port), all mail is relayed there. Without it, all mail is kept in one maildir, and `messages`
    returns its files. `settings` are further lines of main.cf, which take precedence over ours. Postfix calls fsync, as
    it does by default.
    """

    def __init__(
        self,
        next_hop: str = "",
        *,
        host: str = LOOPBACK,
        certificate: trustme.LeafCert | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.port = free_port(host)
        self._next_hop = next_hop
        self._certificate = certificate
        self._settings = settings or {}
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-postfix-"))
        self._process: PeerProcess | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """The content of maillog so far."""
        path = self._folder / "maillog"
        return path.read_text("utf-8", "backslashreplace") if path.exists() else ""

    @property
    def messages(self) -> list[bytes]:
        """The messages in the maildir, oldest first, with line ends as Postfix stores them (LF)."""
        kept = [path for path in (self._folder / "mail").glob("all/new/*") if path.is_file()]
        return [path.read_bytes() for path in sorted(kept, key=lambda path: (path.stat().st_mtime_ns, path.name))]

    @property
    def finished(self) -> int:
        """The number of messages that have left the queue."""
        return len(_REMOVED.findall(self.log))

    @property
    def queued(self) -> int:
        """The number of messages in the queue's folders."""
        queue = self._folder / "queue"
        folders = ("incoming", "active", "deferred", "hold", "maildrop")
        return sum(1 for folder in folders for path in (queue / folder).rglob("*") if path.is_file())

    def wait_for_messages(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[bytes]:
        """Waits until the maildir contains `count` messages, and returns all its messages.

        Raises PeerError with the log's tail.
        """
        self._until(lambda: len(self.messages) >= count, f"Postfix's maildir holds {count} messages", seconds)
        return self.messages

    def wait_until_finished(self, count: int, seconds: float = DEADLINE_SECONDS) -> None:
        """Waits until `count` messages have left the queue. Raises PeerError with the log's tail."""
        self._until(lambda: self.finished >= count, f"{count} messages have left Postfix's queue", seconds)

    def wait_for_log(self, text: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Waits until maillog contains `text`. Raises PeerError with the log's tail."""
        self._until(lambda: text in self.log, f"Postfix's log contains {text!r}", seconds)

    # Running

    def start(self) -> Self:
        if os.geteuid() != 0:
            raise PeerError("Postfix can only be started by root")
        master = program("master", "/usr/lib/postfix/sbin/master", "/usr/libexec/postfix/master")
        configuration = self._lay_out(master.parent)
        self._process = PeerProcess(
            [master, "-s", "-c", configuration], self._folder / "output", end_signal=signal.SIGTERM
        )
        self._watch(self._process.pid)
        self._process.until_ready(self._greets)
        return self

    def pause(self) -> None:
        """Ends Postfix with all its processes. Queue and mail stay; `start` continues with them on the same port."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None

    def stop(self) -> None:
        """Ends Postfix with all its processes and removes its folder."""
        self.pause()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self, pid: int) -> None:
        # Postfix's master process changes its user for moments, which clears the death signal that the kernel would
        # send to it. Therefore this shell reads from a pipe to which nobody writes. When our process dies, the shell
        # reads the pipe's end and does what `stop` would have done.
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _LAST_WILL, "sh", str(pid), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _lay_out(self, daemons: Path) -> Path:
        """Creates the folders that `postfix check` requires, and the two configuration files.

        Returns the folder of these files.
        """
        self._folder.chmod(0o755)
        configuration, queue = self._folder / "config", self._folder / "queue"
        for folder in (configuration, queue, queue / "pid"):
            folder.mkdir(exist_ok=True)
        for name in (*_OWNED_FOLDERS, "trace"):
            (queue / name).mkdir(mode=0o700, exist_ok=True)
            shutil.chown(queue / name, _OWNER)
        group = grp.getgrnam(_DROP_GROUP).gr_gid
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            (queue / name).mkdir(exist_ok=True)
            shutil.chown(queue / name, _OWNER, group)
            (queue / name).chmod(mode)
        for folder in (self._folder / "data", self._folder / "mail"):
            folder.mkdir(mode=0o700, exist_ok=True)
            shutil.chown(folder, _OWNER)
        (configuration / "main.cf").write_text(
            "".join(f"{name} = {value}\n" for name, value in self._main(daemons).items())
        )
        (configuration / "master.cf").write_text(f"{self.host}:{self.port} inet n - n - - smtpd{_SERVICES}")
        return configuration

    def _main(self, daemons: Path) -> dict[str, str]:
        owner = pwd.getpwnam(_OWNER)
        settings = {
            "compatibility_level": "3.6",
            "daemon_directory": str(daemons),
            "queue_directory": str(self._folder / "queue"),
            "data_directory": str(self._folder / "data"),
            "maillog_file": str(self._folder / "maillog"),
            "maillog_file_prefixes": str(self._folder),
            "myhostname": "postfix.test",
            "mydestination": "",
            "inet_interfaces": "all",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_peername_lookup": "no",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
        }
        if self._next_hop:
            host, _, port = self._next_hop.rpartition(":")
            settings["relayhost"] = f"[{host.strip('[]')}]:{port}"
            settings["smtp_host_lookup"] = "native"
        else:
            settings |= {
                "virtual_mailbox_domains": "static:all",
                "virtual_mailbox_maps": "static:all/",
                "virtual_mailbox_base": str(self._folder / "mail"),
                "virtual_uid_maps": f"static:{owner.pw_uid}",
                "virtual_gid_maps": f"static:{owner.pw_gid}",
            }
        if self._certificate is not None:
            pem = self._folder / "certificate.pem"
            pem.touch(mode=0o600)
            chain = b"".join(blob.bytes() for blob in self._certificate.cert_chain_pems)
            pem.write_bytes(self._certificate.private_key_pem.bytes() + chain)
            settings |= {"smtpd_tls_chain_files": str(pem), "smtpd_tls_security_level": "may"}
        return {**settings, **self._settings}

    def _greets(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5) as connection:
            if connection.recv(4).startswith(b"220"):
                connection.sendall(b"QUIT\r\n")
                return True
        return False

    def _until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        try:
            until(condition, what, seconds)
        except PeerError as error:
            tail = "\n".join(self.log.splitlines()[-30:])
            raise PeerError(f"{error}\n{tail}") from None
