"""Header compression of HTTP/2 (RFC 7541) as a client needs it that allows no dynamic table. Pure.

Of what a server answers only a few fields matter; the rest must be walked over without losing one's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class HeaderError(ValueError):
    """Not a header block, or one that uses what was not allowed."""


# RFC 7541 Appendix A, entries 1 to 61; those without a value have only a name.
_STATIC: tuple[tuple[bytes, bytes], ...] = tuple(
    (name, value)
    for name, _, value in (
        line.partition(b"=")
        for line in (
            b":authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 "
            b":status=204 :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset "
            b"accept-encoding=gzip,_deflate accept-language accept-ranges accept access-control-allow-origin age allow "
            b"authorization cache-control content-disposition content-encoding content-language content-length "
            b"content-location content-range content-type cookie date etag expect expires from host if-match "
            b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards "
            b"proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie "
            b"strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split()
    )
)

# The code is canonical (Appendix B): with the symbols of each length in order, the codes follow. Symbols with longer
# codes are no printable ASCII, and nothing that is looked at here has them.
_SYMBOLS = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\0$@[]~",
    14: b"^}",
    15: b"<`{",
}


def _codes() -> dict[tuple[int, int], int]:
    """(length, code) to the symbol."""
    found: dict[tuple[int, int], int] = {}
    code = length = 0
    for longer, symbols in _SYMBOLS.items():
        code <<= longer - length
        length = longer
        for symbol in symbols:
            found[length, code] = symbol
            code += 1
    return found


_CODES = _codes()


def encoded(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block of literals that nobody need remember (6.2.2), with names and values of up to 126 octets."""
    return b"".join(
        b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields if len(name) < 127 > len(value)
    )


def decoded(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The fields of a header block, whose sender was told that the dynamic table has no room. Raises HeaderError."""
    position = 0
    while position < len(block):
        first = block[position]
        if first & 0x80:
            index, position = _integer(block, position, 7)
            yield _entry(index)
            continue
        if first & 0xE0 == 0x20:
            # The size of the dynamic table, of which there is none.
            _, position = _integer(block, position, 5)
            continue
        index, position = _integer(block, position, 6 if first & 0x40 else 4)
        if index:
            name = _entry(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        yield name, value


def _entry(index: int) -> tuple[bytes, bytes]:
    if not 1 <= index <= len(_STATIC):
        raise HeaderError("index out of range")
    return _STATIC[index - 1]


def _integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
    """An integer in the low bits of an octet and those that follow (5.1), and the position after it."""
    most = (1 << bits) - 1
    try:
        value = block[position] & most
        position += 1
        if value < most:
            return value, position
        for shift in range(0, 28, 7):
            octet = block[position]
            position += 1
            value += (octet & 0x7F) << shift
            if octet < 0x80:
                return value, position
    except IndexError:
        raise HeaderError("cut off") from None
    raise HeaderError("integer too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """A string literal (5.2), and the position after it."""
    if position >= len(block):
        raise HeaderError("cut off")
    compressed = block[position] & 0x80
    octets, position = _integer(block, position, 7)
    end = position + octets
    if end > len(block):
        raise HeaderError("cut off")
    text = block[position:end]
    return (_expanded(text) if compressed else text), end


def _expanded(text: bytes) -> bytes:
    """Of Huffman's code; empty where it holds what is not looked at anyway."""
    found = bytearray()
    code = length = 0
    for octet in text:
        for bit in range(7, -1, -1):
            code = code << 1 | octet >> bit & 1
            length += 1
            symbol = _CODES.get((length, code))
            if symbol is not None:
                found.append(symbol)
                code = length = 0
    # Fewer than eight ones fill the last octet up.
    return bytes(found) if length < 8 and code == (1 << length) - 1 else b""
