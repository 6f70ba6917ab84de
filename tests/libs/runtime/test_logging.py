"""The log where it can't be written: a line is lost, and nothing else."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime.logging import _Unfailing

ROOT = Path(__file__).parents[3]


class SmallDisk(io.StringIO):
    """Text goes in while there is room."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_lines_are_lost_on_a_full_disk_and_counted_when_there_is_room_again() -> None:
    """C133"""
    disk = SmallDisk()
    stream = _Unfailing(disk)
    stream.write("one\n")
    disk.full = True
    for line in ("two\n", "three\n"):
        stream.write(line)
        stream.flush()
    disk.full = False
    stream.write("four\n")
    first, lost, last = disk.getvalue().splitlines()
    assert (first, last) == ("one", "four")
    assert json.loads(lost)["count"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_process_goes_on_when_its_log_is_full() -> None:
    code = (
        "import logging, structlog, libs.runtime.logging as own; own.configure('relay', 'info');"
        "structlog.get_logger().info('submission_stored'); logging.getLogger('grpc').error('x'); print('went on')"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )
    assert done.stdout == "went on\n"
