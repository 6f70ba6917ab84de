"""Programs for measurements of ingress: the cheapest possible policy and relay in one process, and unchanged aiosmtpd
in another process.

`python -m bench.ingress_peers grpc|grpc-dkim|stock` prints its port, and serves until its standard input ends. With
grpc-dkim, policy asks for the verification of DKIM signatures.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
import uvloop
from aiosmtpd.smtp import SMTP
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc
from posthouse.relay.v1 import relay_pb2, relay_pb2_grpc

_PROFILE = policy_pb2.SessionProfile(
    revision=1,
    hostname="mx.example.com",
    banner="ESMTP",
    auth_mechanisms_tls=["PLAIN", "LOGIN"],
    max_message_size=25 * 1024 * 1024,
    max_recipients=1000,
    max_hops=50,
)
_OPTIONS = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]


_WITH_DKIM = policy_pb2.SessionProfile()
_WITH_DKIM.CopyFrom(_PROFILE)
_WITH_DKIM.ask_stages.append(policy_pb2.STAGE_END_OF_DATA)
_DKIM = policy_pb2.ContentChecks(dkim=True)


class _Policy(policy_pb2_grpc.PolicyServicer):
    def __init__(self, *, dkim: bool) -> None:
        self._dkim = dkim

    async def DecideStream(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[policy_pb2.DecideFrame], context: object
    ) -> AsyncIterator[policy_pb2.VerdictFrame]:
        del context
        async for frame in request_iterator:
            answer = policy_pb2.VerdictFrame()
            for request in frame.requests:
                verdict = answer.verdicts.add(request_id=request.request_id, action=policy_pb2.ACTION_ACCEPT)
                if request.stage == policy_pb2.STAGE_CONNECT:
                    verdict.profile.CopyFrom(_WITH_DKIM if self._dkim else _PROFILE)
                elif self._dkim and request.stage == policy_pb2.STAGE_RCPT:
                    verdict.checks.CopyFrom(_DKIM)
                elif request.stage == policy_pb2.STAGE_END_OF_DATA:
                    # The figures would be wrong if ingress had not verified the signatures.
                    assert [each.result for each in request.content.dkim] == [policy_pb2.CHECK_RESULT_PASS]
            if answer.verdicts:
                yield answer


class _Relay(relay_pb2_grpc.RelayServicer):
    async def Submit(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[relay_pb2.SubmitFrame], context: object
    ) -> AsyncIterator[relay_pb2.SubmitAckFrame]:
        del context
        yield relay_pb2.SubmitAckFrame(storage=relay_pb2.StorageState(accepting=True, available=1 << 50))
        async for frame in request_iterator:
            answer = relay_pb2.SubmitAckFrame()
            for submission in frame.submissions:
                answer.acks.add(submission_id=submission.id, result=relay_pb2.SubmitAck.RESULT_STORED, queue_id="1")
            yield answer


class _Sink:
    """A handler that stores nothing."""

    async def handle_DATA(self, server: SMTP, session: object, envelope: object) -> str:  # noqa: N802 - aiosmtpd's name
        del server, session, envelope
        return "250 2.0.0 Ok"


async def _serve_grpc(*, dkim: bool) -> int:
    server = grpc.aio.server(options=_OPTIONS)
    policy_pb2_grpc.add_PolicyServicer_to_server(_Policy(dkim=dkim), server)  # type: ignore[abstract]
    relay_pb2_grpc.add_RelayServicer_to_server(_Relay(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _kept.append(server)
    return port


async def _serve_stock() -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(_Sink(), hostname="mx.example.com", loop=loop), "127.0.0.1", 0)
    _kept.append(server)
    return int(server.sockets[0].getsockname()[1])


_kept: list[object] = []


async def _main(kind: str) -> None:
    print(await (_serve_stock() if kind == "stock" else _serve_grpc(dkim=kind == "grpc-dkim")), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for kept in _kept:
        if isinstance(kept, grpc.aio.Server):
            await kept.stop(0)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
