"""The pages of a snapshot are ordered and limited in size, and a change leaves all but one of them unchanged."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posthouse.config.v1 import config_pb2 as pb

from libs.runtime.snapshot_pages import SnapshotPages, serialised

LARGEST = 100
KEYS = st.sampled_from([f"{number:03}" for number in range(60)])
PIECES = st.binary(max_size=30)


def _content(pages: SnapshotPages) -> dict[str, bytes]:
    part = pb.SnapshotPart.FromString(b"".join(pages.parts()))
    assert [piece.key for piece in part.pieces] == sorted(piece.key for piece in part.pieces)
    return {piece.key: piece.content for piece in part.pieces}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(KEYS, PIECES), max_size=150))
def test_pages_behave_like_a_dictionary_under_all_changes(changes: list[tuple[str, bytes]]) -> None:
    pages, wanted = SnapshotPages(LARGEST), dict[str, bytes]()
    for key, piece in changes:
        # The parts are read after some of the changes, as for a new consumer.
        if len(piece) % 3 == 0:
            pages.parts()
        assert pages.put(key, piece) == wanted.get(key, b"")
        wanted[key] = piece
    present = {key: piece for key, piece in wanted.items() if piece}
    assert _content(pages) == dict(pages.pieces()) == present
    assert all(len(part) <= LARGEST for part in pages.parts())
    # The same pieces in other pages have the same digest.
    loaded = SnapshotPages(LARGEST * 3)
    for key in sorted(wanted):
        loaded.put(key, wanted[key])
    assert loaded.digest() == pages.digest()


def test_the_digest_depends_only_on_keys_and_pieces() -> None:
    digests = set()
    for pieces in ({}, {"a": b"x"}, {"b": b"x"}, {"a": b"y"}, {"ax": b""}, {"a": b"x", "b": b"x"}, {"a": b"bx"}):
        pages = SnapshotPages(LARGEST)
        for key, piece in pieces.items():
            pages.put(key, piece)
        digests.add(pages.digest())
    assert len(digests) == 6  # An empty piece is the same as none.


def test_a_change_copies_only_one_page() -> None:
    pages = SnapshotPages(1000)
    for number in range(1000):
        pages.put(f"{number:04}", b"%04d" % number * 5)
    before = pages.parts()
    assert len(before) == 31  # The pages were filled in order, so all but the last are full.
    pages.put("0500", b"other")
    after = pages.parts()
    assert sum(old is not new for old, new in zip(before, after, strict=True)) == 1
    pages.put("0500", b"other")
    assert [id(part) for part in pages.parts()] == [id(part) for part in after]


def test_small_pages_are_joined() -> None:
    pages = SnapshotPages(1000)
    numbers = list(range(1000))
    for number in numbers:
        pages.put(f"{number:04}", b"x" * 20)
    random.Random(1).shuffle(numbers)
    for number in numbers[:990]:
        pages.put(f"{number:04}", b"")
    assert len(_content(pages)) == 10
    assert len(pages.parts()) == 1


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_383, 16_384, 300_000])
def test_protobuf_can_read_a_serialised_piece(size: int) -> None:
    part = pb.SnapshotPart(pieces=[pb.SnapshotPiece(key="accounts/ä", content=b"x" * size)])
    assert serialised("accounts/ä", b"x" * size) == part.SerializeToString()
