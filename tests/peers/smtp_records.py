"""The records of a scripted SMTP peer: what it received, octet by octet."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Ending(enum.Enum):
    """The way in which a session ended."""

    # The client sent QUIT.
    QUIT = enum.auto()
    # The client closed the connection without QUIT.
    CLIENT_CLOSED = enum.auto()
    # The client's connection broke.
    BROKEN = enum.auto()
    # The peer ended the session: by its script, after a failed handshake, or because it was stopped.
    SERVER_CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Tls:
    """The parameters of a session's TLS connection."""

    version: str
    cipher: str
    # The server name that the client requested, or None when the client sent no SNI.
    server_name: str | None
    implicit: bool


@dataclass(frozen=True, slots=True)
class Login:
    """One AUTH attempt that has reached its verdict."""

    mechanism: str
    username: str
    password: str
    accepted: bool
    tls: bool


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT command: the address between its brackets, its parameters as sent, and the code of the answer."""

    address: bytes
    parameters: tuple[bytes, ...]
    # The code of the reply, or None when the script sent octets that are not a reply.
    code: int | None
    # The code after the end of data. Only LMTP has a code for each recipient.
    final_code: int | None = None

    @property
    def accepted(self) -> bool:
        return self.code is not None and 200 <= self.code < 300


@dataclass(slots=True, eq=False)
class Transaction:
    """One mail transaction, from the MAIL command on."""

    session: Session = field(repr=False)
    sender: bytes
    parameters: tuple[bytes, ...]
    recipients: list[Recipient] = field(default_factory=list)
    # The octets as sent. For DATA they are dot-stuffed and end before the final dot line; for BDAT the chunks are
    # joined.
    raw: bytes = field(default=b"", repr=False)
    # The message: `raw` without dot-stuffing.
    content: bytes = b""
    # DATA or BDAT, set when the first content has come.
    via: str = ""
    # The announced sizes of the BDAT chunks.
    chunk_sizes: list[int] = field(default_factory=list)
    # Whether all of the content has come.
    complete: bool = False
    # The code after the end of data (with LMTP the lowest code), or None when no code was sent.
    code: int | None = None

    @property
    def accepted(self) -> bool:
        return self.code is not None and 200 <= self.code < 300

    @property
    def accepted_recipients(self) -> list[bytes]:
        """The addresses of the recipients that the peer accepted."""
        return [recipient.address for recipient in self.recipients if recipient.accepted]

    @property
    def header(self) -> bytes:
        """The header of the message, without the empty line that ends it."""
        return self.content.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[2]


@dataclass(slots=True, eq=False)
class Session:
    """One connection."""

    # Sessions of a peer are numbered from 1.
    number: int
    client: tuple[str, int]
    # The command lines as sent, without their CRLF. Continuation lines of AUTH are included, content is not.
    commands: list[bytes] = field(default_factory=list)
    # The last name in EHLO, HELO or LHLO, and which of these three commands the client used.
    helo: bytes = b""
    greeting_word: str = ""
    tls: Tls | None = None
    # The reason why a TLS handshake failed.
    tls_failure: str = ""
    logins: list[Login] = field(default_factory=list)
    # Octets that the client sent before our greeting.
    early: bytes = b""
    # Plain text octets that came directly after STARTTLS, before the handshake.
    behind_starttls: bytes = b""
    # Number of commands that had already arrived together with the command before them (pipelining).
    pipelined: int = 0
    # Every received octet, decrypted, without those of the TLS handshake that follows STARTTLS.
    octets: bytearray = field(default_factory=bytearray, repr=False)
    transactions: list[Transaction] = field(default_factory=list)
    ending: Ending | None = None

    @property
    def verbs(self) -> list[str]:
        """The first word of each command, in capitals."""
        return [command.split(b" ")[0].split(b":")[0].decode("ascii", "replace").upper() for command in self.commands]

    @property
    def authenticated(self) -> bool:
        return any(login.accepted for login in self.logins)
