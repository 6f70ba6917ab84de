"""Sends one question to one name server by UDP. It uses the messages of dnspython, but not its resolver, which needs
several tasks.

Each question has its own socket, so that an attacker must guess the port as well as the id. Datagrams that do not match
are ignored (RFC 5452 4.3, 9.1). A truncated answer is left to dnspython's resolver, which asks by TCP.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

_LARGEST_DATAGRAM = 65_535
# The header: id, flags and four counts.
_HEADER_OCTETS = 12


class ServerFailedError(Exception):
    """The server answered with a code that tells neither that the records exist nor that they do not."""


async def ask(
    server: tuple[int, Any], name: dns.name.Name, record_type: str, seconds: float
) -> dns.message.QueryMessage | None:
    """Returns the answer, or None when dnspython's resolver must ask again, because the answer was truncated or
    unreadable, or the server cannot be reached. `server` has the address family and the socket address. Raises
    ServerFailedError, and TimeoutError.
    """
    family, address = server
    query = dns.message.make_query(name, record_type)
    question = query.to_wire()
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
            sending.connect(address)
            sending.send(question)
            response = dns.message.from_wire(await _matching(sending, question, seconds), ignore_trailing=True)
        if response.flags & dns.flags.TC or not isinstance(response, dns.message.QueryMessage):
            return None
        if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise ServerFailedError
        return response
    except TimeoutError:
        raise
    except (OSError, dns.exception.DNSException, ValueError):
        return None


async def _matching(sending: socket.socket, question: bytes, seconds: float) -> bytes:
    """Returns the datagram that answers the question. Raises TimeoutError, and OSError when no server listens."""
    loop = asyncio.get_running_loop()
    matching: asyncio.Future[bytes] = loop.create_future()
    echoed_question = question[_HEADER_OCTETS:].lower()

    def take() -> None:
        try:
            datagram = sending.recv(_LARGEST_DATAGRAM)
        except BlockingIOError:
            return
        except OSError as error:
            if not matching.done():
                matching.set_exception(error)
            return
        matches = datagram[:2] == question[:2] and datagram[_HEADER_OCTETS : len(question)].lower() == echoed_question
        if matches and not matching.done():
            matching.set_result(datagram)

    def give_up() -> None:
        if not matching.done():
            matching.set_exception(TimeoutError())

    loop.add_reader(sending, take)
    timer = loop.call_later(seconds, give_up)
    try:
        return await matching
    finally:
        timer.cancel()
        loop.remove_reader(sending)
