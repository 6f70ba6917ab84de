"""What a scripted SMTP peer saw, octet by octet."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Ending(enum.Enum):
    """How a session ended."""

    # The client's QUIT.
    QUIT = enum.auto()
    # The client closed without QUIT.
    CLIENT_CLOSED = enum.auto()
    # The connection broke.
    BROKEN = enum.auto()
    # We ended it: a script, a failed handshake, or the peer's own stop.
    SERVER_CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS of a session."""

    version: str
    cipher: str
    # The server name asked for, None without SNI.
    server_name: str | None
    implicit: bool


@dataclass(frozen=True, slots=True)
class Login:
    """One AUTH attempt that ran to its end."""

    mechanism: str
    username: str
    password: str
    accepted: bool
    tls: bool


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT: the address between its brackets, its parameters as sent, and the code it was answered with."""

    address: bytes
    parameters: tuple[bytes, ...]
    # None: the script sent nothing that reads as a reply.
    code: int | None
    # LMTP: the code after the end of data.
    final_code: int | None = None

    @property
    def accepted(self) -> bool:
        return self.code is not None and 200 <= self.code < 300


@dataclass(slots=True, eq=False)
class Transaction:
    """One mail transaction, from MAIL on."""

    session: Session = field(repr=False)
    sender: bytes
    parameters: tuple[bytes, ...]
    recipients: list[Recipient] = field(default_factory=list)
    # As sent: DATA's octets with their stuffing and without the final CRLF.CRLF's dot line, or BDAT's chunks joined.
    raw: bytes = field(default=b"", repr=False)
    # The message: `raw` without stuffing.
    content: bytes = b""
    # DATA or BDAT once content began to come.
    via: str = ""
    # BDAT: the sizes announced.
    chunk_sizes: list[int] = field(default_factory=list)
    # The content came whole.
    complete: bool = False
    # The code after the end of data (LMTP: the best one); None when none was sent.
    code: int | None = None

    @property
    def accepted(self) -> bool:
        return self.code is not None and 200 <= self.code < 300

    @property
    def accepted_recipients(self) -> list[bytes]:
        """The addresses the content was meant for."""
        return [recipient.address for recipient in self.recipients if recipient.accepted]

    @property
    def header(self) -> bytes:
        """The top header, up to and without the empty line."""
        return self.content.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[2]


@dataclass(slots=True, eq=False)
class Session:
    """One connection."""

    # The first of a peer is 1.
    number: int
    client: tuple[str, int]
    # Command lines as sent, without their CRLF; AUTH's continuation lines too, content not.
    commands: list[bytes] = field(default_factory=list)
    # The last name given by EHLO, HELO or LHLO, and the word it was given with.
    helo: bytes = b""
    greeting_word: str = ""
    tls: Tls | None = None
    # Why a handshake failed.
    tls_failure: str = ""
    logins: list[Login] = field(default_factory=list)
    # Octets that came before our greeting.
    early: bytes = b""
    # Plain text octets that came behind STARTTLS.
    behind_starttls: bytes = b""
    # Commands that stood ready in the same read as one before them: pipelined.
    pipelined: int = 0
    # Every octet received, decrypted, STARTTLS's own handshake left out.
    octets: bytearray = field(default_factory=bytearray, repr=False)
    transactions: list[Transaction] = field(default_factory=list)
    ending: Ending | None = None

    @property
    def verbs(self) -> list[str]:
        """The first word of each command in capitals."""
        return [command.split(b" ")[0].split(b":")[0].decode("ascii", "replace").upper() for command in self.commands]

    @property
    def authenticated(self) -> bool:
        return any(login.accepted for login in self.logins)
