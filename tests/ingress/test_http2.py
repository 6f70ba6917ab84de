"""The client's end of gRPC: against grpc.aio itself, and against a scripted peer for what that never sends."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from libs.runtime.endpoints import Endpoint
from services.ingress.clients import hpack, http2
from services.ingress.clients.call import Call

_METHOD = "/posthouse.Test/Echo"


class Answers:
    """What a call brings."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def received(self, message: BytesValue) -> None:
        self.messages.put_nowait(message.value)

    async def next(self) -> bytes:
        async with asyncio.timeout(60):
            return await self.messages.get()

    async def end(self) -> str:
        async with asyncio.timeout(60):
            return await self.over


def begin(connection: http2.Connection) -> tuple[Call, Answers]:
    answers = Answers()
    call = connection.call(_METHOD, BytesValue.FromString, answers.received, answers.over.set_result)
    return call, answers


def message(value: bytes) -> bytes:
    return BytesValue(value=value).SerializeToString()


class Echo(grpc.GenericRpcHandler):
    """Sends back what comes; `fail` ends the call with a status."""

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[BytesValue, BytesValue] | None:
        if call.method != _METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._echo, request_deserializer=BytesValue.FromString, response_serializer=BytesValue.SerializeToString
        )

    async def _echo(
        self, requests: AsyncIterator[BytesValue], context: grpc.aio.ServicerContext[BytesValue, BytesValue]
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            if request.value == b"fail":
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "d\u00e9bord\u00e9")
            yield request


@pytest.fixture
async def server() -> AsyncIterator[http2.Connection]:
    """A connection to a server of grpc.aio."""
    running = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    running.add_generic_rpc_handlers((Echo(),))
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    connection = await http2.connect(Endpoint(f"127.0.0.1:{port}", "127.0.0.1"), None)
    yield connection
    connection.close()
    await running.stop(0)


async def test_messages_of_all_sizes_come_back_whole_and_in_order(server: http2.Connection) -> None:
    call, answers = begin(server)
    sent = [bytes([number]) * size for number, size in enumerate((0, 1, 16_379, 16_384, 70_000, 5_000_000, 3))]
    for each in sent:
        call.send(message(each))
    assert call.congested
    assert [await answers.next() for _ in sent] == sent
    assert not call.congested
    call.finish()
    assert await answers.end() == "ok"


async def test_a_large_message_and_then_no_more(server: http2.Connection) -> None:
    call, answers = begin(server)
    call.send(message(bytes(2_000_000)))
    call.finish()
    assert len(await answers.next()) == 2_000_000
    assert await answers.end() == "ok"


async def test_many_small_messages_outlast_every_window(server: http2.Connection) -> None:
    call, answers = begin(server)
    for _ in range(40):
        for _ in range(10):
            call.send(message(bytes(8_000)))
        for _ in range(10):
            assert len(await answers.next()) == 8_000
    call.cancel()
    assert await answers.end() == "cancelled"


async def test_how_a_call_ends(server: http2.Connection) -> None:
    call, answers = begin(server)
    call.send(message(b"fail"))
    assert await answers.end() == "resource_exhausted"
    call.send(message(b"too late"))
    call.cancel()
    unknown = Answers()
    server.call("/posthouse.Test/None", BytesValue.FromString, unknown.received, unknown.over.set_result)
    assert await unknown.end() == "unimplemented"


# A peer by script.


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload


def data(value: bytes, flags: int = 0) -> bytes:
    octets = message(value)
    return frame(0, flags, 1, b"\0" + len(octets).to_bytes(4, "big") + octets)


SETTINGS = frame(4, 0, 0, b"")
# :status 200 of the table.
OK = frame(1, 4, 1, b"\x88")
Script = Callable[[bytes], Awaitable[http2.Connection]]


@pytest.fixture
async def scripted() -> AsyncIterator[Script]:
    """Connections to a peer that says what it is given, and nothing more."""
    open_ones: list[http2.Connection | asyncio.Server] = []
    held: list[asyncio.StreamWriter] = []

    async def connect(said: bytes) -> http2.Connection:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)
            # The headers of the first call have come.
            await reader.readuntil(b"posthouse-ingress")
            writer.write(SETTINGS + said)

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = await http2.connect(Endpoint(f"127.0.0.1:{port}", ""), None)
        open_ones.extend((connection, server))
        return connection

    yield connect
    for each in open_ones:
        each.close()
    for writer in held:
        writer.close()


def trailers(*fields: tuple[bytes, bytes]) -> bytes:
    return frame(1, 5, 1, hpack.encoded(fields))


