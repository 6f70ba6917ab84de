"""Final delivery into Maildirs. Each recipient has one Maildir. Each message is a file, which is on disk before the
delivery is reported.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from libs.runtime.maildir_roots import MaildirRoots
from services.relay.model.attempt import Result
from services.relay.model.outcome import ReplyMeaning, deferred, failed

_counter = itertools.count(1)
# These octets stay unchanged in the name of a directory.
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_+=.@~")
# A file name has at most 255 octets.
_NAME_LIMIT = 200
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def mailbox_directory(template: str, recipient: bytes) -> Path:
    """Returns the Maildir of a recipient. `{domain}` and `{local_part}` in the template stand for the parts of the
    address. A template without either is a directory with one Maildir for each local part. Each placeholder is replaced
    by a single path component that begins with neither dot nor slash, whatever the address contains.
    """
    local_part, _, domain = recipient.rpartition(b"@")
    names = {"{domain}": _component(domain), "{local_part}": _component(local_part)}
    if not any(placeholder in template for placeholder in names):
        return Path(template) / names["{local_part}"]
    path = template
    # Both placeholders are replaced in one pass, because braces in the address are not placeholders.
    parts = []
    while path:
        found = min(((path.find(name), name) for name in names if name in path), default=None)
        if found is None:
            parts.append(path)
            break
        parts += [path[: found[0]], names[found[1]]]
        path = path[found[0] + len(found[1]) :]
    return Path("".join(parts))


def mailbox_root(template: str) -> Path:
    """Returns the directory that the operator named: the template up to the last slash before its first placeholder."""
    first = min((at for at in (template.find("{domain}"), template.find("{local_part}")) if at >= 0), default=-1)
    return Path(template if first < 0 else template[:first].rpartition("/")[0] or "/")


def store(roots: MaildirRoots, template: str, sender: bytes, recipient: bytes, content: bytes) -> ReplyMeaning:
    """Writes the message durably, if `roots` allows the folder. It blocks, so call it in a thread.

    The file gets Return-Path and Delivered-To in front (RFC 5321 4.4) and lines that end in LF, as everything that
    reads Maildirs expects. Failures are temporary, because their cause is in this gateway. Only an address that gives
    too long a name is refused permanently.
    """
    root, directory = mailbox_root(template), mailbox_directory(template, recipient)
    head = b"Return-Path: <%b>\r\nDelivered-To: %b\r\n" % (sender, recipient)
    text = (head + content).replace(b"\r\n", b"\n")
    try:
        # An address must not complete the path to a forbidden folder: the template "/{local_part}" and the address
        # etc@example.com give /etc.
        if not roots.allow(template) or not roots.allow(str(directory)):
            raise ForbiddenFolderError
        place = _Place(root, roots.resolved())
        _write(place, directory.relative_to(root), text if text.endswith(b"\n") else text + b"\n")
    except ForbiddenFolderError:
        return deferred(451, "4.3.5", "mailbox: mail must not be written to this folder: see POSTHOUSE_MAILDIR_ROOTS")
    except LeadsOutError:
        return deferred(451, "4.3.5", "mailbox: a symbolic link leads out of the directory of the mailboxes")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "cannot be written"
        if error.errno in _FULL:
            return deferred(452, "4.3.1", f"mailbox: {reason}")
        if error.errno == errno.ENAMETOOLONG:
            return failed(550, "5.1.3", f"mailbox: {reason}")
        return deferred(451, "4.3.0", f"mailbox: {reason}")
    return ReplyMeaning(Result.DELIVERED, 250, "2.0.0", "delivered to the mailbox")


def _component(part: bytes) -> str:
    """Returns a part of an address as one safe path component. Two parts give the same one only if they name the same
    account.
    """
    text = part.decode("utf-8", "surrogateescape")
    # Two spellings name the same account if they differ in case or Unicode composition only (libs.smtp.address).
    text = text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).lower())
    lowered = text.encode("utf-8", "surrogateescape")
    encoded = "".join(chr(octet) if octet in _PLAIN else f"%{octet:02X}" for octet in lowered)
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if len(encoded) > _NAME_LIMIT:
        encoded = f"{encoded[:100]}%{hashlib.sha256(lowered).hexdigest()}"
    return encoded or "%"


class LeadsOutError(Exception):
    """A symbolic link below the root leads out of it."""


class ForbiddenFolderError(Exception):
    """Mail must not be written to the folder (F43)."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where mail is written. `root` is the directory that the operator named. `allowed` decides about paths in which
    symbolic links are resolved.
    """

    root: Path
    allowed: MaildirRoots

    def real(self, directory: Path) -> Path:
        """Returns the path of a directory below the root, with symbolic links resolved. Raises ForbiddenFolderError."""
        real = os.path.realpath(self.root / directory)
        if not self.allowed.allow(real):
            raise ForbiddenFolderError
        return Path(real)


def _write(place: _Place, directory: Path, text: bytes) -> None:
    """Writes the text into a Maildir. `directory` is relative to the root, which is made if it does not exist.

    Raises OSError, LeadsOutError and ForbiddenFolderError.
    """
    # This is checked before any folder is made.
    place.real(directory)
    place.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        temporary, fresh, _ = (_opened(place, directory / name, stack) for name in ("tmp", "new", "cur"))
        name = _unique_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(name, flags, 0o600, dir_fd=temporary)
            try:
                view = memoryview(text)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(name, name, src_dir_fd=temporary, dst_dir_fd=fresh)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=temporary)
            raise
        os.fsync(fresh)


def _opened(place: _Place, directory: Path, stack: contextlib.ExitStack) -> int:
    """Returns a descriptor of the directory, which is made if it does not exist. The descriptor is closed with the
    stack.

    A symbolic link below the root may lead to another place below the root. Links are resolved first; then each
    directory of the path is opened by descriptor without following links. So a link that is created in the meantime is
    not followed.
    """
    real_root = Path(os.path.realpath(place.root))
    if not Path(os.path.realpath(place.root / directory)).is_relative_to(real_root):
        raise LeadsOutError
    real = place.real(directory)
    descriptor = os.open(real_root, _DIRECTORY)
    stack.callback(os.close, descriptor)
    for part in real.relative_to(real_root).parts:
        parent = descriptor
        try:
            descriptor = os.open(part, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=parent)
            os.fsync(parent)
            descriptor = os.open(part, _DIRECTORY, dir_fd=parent)
        stack.callback(os.close, descriptor)
    return descriptor


def _unique_name() -> str:
    """Returns a name made of time, process, counter and host, which no other delivery has
    (https://cr.yp.to/proto/maildir.html).
    """
    now = time.time_ns()
    host = socket.gethostname().replace("/", "\\057").replace(":", "\\072")
    return f"{now // 10**9}.M{now // 1000 % 10**6:06d}P{os.getpid()}Q{next(_counter)}.{host}"
