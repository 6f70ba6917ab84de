"""The pages of a snapshot: in order, bounded, and a change leaves all but one as they are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posthouse.config.v1 import config_pb2 as pb

from services.config_api.snapshot.encoding import ending, framed
from services.config_api.snapshot.pages import Pages

LARGEST = 100
KEYS = st.sampled_from([f"{number:03}" for number in range(60)])
PIECES = st.binary(max_size=30)


def _marked(content: bytes) -> bytes:
    return b"<" + content


def _content(pages: Pages) -> bytes:
    return b"".join(part.removeprefix(b"<") for part in pages.parts())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(KEYS, PIECES), max_size=150))
def test_whatever_happens_to_them_they_hold_what_a_dictionary_does(changes: list[tuple[str, bytes]]) -> None:
    pages, wanted = Pages(LARGEST, _marked), dict[str, bytes]()
    for key, piece in changes:
        # Closed now and then, as after each revision.
        if len(piece) % 3 == 0:
            pages.parts()
        pages.put(key, piece)
        wanted[key] = piece
    assert _content(pages) == b"".join(wanted[key] for key in sorted(wanted))
    assert all(len(part) <= LARGEST + 1 for part in pages.parts())
    # Another way to the same: the same digest, whatever the pages.
    loaded = Pages(LARGEST * 3, _marked)
    for key in sorted(wanted):
        loaded.put(key, wanted[key])
    assert loaded.digest() == pages.digest()


def test_the_digest_is_of_keys_and_pieces() -> None:
    digests = set()
    for pieces in ({}, {"a": b"x"}, {"b": b"x"}, {"a": b"y"}, {"ax": b""}, {"a": b"x", "b": b"x"}, {"a": b"bx"}):
        pages = Pages(LARGEST, _marked)
        for key, piece in pieces.items():
            pages.put(key, piece)
        digests.add(pages.digest())
    assert len(digests) == 6  # an empty piece is none


def test_a_change_makes_one_page_anew() -> None:
    pages = Pages(1000, _marked)
    for number in range(1000):
        pages.put(f"{number:04}", b"%04d" % number * 5)
    before = pages.parts()
    assert len(before) == 20  # filled in order, so full
    pages.put("0500", b"other")
    after = pages.parts()
    assert sum(old is not new for old, new in zip(before, after, strict=True)) == 1
    pages.put("0500", b"other")
    assert [id(part) for part in pages.parts()] == [id(part) for part in after]


def test_pages_that_became_small_are_joined() -> None:
    pages = Pages(1000, _marked)
    numbers = list(range(1000))
    for number in numbers:
        pages.put(f"{number:04}", b"x" * 20)
    random.Random(1).shuffle(numbers)
    for number in numbers[:990]:
        pages.put(f"{number:04}", b"")
    assert len(_content(pages)) == 200
    assert len(pages.parts()) == 1


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_383, 16_384, 300_000])
def test_a_frame_is_what_protobuf_reads(size: int) -> None:
    # A string of `size` octets, its own tag and length aside.
    content = pb.PolicySnapshot(disabled_account_addresses=["a" * size]).SerializeToString()
    for part in (pb.PolicySnapshotPart, pb.RelaySnapshotPart):
        assert part.DESCRIPTOR.fields_by_name["snapshot"].number == 1
    assert pb.PolicySnapshotPart.FromString(framed(content)).snapshot.SerializeToString() == content


@pytest.mark.parametrize("of_policy", [True, False])
def test_the_ending_has_revision_and_digest(of_policy: bool) -> None:
    part = (pb.PolicySnapshotPart if of_policy else pb.RelaySnapshotPart)()
    part.ParseFromString(ending(7, b"digest", of_policy=of_policy))
    assert (part.last, part.digest, part.snapshot.revision) == (True, b"digest", 7)
    assert part.snapshot.created_at.seconds > 0
