"""Reads the mailboxes of an originator field (RFC 5322 3.4, RFC 6854), whatever the sender wrote. It raises no
exceptions.

The reader finds every domain that a person could take for the author's (C98). It reads obsolete and broken forms as
mail programs do, and reports when the field contains something that belongs to no mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from libs.smtp.address import (
    COMMON_MAILBOX,
    MAX_DOMAIN_OCTETS,
    MAX_PATH_OCTETS,
    Address,
    canonical_domain_or_literal,
)
from libs.smtp.value import fast_value

# No honest message has a From field with more mailboxes, and each domain costs a look-up.
MAX_MAILBOXES: Final = 100
# The worst field of this length takes about 0.1 s to read.
MAX_OCTETS: Final = 8_192

# The patterns of nearly every field: one common mailbox, with or without a name.
_PLAIN = re.compile(COMMON_MAILBOX.encode()).fullmatch
_PLAIN_NAMED = re.compile(
    rb'(?:"(?:[^"\\\x00-\x1f\x7f]++|\\[ -~])*"|[^"(),:;<>@\[\]\\\x00-\x08\x0a-\x1f\x7f]*+)[ \t]*+<%b>'
    % COMMON_MAILBOX.encode()
).fullmatch

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]++)
    |(?P<encoded>=\?[^?\s]++\?[BbQq]\?[^?\s]*+\?=)
    |(?P<atom>[^][ \t\r\n"(),:;<>@\\]++)
    |(?P<quoted>"(?:[^"\\]++|\\.)*")
    |(?P<literal>\[[^][\\]*+\])
    |(?P<special>[<>@,;:])
    |(?P<stray>.)""",
    re.DOTALL | re.VERBOSE,
).match
_COMMENT_MARK = re.compile(r"[()]|\\.", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
# A canonical local part never contains these: control characters, line separators, and octets that are not UTF-8.
_NOT_IN_LOCAL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class _Kind(Enum):
    WORD = 0
    QUOTED = 1
    LITERAL = 2
    SPECIAL = 3
    # A character that fits no grammar: an unclosed quote, comment or bracket, or a backslash.
    STRAY = 4


@fast_value(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str


_AT: Final = _Token(_Kind.SPECIAL, "@")
_OPEN: Final = _Token(_Kind.SPECIAL, "<")
_CLOSE: Final = _Token(_Kind.SPECIAL, ">")
_COMMA: Final = _Token(_Kind.SPECIAL, ",")
_SEMICOLON: Final = _Token(_Kind.SPECIAL, ";")
_COLON: Final = _Token(_Kind.SPECIAL, ":")


@fast_value(frozen=True, slots=True)
class MailboxList:
    """The mailboxes of a field, in order. `unparsable` means that some of its text belongs to no mailbox, or that the
    field names nobody or is over a limit.
    """

    addresses: tuple[Address, ...]
    unparsable: bool


def parse_mailbox_list(value: bytes) -> MailboxList:
    """Reads at most `MAX_MAILBOXES` mailboxes in the first `MAX_OCTETS` of an unfolded field value. If there is more,
    the value counts as unparsable.
    """
    plain = _PLAIN_NAMED(value) or _PLAIN(value)
    if plain is not None and len(plain[2]) <= MAX_DOMAIN_OCTETS and len(plain[1]) <= MAX_PATH_OCTETS:
        return MailboxList((Address(plain[1].decode("ascii"), plain[2].decode("ascii").lower()),), False)
    reader = _Reader()
    for token in _tokens(value[:MAX_OCTETS].decode("utf-8", "surrogateescape")):
        reader.take(token)
        if len(reader.addresses) > MAX_MAILBOXES:
            break
    reader.finish()
    over = len(value) > MAX_OCTETS or len(reader.addresses) > MAX_MAILBOXES
    return MailboxList(tuple(reader.addresses[:MAX_MAILBOXES]), reader.unparsable or over)


def _tokens(text: str) -> Iterator[_Token]:
    """Yields the tokens without blanks and comments. A quote or comment that is never closed counts as one stray
    character.

    If one quote or comment is never closed, no later one can be closed either, except by characters that are inside the
    first one. So the search is not repeated, which keeps the time linear.
    """
    kinds = {"encoded": _Kind.WORD, "atom": _Kind.WORD, "quoted": _Kind.QUOTED, "literal": _Kind.LITERAL}
    position, quotes, comments = 0, True, True
    while position < len(text):
        char = text[position]
        if char == "(" and comments:
            end = _comment_end(text, position)
            comments = end != -1
            position = end if comments else position + 1
            if not comments:
                yield _Token(_Kind.STRAY, char)
            continue
        match = _TOKEN(text, position) if char != '"' or quotes else None
        group = match.lastgroup if match else "stray"
        if char == '"' and group == "stray":
            quotes = False
        position = match.end() if match else position + 1
        if group in kinds and match:
            yield _Token(kinds[group], match[0])
        elif group != "blank":
            yield _Token(_Kind.SPECIAL if group == "special" else _Kind.STRAY, char)


def _comment_end(text: str, start: int) -> int:
    """Returns the position after the comment that opens at `start`, or -1 when it is never closed."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, start):
        if mark[0] == "(":
            depth += 1
        elif mark[0] == ")":
            depth -= 1
            if depth == 0:
                return mark.end()
    return -1


class _Reader:
    """Collects tokens up to each separator, and then reads the element that they form."""

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self.unparsable = False
        self._element: list[_Token] = []
        self._in_angle = False
        self._in_group = False
        # The last element had words and no address, like the text before the comma of an unquoted "Doe, John <…>".
        self._dangling = False
        self._anything = False

    def take(self, token: _Token) -> None:
        if token == _OPEN:
            self._in_angle = True
        elif token == _CLOSE:
            self._in_angle = False
        elif not self._in_angle:
            if token in (_COMMA, _SEMICOLON):
                self._judge(ends_group=token == _SEMICOLON)
                self._in_group &= token == _COMMA
                return
            if token == _COLON:
                self._name_group()
                return
        self._element.append(token)

    def finish(self) -> None:
        # If an angle bracket or a group is never closed, there may still be mailboxes after its commas.
        self.unparsable |= self._in_angle or self._in_group
        self._judge(ends_group=True)
        self.unparsable |= not self._anything

    def _name_group(self) -> None:
        """Treats the words before a colon as the name of a group. Anything else before the colon, such as an address,
        makes the value unparsable.
        """
        self._anything = True
        self.unparsable |= self._in_group
        self._in_group = True
        if any(token.kind not in (_Kind.WORD, _Kind.QUOTED) for token in self._element):
            self.unparsable = True
            self.addresses.extend(_scan(self._element)[0])
        self._element = []

    def _judge(self, *, ends_group: bool) -> None:
        element, self._element = self._element, []
        if _OPEN in element:
            self._judge_angle(element)
            self._dangling = False
        elif _AT in element:
            addresses, clean = _scan(element)
            self.addresses.extend(addresses)
            self.unparsable |= not clean or len(addresses) != 1 or self._dangling
            self._anything = True
            self._dangling = False
        elif element:
            self._dangling = True
            self.unparsable |= any(token.kind not in (_Kind.WORD, _Kind.QUOTED) for token in element)
        if ends_group and self._dangling:
            self.unparsable = True
            self._dangling = False

    def _judge_angle(self, element: list[_Token]) -> None:
        """Reads a name and `<address>`. Several `<address>` without a comma between them, and an address in place of
        the name, are also read.
        """
        self._anything = True
        phrase: list[_Token] = []
        inside: list[list[_Token]] = []
        opened = False
        for token in element:
            if token == _OPEN:
                self.unparsable |= opened
                inside.append([])
                opened = True
            elif token == _CLOSE:
                self.unparsable |= not opened
                opened = False
            else:
                (inside[-1] if opened else phrase).append(token)
        bracketed: list[Address] = []
        for tokens in inside:
            addresses, clean = _scan(_without_route(tokens))
            bracketed.extend(addresses)
            self.unparsable |= not clean or len(addresses) != 1
        self.unparsable |= len(inside) != 1
        named, clean = _scan(phrase) if _AT in phrase else ([], all(token.kind is not _Kind.STRAY for token in phrase))
        keys = {address.local_key() for address in bracketed}
        others = [address for address in named if address.local_key() not in keys]
        self.unparsable |= not clean or bool(others)
        self.addresses.extend(bracketed + others)


def _without_route(tokens: list[_Token]) -> list[_Token]:
    if tokens and tokens[0] == _AT and _COLON in tokens:
        return tokens[tokens.index(_COLON) + 1 :]
    return tokens


def _scan(tokens: list[_Token]) -> tuple[list[Address], bool]:
    """Returns every `local@domain` in `tokens`, and whether they contain nothing else."""
    addresses: list[Address] = []
    clean = True
    position = 0
    while position < len(tokens):
        local, position = _run(tokens, position, (_Kind.WORD, _Kind.QUOTED))
        if position >= len(tokens) or tokens[position] != _AT:
            # The words that were read are not followed by @, or the token is neither a word nor @.
            clean = False
            position += not local
            continue
        domain, position = _run(tokens, position + 1, (_Kind.WORD, _Kind.LITERAL))
        address, whole = _address(local, domain)
        clean &= whole
        if address is not None:
            addresses.append(address)
    return addresses, clean


def _run(tokens: list[_Token], start: int, kinds: tuple[_Kind, ...]) -> tuple[list[_Token], int]:
    """Returns the tokens from `start` that form one part of an address (words joined by dots), and the position after
    them.
    """
    end = start
    while end < len(tokens) and tokens[end].kind in kinds:
        joined = end == start or tokens[end - 1].text.endswith(".") or tokens[end].text.startswith(".")
        if not joined:
            break
        end += 1
    return tokens[start:end], end


def _address(local: list[_Token], domain: list[_Token]) -> tuple[Address | None, bool]:
    """Returns the address, or None when the domain is not valid; and whether the local part was valid as it was
    written.
    """
    try:
        name = canonical_domain_or_literal("".join(token.text for token in domain))
    except ValueError:
        return None, False
    text = "".join(
        _QUOTED_PAIR.sub(r"\1", token.text[1:-1]) if token.kind is _Kind.QUOTED else token.text for token in local
    )
    clean_text, changes = _NOT_IN_LOCAL.subn("\ufffd", text)
    unchanged = not changes and len(clean_text) <= MAX_PATH_OCTETS
    return Address(clean_text[:MAX_PATH_OCTETS], name), bool(local) and unchanged
