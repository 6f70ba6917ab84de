"""Folders for databases of tests. They are in memory when there is room, so that a commit does not wait for a disk.

Data that a process wrote before it was killed stays in the file, as on a disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

# Linux keeps the files of this folder in memory. Posthouse allows no mail directory below /dev, so mail directories are
# on the disk.
_MEMORY = Path("/dev/shm")
_ROOM_OCTETS = 4 << 30


def make_folder(name: str) -> Path:
    """Makes an empty folder in memory, or among the other temporary files when there is no room. The caller removes
    it.
    """
    has_room = os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_OCTETS
    return Path(tempfile.mkdtemp(prefix=f"posthouse-{name}-", dir=_MEMORY if has_room else None))
