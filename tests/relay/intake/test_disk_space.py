"""A part of the disk is kept free. These tests check what relay tells ingress about the free space, and when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.relay.intake.disk_space import UNKNOWN, Storage, StorageState

MEGABYTE = 1024 * 1024


class Disk:
    """A file system with as much free space as the test says."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.fails = False

    def statvfs(self, _: object) -> os.statvfs_result:
        if self.fails:
            raise OSError(5, "Input/output error")
        return os.statvfs_result((1, 1, 0, 0, self.free, 0, 0, 0, 0, 255))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk(1000 * MEGABYTE)
    monkeypatch.setattr("services.relay.intake.disk_space.os.statvfs", found.statvfs)
    return found


def test_the_reserve_is_never_given_to_new_mail(disk: Disk, tmp_path: Path) -> None:
    storage = Storage(tmp_path, 400 * MEGABYTE, lambda: 0.0)
    assert storage.state == StorageState(True, 200 * MEGABYTE)
    assert storage.takes(200 * MEGABYTE)
    assert not storage.takes(200 * MEGABYTE + 1)
    disk.free = 399 * MEGABYTE
    storage.look()
    assert storage.state == StorageState(False, 0)
    assert not storage.takes(0)


def test_only_large_changes_of_space_are_reported_to_ingress(disk: Disk, tmp_path: Path) -> None:
    storage = Storage(tmp_path, 0, lambda: 0.0)
    told: list[StorageState] = []
    storage.on_change.append(told.append)
    for free in (999, 990, 980, 500, 490, 0, 0, 1000):
        disk.free = free * MEGABYTE
        storage.look()
    assert [(state.accepting, round(state.available / MEGABYTE)) for state in told] == [
        (True, 167),
        (False, 0),
        (True, 333),
    ]


def test_after_a_full_database_no_space_is_reported_for_a_while(disk: Disk, tmp_path: Path) -> None:
    now = 0.0
    storage = Storage(tmp_path, 0, lambda: now)
    told: list[StorageState] = []
    storage.on_change.append(told.append)
    storage.ran_full()
    assert not storage.state.accepting
    now = 9.0
    storage.look()
    assert not storage.state.accepting
    now = 11.0
    storage.look()
    assert storage.state.accepting
    assert [state.accepting for state in told] == [False, True]


def test_without_a_measurement_no_mail_is_accepted(disk: Disk, tmp_path: Path) -> None:
    disk.fails = True
    assert not Storage(tmp_path, 0, lambda: 0.0).state.accepting


def test_the_space_of_another_machine_is_unknown() -> None:
    assert Storage(None, 10**12, lambda: 0.0).state == StorageState(True, UNKNOWN)
