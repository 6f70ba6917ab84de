"""The meaning of a next hop's reply, or of its silence, for the recipients that it concerns. This module is pure."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from libs.smtp.value import fast_value
from services.relay.model.attempt import Outcome, Result

# The largest number of characters of a reply's text that an outcome holds.
_TEXT_LIMIT = 2000
_LOGIN_WANTED = 530
# RFC 7372: SPF validation failed, reverse DNS validation failed.
_OF_CLIENT_ADDRESS = (".7.23", ".7.25")
# Finds text in a reply that may be an IPv4 or IPv6 address.
_ADDRESSES = re.compile(r"[0-9a-f:]*:[0-9a-f:.]*[0-9a-f]|[0-9]+(?:\.[0-9]+){3}")
# An enhanced status code (RFC 3463 2) at the start of a text. A space, a new line or the end must follow it.
_ENHANCED = re.compile(rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}(?![^ \n])").match


class Reply(NamedTuple):
    """An SMTP reply: RFC 5321 4.2. The text holds every line, separated by LF, as it came."""

    code: int
    text: bytes

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300


class Stage(Enum):
    """The command that a reply answers, or the step at which there was no reply."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    RESET = "reset"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END_OF_DATA = "end_of_data"


# A reply at these stages is about the message or a recipient. At earlier stages it is about the host or the session.
_OF_THE_MESSAGE = (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA)


@fast_value(frozen=True, slots=True)
class ReplyMeaning:
    """What a reply or a failure means, before it is applied to recipients (`of_recipient`)."""

    result: Result
    code: int
    enhanced_code: str
    text: str
    possible_duplicate: bool = False
    # Whether the server accepts no more recipients in this transaction. The other recipients may go into another
    # transaction at once (RFC 5321 4.5.3.1.10).
    too_many: bool = False
    # Whether the server says that the login is wrong, so that it will accept no other message either (C131).
    bad_login: bool = False
    # Whether relay found the failure itself, so that code and text are not from a server.
    own: bool = False


@fast_value(frozen=True, slots=True)
class Peer:
    """The server that was tried, for the record of the attempt."""

    host: str = ""
    address: str = ""
    port: int = 0
    tls: str = ""
    tls_policy: str = ""


NO_PEER = Peer()


def deferred(code: int, enhanced_code: str, text: str, *, possible_duplicate: bool = False) -> ReplyMeaning:
    """Returns a temporary failure that relay finds itself."""
    return ReplyMeaning(Result.DEFERRED, code, enhanced_code, sanitised(text), possible_duplicate, own=True)


def failed(code: int, enhanced_code: str, text: str) -> ReplyMeaning:
    """Returns a permanent failure that relay finds itself."""
    return ReplyMeaning(Result.FAILED, code, enhanced_code, sanitised(text), own=True)


def meaning_of(stage: Stage, reply: Reply) -> ReplyMeaning:
    """Returns the meaning of a reply for the recipients that it concerns. The first digit decides (RFC 5321 4.2.1),
    with these exceptions. Before MAIL, a 5yz is about the host and not about the message, so another host or a later
    attempt may succeed (a 554 greeting, RFC 5321 3.1). 552 at RCPT means "too many recipients" (RFC 5321 4.5.3.1.10),
    unless its enhanced code is about the mailbox, for example a full one. Every refusal of AUTH, for example 535, is
    temporary, because the operators can correct the login (C131). A reply that is not 2yz, 4yz or 5yz where one of
    these is due is a protocol error, which is temporary too.
    """
    family = reply.code // 100
    text = sanitised(reply.text)
    if family == 2 and stage in _OF_THE_MESSAGE:
        # At an earlier stage no 2yz can mean that the message was accepted.
        return ReplyMeaning(Result.DELIVERED, reply.code, enhanced_code(reply, "2.0.0"), text)
    if stage is Stage.AUTH:
        # 535 and the other 5yz of RFC 4954 6, none of which is about the message: 534 mechanism too weak, 538 no TLS.
        return ReplyMeaning(Result.DEFERRED, reply.code, _as_temporary(reply, "4.7.0"), text, bad_login=family == 5)
    if stage is Stage.RCPT and reply.code in (452, 552) and not _is_about_mailbox(reply):
        # 452 without an enhanced code also means "too many recipients": RFC 5321 4.5.3.1.10 names this code for it.
        status = "4.5.3" if reply.code == 552 else _as_temporary(reply, "4.5.3")
        return ReplyMeaning(Result.DEFERRED, reply.code, status, text, too_many=status == "4.5.3")
    if family == 5 and stage in _OF_THE_MESSAGE:
        return ReplyMeaning(Result.FAILED, reply.code, enhanced_code(reply, "5.0.0"), text)
    if family in (4, 5):
        return ReplyMeaning(Result.DEFERRED, reply.code, _as_temporary(reply, "4.3.0"), text)
    return deferred(reply.code, "4.5.0", f"unexpected reply to {stage.value}: {reply.code} {text}")


