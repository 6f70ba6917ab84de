"""The SMTP replies of this gateway: codes, texts and exact bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from libs.smtp.value import fast_value

# The largest number of octets of a reply line with its code and CRLF (RFC 5321 4.5.3.1.5).
MAX_REPLY_LINE_OCTETS: Final = 512

_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


@fast_value(frozen=True, slots=True)
class Reply:
    """One reply: `code` (RFC 5321 4.2), `enhanced` (RFC 3463; RFC 2034 has none for greeting, 354, EHLO), `text`.

    `text` may contain anything: `lines` replaces characters that must not be sent.
    """

    code: int
    enhanced: str
    text: str

    def line(self) -> bytes:
        """Returns the octets to send: one line that ends in CRLF, or several when the text is too long for one."""
        return _rendered(self.code, self.enhanced, self.text)

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    def with_text(self, text: str) -> Reply:
        """Returns a reply with the same codes and another text."""
        return Reply(self.code, self.enhanced, text)


class CommandError(ValueError):
    """A command is refused. `reply` is the answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def lines(code: int, enhanced: str, texts: Iterable[str]) -> bytes:
    """Returns the bytes of a reply with one line for each text (`250-…`, `250 …`), each folded at 512 octets.

    Control characters become spaces and non-ASCII becomes `?`, so that nothing a client or a configuration supplied can
    end a line or add one (C37). An enhanced code that contradicts RFC 3463 or the first digit of `code` is replaced by
    X.0.0, where X is this digit. Raises ValueError when `code` is no reply code.
    """
    if not 200 <= code <= 599:
        raise ValueError(f"{code} is not an SMTP reply code")
    prefix = f"{_matching_enhanced(code, enhanced)} " if enhanced else ""
    room = MAX_REPLY_LINE_OCTETS - len("250 \r\n") - len(prefix)
    parts = [part for text in texts for part in _folded(printable_ascii(text), room)] or [""]
    last = len(parts) - 1
    rendered = [f"{code}{' ' if number == last else '-'}{prefix}{part}" for number, part in enumerate(parts)]
    return "".join(f"{line.rstrip() if len(line) > 4 else line}\r\n" for line in rendered).encode("ascii")


@lru_cache(maxsize=1024)
def _rendered(code: int, enhanced: str, text: str) -> bytes:
    return lines(code, enhanced, (text,))


def _matching_enhanced(code: int, enhanced: str) -> str:
    if _ENHANCED.fullmatch(enhanced) and enhanced[0] == str(code)[0]:
        return enhanced
    return f"{code // 100}.0.0"


def _folded(text: str, room: int) -> list[str]:
    """Splits `text` at spaces into pieces of at most `room` characters. A longer word is split anywhere."""
    pieces: list[str] = []
    start = 0
    while len(text) - start > room:
        cut = text.rfind(" ", start + 1, start + room + 1)
        if cut == -1:
            cut = start + room
        pieces.append(text[start:cut])
        start = cut + 1 if text[cut] == " " else cut
    pieces.append(text[start:])
    return pieces


