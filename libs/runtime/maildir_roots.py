"""The folders of relay's machine to which mail may be written (POSTHOUSE_MAILDIR_ROOTS)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Mail in one of these folders could overwrite files of the system.
_SYSTEM_FOLDERS = ("/etc", "/dev", "/proc", "/sys", "/run", "/root")
# The files and folders of the services in the data folder begin with these names.
_OWN_NAMES = ("admin-key", "config", "ingress", "log", "policy", "relay", "run", "secret-key", "tls")


@dataclass(frozen=True, slots=True)
class MaildirRoots:
    """The allowed folders. `roots` are absolute paths. Without any root, every folder is allowed except those of the
    system and of the services.
    """

    roots: tuple[PurePosixPath, ...]
    data_folder: PurePosixPath

    def allow(self, path: str) -> bool:
        """Whether mail may be written to this folder. Only the path is checked here. The code that writes the mail
        checks symbolic links.
        """
        folder = _folder(path)
        if not folder.is_absolute() or ".." in folder.parts:
            return False
        if self.roots:
            return any(folder.is_relative_to(root) for root in self.roots)
        if folder == PurePosixPath("/") or any(folder.is_relative_to(system) for system in _SYSTEM_FOLDERS):
            return False
        if not folder.is_relative_to(self.data_folder):
            return True
        below = folder.relative_to(self.data_folder).parts
        return bool(below) and not below[0].startswith(_OWN_NAMES)

    def resolved(self) -> MaildirRoots:
        """Returns the same folders with symbolic links resolved, to compare them with resolved paths. It may wait for
        the disk.
        """
        real = tuple(_folder(os.path.realpath(root)) for root in self.roots)
        return MaildirRoots(real, _folder(os.path.realpath(self.data_folder)))


def maildir_roots(setting: str, data_folder: Path) -> MaildirRoots:
    """Reads the variable: absolute paths, separated by commas. Raises ValueError for a path that is not absolute."""
    roots = tuple(_folder(part) for part in map(str.strip, setting.split(",")) if part)
    if any(not root.is_absolute() or ".." in root.parts for root in roots):
        raise ValueError("a root of maildirs must be an absolute path")
    return MaildirRoots(roots, _folder(str(data_folder.absolute())))


def _folder(path: str) -> PurePosixPath:
    """Removes a second slash at the start, which has no meaning on Linux. pathlib keeps it, and then //etc would not be
    below /etc.
    """
    return PurePosixPath(f"/{path.lstrip('/')}" if path.startswith("/") else path)
