"""An SMTP client that can have any public address (through the PROXY protocol) and reads every reply exactly."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tests.e2e import world
from tests.peers.ports import LOOPBACK

# The value of INGRESS_PROXY_NETWORKS. A client from any other address of 127/8 has the address of its socket.
PROXY_NETWORK = "127.77.0.0/16"
PROXY_ADDRESS = "127.77.0.1"

SECONDS = 30.0
CLOSED = "closed"

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)")


class Client:
    """One session. Each command returns "250", or for any other reply its code and enhanced code: "554 5.7.1".

    `address` is the address of the client. The socket gets an address of 127/8; any other address is sent in a PROXY
    line. When the server has closed the connection, commands return "closed". `text` is the text of the last reply.
    """

    def __init__(
        self, address: str, port: int, *, helo: str | None = "client.far.test", tls: bool = False, proxy_line: str = ""
    ) -> None:
        real = ipaddress.ip_address(address)
        self.address = address
        self.text = ""
        direct = real.is_loopback and real.version == 4
        source = address if direct else PROXY_ADDRESS
        self._socket = socket.create_connection((LOOPBACK, port), timeout=SECONDS, source_address=(source, 0))
        self._replies = self._socket.makefile("rb")
        if not direct:
            kind, here = ("TCP4", LOOPBACK) if real.version == 4 else ("TCP6", "::1")
            self.send(proxy_line or f"PROXY {kind} {address} {here} 40000 25\r\n")
        if tls:
            self.wrap()
        self.greeting = self.reply()
        self.extensions: dict[str, str] = {}
        if helo is not None and self.greeting == "220":
            self.ehlo(helo)

    @staticmethod
    def early(address: str, port: int, octets: bytes) -> list[str]:
        """Sends `octets` before the greeting. Returns the replies up to the greeting or the end of the connection."""
        kind = "TCP6" if ":" in address else "TCP4"
        line = f"PROXY {kind} {address} {'::1' if kind == 'TCP6' else LOOPBACK} 40000 25\r\n"
        with Client(address, port, helo=None, proxy_line=line + octets.decode()) as client:
            heard = [client.greeting]
            while heard[-1] not in (CLOSED, "220"):
                heard.append(client.reply())
            return heard

    # Methods that send one command each

    def ehlo(self, name: str) -> str:
        codes = self.say(f"EHLO {name}")
        lines = [line[4:].partition(" ") for line in self.text.splitlines()[1:]]
        self.extensions = {keyword.upper(): values for keyword, _, values in lines}
        return codes

    def mail(self, sender: str, parameters: str = "") -> str:
        return self.say(f"MAIL FROM:<{sender}>{parameters and ' '}{parameters}")

    def rcpt(self, recipient: str) -> str:
        return self.say(f"RCPT TO:<{recipient}>")

    def data(self, content: bytes) -> str:
        """Sends DATA, and after 354 the content (lines with CRLF) with dot-stuffing. Returns the last reply."""
        begun = self.say("DATA")
        if begun != "354":
            return begun
        stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in content.split(b"\r\n"))
        self.send(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        return self.reply()

    def auth_plain(self, login: str = world.LOGIN, password: str = world.PASSWORD) -> str:
        return self.say("AUTH PLAIN " + base64.b64encode(f"\0{login}\0{password}".encode()).decode())

    def auth_login(self, login: str = world.LOGIN, password: str = world.PASSWORD) -> str:
        answer = self.say("AUTH LOGIN")
        for words in (login, password):
            if not answer.startswith("334"):
                break
            answer = self.say(base64.b64encode(words.encode()).decode())
        return answer

    def starttls(self, helo: str = "client.far.test") -> str:
        answer = self.say("STARTTLS")
        if answer == "220 2.0.0":
            self.wrap()
            self.ehlo(helo)
        return answer

    def transaction(self, sender: str, *recipients: str, content: bytes | None = None) -> str:
        """Sends MAIL, each RCPT, and DATA when there is content.

        Returns the refused command with the codes of the reply, or "accepted".
        """
        answer = self.mail(sender)
        if answer != "250":
            return f"MAIL {answer}"
        for recipient in recipients:
            answer = self.rcpt(recipient)
            if answer != "250":
                return f"RCPT {answer}"
        if content is not None:
            answer = self.data(content)
            if answer != "250":
                return f"DATA {answer}"
        return "accepted"

    def say(self, line: str | bytes) -> str:
        """Sends one line and returns the reply to it."""
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.reply()

    def wrap(self) -> None:
        """Does the TLS handshake after the reply 220 to STARTTLS."""
        self._replies.close()
        self._socket = world.no_verify().wrap_socket(self._socket)
        self._replies = self._socket.makefile("rb")

    # Methods that send and receive octets

    def send(self, octets: str | bytes) -> None:
        try:
            self._socket.sendall(octets if isinstance(octets, bytes) else octets.encode())
        except (BrokenPipeError, ConnectionResetError):
            # The server has closed the connection. A reply that it sent before can still be read.
            return

    def reply(self) -> str:
        """Reads the next reply and returns its codes."""
        lines: list[str] = []
        while True:
            try:
                line = self._replies.readline().decode("utf-8", "backslashreplace")
            except ConnectionResetError:
                line = ""
            if not line:
                self.text = "\n".join(lines)
                return CLOSED
            assert line.endswith("\r\n"), line
            lines.append(line.removesuffix("\r\n"))
            if line[3:4] != "-":
                break
        self.text = "\n".join(lines)
        code, rest = lines[-1][:3], lines[-1][4:]
        enhanced = _ENHANCED.match(rest)
        return code if code == "250" or enhanced is None else f"{code} {enhanced[0]}"

    def ended(self) -> bool:
        """Returns whether the server closes the connection without another reply."""
        return self.reply() == CLOSED and self.text == ""

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def repeated(action: Callable[[], str], times: int) -> Sequence[str]:
    """Returns the results of an action that is done `times` times."""
    return [action() for _ in range(times)]