async def test_padding_priorities_continuations_and_unknown_frames(scripted: Script) -> None:
    padded = message(b"padded")
    block = hpack.encoded([(b"grpc-status", b"14")])
    connection = await scripted(
        frame(1, 0x2C, 1, b"\2" + bytes(5) + b"\x88" + bytes(2))
        + frame(0, 8, 1, b"\3\0" + len(padded).to_bytes(4, "big") + padded + bytes(3))
        + frame(0xFA, 0xFF, 1, b"whatever")
        + frame(2, 0, 1, bytes(5))
        + frame(1, 1, 1, block[:4])
        + frame(9, 0, 1, block[4:9])
        + frame(9, 4, 1, block[9:])
    )
    _, answers = begin(connection)
    assert await answers.next() == b"padded"
    assert await answers.end() == "unavailable"


async def test_a_message_may_come_in_any_pieces(scripted: Script) -> None:
    octets = b"".join(b"\0" + len(each).to_bytes(4, "big") + each for each in (message(b"one"), message(b"two")))
    connection = await scripted(OK + b"".join(frame(0, 0, 1, octets[at : at + 1]) for at in range(len(octets))))
    _, answers = begin(connection)
    assert [await answers.next(), await answers.next()] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (trailers((b":status", b"200"), (b"grpc-status", b"0")), "ok"),
        (trailers((b":status", b"200"), (b"grpc-status", b"99")), "unknown"),
        (trailers((b":status", b"503")), "unavailable"),
        (trailers((b":status", b"404")), "unimplemented"),
        (OK + data(b"x", flags=1), "unknown"),
        (frame(3, 0, 1, (7).to_bytes(4, "big")), "unavailable"),
        (frame(3, 0, 1, (2).to_bytes(4, "big")), "internal"),
        (frame(7, 0, 0, bytes(8)), "unavailable"),
        # Not HTTP/2, or not as it should be: the connection is given up.
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + bytes(20_000), "unavailable"),
        (frame(0, 0, 1, b"\1\0\0\0\1x"), "unavailable"),
        (frame(0, 0, 1, b"\0\0\0\0\1\xff"), "unavailable"),
        (frame(0, 0, 1, b"\0\xff\xff\xff\xff"), "unavailable"),
        (frame(0, 8, 1, b""), "unavailable"),
        (frame(0, 8, 1, b"\5\0"), "unavailable"),
        (frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"), "unavailable"),
        (frame(1, 4, 1, b"\xc0"), "unavailable"),
        (frame(1, 0, 1, b"\x88") + SETTINGS, "unavailable"),
        (frame(9, 4, 1, b"\x88"), "unavailable"),
        (frame(1, 0, 1, bytes(16_000)) + 5 * frame(9, 0, 1, bytes(16_000)), "unavailable"),
        (frame(5, 4, 1, bytes(4)), "unavailable"),
        (frame(4, 0, 0, b"12345"), "unavailable"),
        (frame(4, 0, 0, struct.pack(">HI", 4, 2**31)), "unavailable"),
    ],
)
async def test_what_ends_a_call(scripted: Script, said: bytes, reason: str) -> None:
    _, answers = begin(await scripted(said))
    assert await answers.end() == reason


async def test_a_server_that_goes_away_ends_what_it_has_and_takes_no_more(scripted: Script) -> None:
    connection = await scripted(OK + frame(7, 0, 0, struct.pack(">II", 1, 0)) + data(b"still"))
    _, answers = begin(connection)
    assert await answers.next() == b"still"
    assert connection.going_away
    _, refused = begin(connection)
    assert await refused.end() == "unavailable"
    assert not answers.over.done()


async def test_windows_that_shrink_and_grow_again(scripted: Script) -> None:
    connection = await scripted(frame(4, 0, 0, struct.pack(">HIHI", 4, 10, 5, 20_000)) + OK + data(b"read"))
    call, answers = begin(connection)
    call.send(message(bytes(100)))
    assert await answers.next() == b"read"
    assert call.window < 0
    call.send(b"waits")
    assert call.congested
    connection.data_received(frame(8, 0, 1, (500).to_bytes(4, "big")))
    assert not call.congested


def test_header_fields_with_huffmans_code() -> None:
    # RFC 7541 C.4.1 and C.6.1, as literals that are not remembered.
    assert list(hpack.decoded(bytes.fromhex("018cf1e3c2e5f23a6ba0ab90f4ff"))) == [(b":authority", b"www.example.com")]
    assert list(hpack.decoded(bytes.fromhex("08826402 0f12 96d07abe941054d444a8200595040b8166e082a62d1bff"))) == [
        (b":status", b"302"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    ]
    # Octets that no text has are not looked at.
    assert list(hpack.decoded(bytes.fromhex("0884fffffff0"))) == [(b":status", b"")]


def test_header_blocks_that_are_none() -> None:
    for block in (b"\x80", b"\xbe", b"\x00", b"\x08", b"\x08\x05abc", b"\x0f", b"\x7f\xff\xff\xff\xff\xff\x01"):
        with pytest.raises(hpack.HeaderError):
            list(hpack.decoded(block))
    assert list(hpack.decoded(b"\x20\x3f\x00\x82")) == [(b":method", b"GET")]