def refuses_our_address(meaning: ReplyMeaning, our_address: str = "") -> bool:
    """Returns whether a reply refuses the address from which this client came, so that a try with the other address
    family may succeed (F03).

    The code may say so (RFC 7372 3.2: the SPF record does not list the address, or the address has no reverse name). If
    `our_address` is given, a text that contains this address also counts, because refusals by block lists contain it.
    Give it only for replies before the content, since content filters name the client's address too.
    """
    if meaning.result is Result.DELIVERED:
        return False
    if meaning.enhanced_code[1:] in _OF_CLIENT_ADDRESS:
        return True
    return bool(our_address) and our_address in _ADDRESSES.findall(meaning.text.lower())


def by_operators_own_host(meaning: ReplyMeaning) -> ReplyMeaning:
    """Returns the meaning of a reply from a relay host or mailbox server of the operators, and not from any MX host.

    530 means that the server wants a login or TLS, and got none (RFC 4954 6, RFC 3207 4). The operators can correct
    that, so the messages wait and are not bounced (C131).
    """
    if meaning.code != _LOGIN_WANTED or meaning.result is not Result.FAILED:
        return meaning
    return replace(meaning, result=Result.DEFERRED, enhanced_code=f"4{meaning.enhanced_code[1:]}")


def lost(stage: Stage, what: str, error: str) -> ReplyMeaning:
    """Returns the meaning of a connection that ended, or of a time-out, while a reply was due.

    After the final dot nobody knows whether the message was accepted (RFC 1047): it is tried again, later, and marked
    as a possible duplicate (C120).
    """
    if stage is Stage.END_OF_DATA:
        text = f"{what} at the end of the message: {error}; it may be delivered twice"
        return deferred(0, "4.4.2", text, possible_duplicate=True)
    status = "4.4.1" if stage in (Stage.CONNECT, Stage.GREETING) else "4.4.2"
    return deferred(0, status, f"{what} at {stage.value}: {error}")


def _is_about_mailbox(reply: Reply) -> bool:
    return enhanced_code(reply, "")[1:].startswith(".2.")


def enhanced_code(reply: Reply, default: str) -> str:
    """Returns the RFC 3463 code of the reply if its class is the first digit of the reply's code, and otherwise
    `default`.
    """
    match = _ENHANCED(reply.text)
    if match is None or reply.text[0] - 0x30 != reply.code // 100:
        return default
    return match[0].decode("ascii")


def _as_temporary(reply: Reply, default: str) -> str:
    """Returns the enhanced code of the reply with its class set to 4."""
    status = enhanced_code(reply, default)
    return f"4{status[1:]}"


def sanitised(text: bytes | str) -> str:
    """Returns a text of a peer as one printable line of bounded length, for logs, answers and reports (C37)."""
    plain = text if isinstance(text, str) else text.decode("utf-8", "backslashreplace")
    if len(plain) <= _TEXT_LIMIT and plain.isprintable():
        return plain
    cut = plain[: _TEXT_LIMIT - 1] + "…" if len(plain) > _TEXT_LIMIT else plain
    line = " ".join(filter(None, (part.strip() for part in cut.splitlines())))
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else "?" for char in line.replace("\t", " "))


def of_recipient(
    delivery_id: int,
    meaning: ReplyMeaning,
    peer: Peer = NO_PEER,
    *,
    counts: bool = True,
    dsn_passed_on: bool = False,
    suspend_destination: str = "",
) -> Outcome:
    """Returns the outcome of one delivery to which a reply or a failure applies."""
    return Outcome(
        delivery_id,
        meaning.result,
        meaning.code,
        meaning.enhanced_code,
        meaning.text,
        peer.host,
        peer.address,
        peer.port,
        peer.tls,
        peer.tls_policy,
        meaning.possible_duplicate,
        counts,
        dsn_passed_on,
        suspend_destination,
        meaning.own,
    )
