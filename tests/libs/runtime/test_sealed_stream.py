"""A file is encrypted with a passphrase, in frames."""

from __future__ import annotations

import io

import pytest

from libs.runtime.sealed_stream import SealedStreamError, SealedWriter, opened

PASSPHRASE = "a long passphrase"
FRAME = 1 << 20
# The header consists of a magic number and a salt. Each frame also has a length of four octets and a tag of 16 octets.
HEADER, FRAME_ON_DISK = 42, FRAME + 20


def sealed(content: bytes) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, PASSPHRASE)
    for start in range(0, len(content), 300_000):
        writer.write(content[start : start + 300_000])
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize("size", [0, 1, FRAME, 2 * FRAME + 5])
def test_encrypted_content_can_be_decrypted(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert b"".join(opened(io.BytesIO(sealed(content)), PASSPHRASE)) == content


def test_a_changed_or_truncated_file_is_refused() -> None:
    whole = sealed(b"x" * (3 * FRAME))
    first, second, third = (whole[HEADER + number * FRAME_ON_DISK :][:FRAME_ON_DISK] for number in range(3))
    assert whole == whole[:HEADER] + first + second + third
    for octets in (
        whole[:-1],
        whole[:HEADER] + first + second,
        whole[:HEADER] + second + first + third,
        whole[:HEADER] + first + second[:-1] + b"?" + third,
        whole + first,
        whole[:HEADER],
    ):
        with pytest.raises(SealedStreamError):
            list(opened(io.BytesIO(octets), PASSPHRASE))


def test_a_wrong_passphrase_and_a_wrong_file_give_different_errors() -> None:
    with pytest.raises(SealedStreamError, match="passphrase"):
        list(opened(io.BytesIO(sealed(b"x")), "another passphrase"))
    with pytest.raises(SealedStreamError, match="not a backup"):
        list(opened(io.BytesIO(b"PK\3\4" * 20), PASSPHRASE))
