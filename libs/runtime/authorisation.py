"""Decides which service may call which method, by the certificate of the caller."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from libs.runtime.security import URI_SCHEME

log = structlog.get_logger(__name__)

# The callers of a method that every service may call.
ANY_SERVICE = frozenset({"*"})
# For each full name of a gRPC service and each of its methods, the services that may call the method.
Callers = Mapping[str, Mapping[str, Collection[str]]]

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[Any, Any]
    _Context = grpc.aio.ServicerContext[Any, Any]


class Authorisation(grpc.aio.ServerInterceptor):
    """Refuses calls that the table of callers does not allow: it answers PERMISSION_DENIED, logs a line, and counts the
    call.
    """

    def __init__(self, callers: Callers, on_refused: Callable[[], None]) -> None:
        self._on_refused = on_refused
        self._callers = {
            f"/{service}/{method}": frozenset(who)
            for service, methods in callers.items()
            for method, who in methods.items()
        }

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        handler = await continuation(handler_call_details)
        # Without a handler the method does not exist, and the caller gets UNIMPLEMENTED.
        return None if handler is None else self._guarded(handler, handler_call_details.method)

    def _guarded(self, handler: _Handler, method: str) -> _Handler:
        async def check(context: _Context) -> None:
            await self._check(method, context)

        async def answer(request: Any, context: _Context) -> Any:
            await check(context)
            return await behaviour(request, context)

        async def stream(request: Any, context: _Context) -> AsyncIterator[Any]:
            await check(context)
            async for response in behaviour(request, context):
                yield response

        takes = "stream" if handler.request_streaming else "unary"
        gives = "stream" if handler.response_streaming else "unary"
        kind = f"{takes}_{gives}"
        behaviour = getattr(handler, kind)
        # A handler that writes to the context itself is a coroutine, even if it streams.
        guarded = stream if inspect.isasyncgenfunction(behaviour) else answer
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        handler_with_check: _Handler = make(guarded, handler.request_deserializer, handler.response_serializer)
        return handler_with_check

    async def _check(self, method: str, context: _Context) -> None:
        caller = calling_service(context.auth_context())
        allowed = self._callers.get(method, frozenset())
        if caller is not None and (allowed == ANY_SERVICE or caller in allowed):
            return
        self._on_refused()
        log.warning("grpc_call_refused", method=method, caller=caller or "no service", peer=context.peer())
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this service may not call this method")


def calling_service(auth_context: Mapping[str, Iterable[bytes]]) -> str | None:
    """Returns the service in the verified certificate of the caller, or None when the certificate names none or
    several.
    """
    prefix = f"{URI_SCHEME}://".encode()
    names = {uri.removeprefix(prefix) for uri in auth_context.get("peer_uri", ()) if uri.startswith(prefix)}
    return names.pop().decode("ascii", "replace") if len(names) == 1 else None