def printable_ascii(text: str) -> str:
    """Returns `text` as printable ASCII: each control character becomes a space, and each character beyond ASCII
    becomes `?`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if " " <= char <= "~" else " " if char < " " or "\x7f" <= char <= "\x9f" else "?" for char in text
    )


# Success.
HELP: Final = Reply(214, "2.0.0", "See RFC 5321")
CLOSING: Final = Reply(221, "2.0.0", "Bye")
READY_FOR_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED: Final = Reply(235, "2.7.0", "Authentication successful")
OK: Final = Reply(250, "2.0.0", "Ok")
SENDER_OK: Final = Reply(250, "2.1.0", "Sender ok")
RECIPIENT_OK: Final = Reply(250, "2.1.5", "Recipient ok")
CHUNK_OK: Final = Reply(250, "2.0.0", "Octets received")
MESSAGE_ACCEPTED: Final = Reply(250, "2.0.0", "Message accepted")
CANNOT_VERIFY: Final = Reply(252, "2.1.5", "Cannot verify, but will accept mail and try to deliver it")
START_MAIL_INPUT: Final = Reply(354, "", "End data with <CR><LF>.<CR><LF>")

# The gateway cannot serve now.
NOT_READY: Final = Reply(421, "4.3.2", "Service not ready, try again later")
SHUTTING_DOWN: Final = Reply(421, "4.3.2", "Service is shutting down, try again later")
IDLE_TIMEOUT: Final = Reply(421, "4.4.2", "Timed out, closing connection")
TOO_MANY_CONNECTIONS: Final = Reply(421, "4.7.0", "Too many connections from your address")
CONNECTION_RATE: Final = Reply(421, "4.7.0", "Too many connections a minute from your address")
CLIENT_BLOCKED: Final = Reply(421, "4.7.0", "Your address is blocked")
TOO_MANY_JUNK_COMMANDS: Final = Reply(421, "4.7.0", "Too many commands without mail")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors")
TOO_MANY_REFUSED_RECIPIENTS: Final = Reply(421, "4.7.0", "Too many recipients were refused")
LOGIN_LAPSED: Final = Reply(421, "4.7.0", "The login is no longer valid, log in again")
TRY_AGAIN: Final = Reply(451, "4.3.0", "Temporary failure, try again later")
STORAGE: Final = Reply(452, "4.3.1", "Insufficient storage, try again later")
RECIPIENT_NOT_VERIFIED: Final = Reply(451, "4.4.3", "Recipient could not be verified just now")
TOO_MANY_NEW_RECIPIENTS: Final = Reply(451, "4.7.1", "Too many new recipients a minute from your address")
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", "Too many recipients")
AUTH_UNAVAILABLE: Final = Reply(454, "4.7.0", "Authentication not available, try again later")

# Syntax and order of commands.
COMMAND_UNRECOGNISED: Final = Reply(500, "5.5.2", "Command unrecognised")
LINE_TOO_LONG: Final = Reply(500, "5.5.2", "Line too long")
# RFC 4954 6 names this reply.
AUTH_LINE_TOO_LONG: Final = Reply(500, "5.5.6", "Authentication exchange line is too long")
BARE_LINE_END: Final = Reply(550, "5.5.2", "Lines must end in CR LF")
BAD_COMMAND_SYNTAX: Final = Reply(501, "5.5.2", "Syntax error")
BAD_ARGUMENT: Final = Reply(501, "5.5.4", "Bad argument")
BAD_SENDER_SYNTAX: Final = Reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT_SYNTAX: Final = Reply(501, "5.1.3", "Bad recipient address syntax")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE: Final = Reply(503, "5.5.1", "Bad sequence of commands")
NO_VALID_RECIPIENTS: Final = Reply(554, "5.5.1", "No valid recipients")
MECHANISM_UNKNOWN: Final = Reply(504, "5.5.4", "Authentication mechanism not supported")
UTF8_NOT_ALLOWED: Final = Reply(553, "5.6.7", "Non-ASCII address needs SMTPUTF8")
PARAMETER_UNKNOWN: Final = Reply(555, "5.5.4", "Parameter not recognised or not offered")
UNAUTHORISED_PIPELINING: Final = Reply(554, "5.5.0", "Improper command pipelining")

# Authentication.
AUTH_REQUIRED: Final = Reply(530, "5.7.0", "Authentication required")
BAD_CREDENTIALS: Final = Reply(535, "5.7.8", "Authentication credentials invalid")
AUTH_CANCELLED: Final = Reply(501, "5.7.0", "Authentication cancelled")
ENCRYPTION_REQUIRED_FOR_AUTH: Final = Reply(538, "5.7.11", "Encryption required for authentication")
SENDER_LOGIN_MISMATCH: Final = Reply(553, "5.7.1", "Sender address is not owned by this login")
FROM_LOGIN_MISMATCH: Final = Reply(553, "5.7.1", "From address is not owned by this login")

# Senders, recipients, clients.
RELAY_DENIED: Final = Reply(554, "5.7.1", "Relay access denied")
ACCESS_DENIED: Final = Reply(554, "5.7.1", "Access denied")
NO_SUCH_USER: Final = Reply(550, "5.1.1", "No such user here")
MAILBOX_FULL: Final = Reply(552, "5.2.2", "Mailbox is full")
ALIAS_LOOP: Final = Reply(550, "5.4.6", "The address leads back to itself")
NON_FQDN_SENDER: Final = Reply(504, "5.5.2", "Sender domain is not fully qualified")
SENDER_DOMAIN_UNKNOWN_NOW: Final = Reply(450, "4.1.8", "Sender domain could not be looked up just now")
SENDER_DOMAIN_UNKNOWN: Final = Reply(550, "5.1.8", "Sender domain does not exist")
SENDER_NULL_MX: Final = Reply(550, "5.7.27", "Sender domain accepts no mail (null MX)")
CLIENT_NAME_UNKNOWN: Final = Reply(450, "4.7.25", "Client address has no matching reverse name")
CLIENT_NAME_UNKNOWN_NOW: Final = Reply(450, "4.7.25", "Reverse name of the client could not be looked up just now")
MESSAGE_RATE: Final = Reply(450, "4.7.1", "Too many messages a minute from your address")
NON_FQDN_HELO: Final = Reply(504, "5.5.2", "HELO name is not fully qualified")
HELO_UNKNOWN: Final = Reply(450, "4.7.1", "HELO name does not exist")
HELO_UNKNOWN_NOW: Final = Reply(450, "4.7.1", "HELO name could not be looked up just now")

# The message.
MESSAGE_TOO_BIG: Final = Reply(552, "5.3.4", "Message is too big")
MESSAGE_OVER_RECIPIENT_LIMIT: Final = Reply(554, "5.5.3", "Too many recipients")
RECIPIENT_OVER_MESSAGE_LIMIT: Final = Reply(550, "5.5.3", "Too many recipients, the whole message is refused")
TOO_MANY_HOPS: Final = Reply(554, "5.4.6", "Too many hops, the mail loops")
BAD_CONTENT: Final = Reply(550, "5.6.0", "Message is malformed")
DNSBL_LISTED: Final = Reply(554, "5.7.1", "Client address is on a block list")
SPF_FAILED: Final = Reply(550, "5.7.23", "SPF validation failed")
SPF_NO_ANSWER: Final = Reply(451, "4.4.3", "SPF record could not be looked up just now")
SPF_PERMANENT_ERROR: Final = Reply(550, "5.7.24", "SPF record is in error")
DKIM_NO_ANSWER: Final = Reply(451, "4.4.3", "DKIM key could not be looked up just now")
DKIM_FAILED: Final = Reply(550, "5.7.20", "No DKIM signature passed")
DMARC_NO_ANSWER: Final = Reply(451, "4.4.3", "DMARC policy could not be looked up just now")
DMARC_FAILED: Final = Reply(550, "5.7.1", "Rejected by the DMARC policy of the From domain")
VIRUS_FOUND: Final = Reply(554, "5.7.1", "Message contains a virus")
SCAN_FAILED: Final = Reply(451, "4.3.0", "Message could not be scanned, try again later")
SPAM_REFUSED: Final = Reply(554, "5.7.1", "Message looks like spam")
SPAM_DELAYED: Final = Reply(451, "4.7.1", "Message is not accepted yet, try again later")
SPAM_CHECK_FAILED: Final = Reply(451, "4.3.0", "Message could not be checked for spam, try again later")

# Replies about deliveries to other hosts.
NULL_MX: Final = Reply(556, "5.1.10", "Recipient domain accepts no mail (null MX)")
