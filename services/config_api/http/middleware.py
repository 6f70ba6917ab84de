"""Handles every HTTP request before it is routed: its id, client address and key, the limits of its body, and its entry
in the audit log.

It is plain ASGI, so that no other code except the CORS handling of app.py reads or answers a request before this
middleware.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.config_api.http.authentication import demand
from services.config_api.http.client_address import client_address
from services.config_api.http.context import AppContext
from services.config_api.http.parsed_body import PARSED_JSON
from services.config_api.http.request_shares import UNAUTHENTICATED, ClientGone, RequestShares
from services.config_api.http.roles import RoleTable
from services.config_api.metrics import REQUEST_SECONDS, REQUESTS
from services.config_api.problems import MEDIA_TYPE, Problem, malformed
from services.config_api.settings import Network
from services.config_api.storage.database import outage
from services.config_api.storage.revision import Actor

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)

MEGABYTE = 1_048_576
BODY_OCTETS = MEGABYTE
# The limit for relay rules and batches. It is enough for the longest list of a relay rule, which has 10,000 targets.
LONG_LIST_OCTETS = 16 * MEGABYTE
# The limit for a whole configuration. 100,000 accounts need 20 MB.
IMPORT_OCTETS = 64 * MEGABYTE
JSON_DEPTH = 32
# Longer JSON is checked and parsed in a thread, because it would block the event loop for too long.
_LONG_JSON_OCTETS = 65_536
_IMPORT = "/v1/config:import"
_METRICS = "/metrics"
# Probes must never wait, so they are not counted. An endpoint whose answer never ends calls `leave_share` of
# http/context.py itself.
_WITHOUT_SHARE = frozenset({"/healthz", "/readyz"})
_METRICS_ROLE = "reader"
_WITH_LONG_LISTS = re.compile(r"/v1/relay-rules(/[^/]*)?|/v1/[a-z-]+:batch").fullmatch
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}").fullmatch
# These files are the same for all callers, and have their own ETag and Cache-Control.
_IS_DOCUMENT = re.compile(r"/openapi\.json|/docs(/.*)?").fullmatch
# The operations whose endpoints read the body themselves, because mail may be long and may have other media types than
# JSON.
_READ_BY_ENDPOINT = frozenset({"submitMessage"})
_SAFE = frozenset({"GET", "OPTIONS"})
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_LISTS = (b"if-match", b"if-none-match")
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")
# The longest time in seconds for which the answer to a write waits until the change is in force.
IN_FORCE_SECONDS = 2.0
_RESPOND_ASYNC = "respond-async"


class RequestMiddleware:
    """The middleware around `app`."""

    def __init__(
        self,
        app: App,
        context: AppContext,
        roles: RoleTable,
        proxies: tuple[Network, ...],
        shares: RequestShares,
    ) -> None:
        self._app = app
        self._roles = roles
        self._context = context
        self._proxies = proxies
        self._shares = shares

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # The request is handled as GET. The HTTP server still knows that it was HEAD, and sends only the header of
            # the answer (RFC 9110 9.3.2).
            scope = {**scope, "method": "GET"}
        passage = _RequestScope(scope, send, self._record, self._in_force)
        scope["posthouse.app_context"] = self._context
        try:
            await self._admit(passage, receive)
        except Problem as problem:
            await passage.answer(problem)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the last resort: nothing of it may reach the client
            await passage.answer(outage(error) or _fault_of_ours(passage, error))
        finally:
            self._leave_share(passage)
        REQUESTS.labels(passage.operation, str(passage.status)).inc()
        REQUEST_SECONDS.labels(passage.operation).observe(time.monotonic() - passage.began)

    async def _admit(self, passage: _RequestScope, receive: Receive) -> None:
        scope = passage.scope
        peer = (scope.get("client") or ("unknown", 0))[0]
        client = client_address(peer, passage.fields("x-forwarded-for"), self._proxies)
        passage.actor = Actor("", "", client, passage.request_id)
        if scope["path"] in _WITHOUT_SHARE:
            await self._app(scope, receive, passage.send)
            return
        if scope["path"].startswith("/v1/") or scope["path"] == _METRICS:
            receive = await self._authenticate(passage, client, receive)
            passage.join_lists()
            scope["posthouse.actor"] = passage.actor
            scope["posthouse.leave_share"] = functools.partial(self._leave_share, passage)
            if scope["path"] == _METRICS:
                demand(passage.actor, _METRICS_ROLE)
            elif (route := self._roles.find(scope)) is not None:
                scope["route"], role = route
                demand(passage.actor, role)
                if passage.operation not in _READ_BY_ENDPOINT:
                    receive = await _bounded(passage, receive)
        else:
            receive = await self._enter_share(passage, UNAUTHENTICATED, receive)
        await self._app(scope, receive, passage.send)

    async def _authenticate(self, passage: _RequestScope, client: str, receive: Receive) -> Receive:
        """Authenticates the caller, and waits until a request of its key may be handled."""
        fields = passage.fields("authorization")
        # When the request has two different Authorization fields, neither is accepted.
        authorization = fields[0] if len(set(fields)) == 1 else None
        caller = self._context.access.recognise(authorization, client, passage.request_id)
        if caller is None:
            receive = await self._enter_share(passage, UNAUTHENTICATED, receive)
            caller = await self._context.access.authenticate(authorization, client, passage.request_id)
            self._leave_share(passage)
        receive_at_work = await self._enter_share(passage, caller.key_id, receive)
        if receive_at_work is not receive:
            # The key may have been changed or removed while the request waited.
            caller = self._context.access.recognise(authorization, client, passage.request_id)
            if caller is None:
                caller = await self._context.access.authenticate(authorization, client, passage.request_id)
        passage.actor = caller
        return receive_at_work

    async def _enter_share(self, passage: _RequestScope, key_id: str, receive: Receive) -> Receive:
        receive = await self._shares.enter(key_id, receive)
        passage.share = key_id
        return receive

    def _leave_share(self, passage: _RequestScope) -> None:
        if passage.share is not None:
            self._shares.leave(passage.share)
            passage.share = None

    async def _in_force(self, passage: _RequestScope) -> Headers:
        """Waits until the change of the request is in force. Returns header fields that say whether it is in force."""
        revisions = passage.actor.revisions
        if not revisions:
            return []
        # A request that waits here does not slow down others, so it no longer counts among the concurrent requests of
        # its key.
        self._leave_share(passage)
        seconds = 0.0 if passage.is_async else IN_FORCE_SECONDS
        behind = await self._context.watchers.wait(max(revisions), seconds)
        in_force = f"false; waiting={','.join(behind)}" if behind else "true"
        applied = [(b"preference-applied", _RESPOND_ASYNC.encode())] if passage.is_async else []
        return [(b"posthouse-in-force", in_force.encode("ascii", "replace")), *applied]

    async def _record(self, passage: _RequestScope) -> None:
        """Writes the audit entry. This is done before the answer is sent, so that a client that got an answer can rely
        on the entry. Only when the database fails is the entry lost, which the log reports.
        """
        status, operation, scope = passage.status, passage.operation, passage.scope
        refused = status in (401, 403) or (scope["method"] not in _SAFE and status >= 400)
        # A change of settings already has an entry from its own transaction. Endpoints mark other actions, such as
        # reading the content of mail.
        acted = status < 400 and scope.get("posthouse.acted", False)
        if not scope["path"].startswith("/v1/") or status == 429 or not (refused or acted):
            return
        if status == 401 and not self._context.access.is_recorded(passage.actor.client_address):
            return
        target = str(scope.get("posthouse.target", "")) or passage.route.removeprefix("/v1/")
        try:
            await self._context.audit.add(passage.actor, operation, target, status, scope.get("posthouse.problem", ""))
        except (SQLAlchemyError, OSError) as error:
            log.warning("audit_entry_lost", operation=operation, status=status, error=type(error).__name__)


def _fault_of_ours(passage: _RequestScope, error: Exception) -> Problem:
    log.error("request_failed", operation=passage.operation, request_id=passage.request_id, exc_info=error)
    return Problem(500, "internal", "The service has failed.", "The log has the reason, with the request id.")


class _RequestScope:
    """The state of one request."""

    def __init__(
        self,
        scope: Scope,
        send: Send,
        record: Callable[[_RequestScope], Awaitable[None]],
        in_force: Callable[[_RequestScope], Awaitable[Headers]],
    ) -> None:
        self.scope = scope
        # The client may choose the id of its request, so that its log and ours have the same id.
        given_ids = [text for text in self.fields("x-request-id") if _REQUEST_ID(text)]
        self.request_id = given_ids[0] if len(given_ids) == 1 else uuid.uuid4().hex
        self.actor = Actor("", "")
        # The id of the API key among whose concurrent requests this request counts. None means that it is not counted.
        self.share: str | None = None
        self.status = 0
        self.began = time.monotonic()
        self._send = send
        self._record = record
        self._in_force = in_force
        scope["posthouse.request_id"] = self.request_id

    def fields(self, name: str) -> list[str]:
        field_name = name.encode()
        return [value.decode("latin-1") for field, value in self.scope["headers"] if field == field_name]

    def join_lists(self) -> None:
        """Joins the lines of fields that contain lists. Such a field may be sent in several lines (RFC 9110 5.3), but
        other code expects one line.
        """
        for name in _LISTS:
            if len(values := self.fields(name.decode())) > 1:
                rest = [(field, value) for field, value in self.scope["headers"] if field != name]
                self.scope["headers"] = [*rest, (name, ", ".join(values).encode("latin-1"))]

    @property
    def operation(self) -> str:
        return getattr(self.scope.get("route"), "operation_id", None) or "none"

    @property
    def route(self) -> str:
        """Returns the template of the path. The path itself is not used, because it may contain text of the client."""
        return str(getattr(self.scope.get("route"), "path_format", ""))

    @property
    def is_async(self) -> bool:
        """Whether the client does not want to wait until the change is in force (RFC 7240 4.1)."""
        preferences = [text for field in self.fields("prefer") for text in field.split(",")]
        return any(text.partition(";")[0].strip().lower() == _RESPOND_ASYNC for text in preferences)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            await self._record(self)
            message["headers"] = [
                *message.get("headers", []),
                *await self._in_force(self),
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
                *([] if _IS_DOCUMENT(self.scope["path"]) else [(b"cache-control", b"no-store")]),
                # With both fields, a proxy and this server may disagree where the body ends and the next request begins
                # (RFC 9112 6.1). So the connection is closed.
                *([(b"connection", b"close")] if self._has_two_lengths() else []),
            ]
        await self._send(message)

    def _has_two_lengths(self) -> bool:
        return bool(self.fields("content-length") and self.fields("transfer-encoding"))

    async def answer(self, problem: Problem) -> None:
        """Answers with a problem. If another answer has already begun, nothing is sent, and uvicorn closes the
        connection because this answer is incomplete.
        """
        if self.status:
            return
        self.scope["posthouse.problem"] = problem.code
        body = json.dumps(problem.as_json()).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
        ]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


async def _bounded(passage: _RequestScope, receive: Receive) -> Receive:
    """Reads the whole body, and returns a `receive` that yields it again. Raises Problem 413 above the limit, 415 for
    another media type, and 400 when the body is not JSON.
    """
    is_import = passage.scope["path"] == _IMPORT
    limit = IMPORT_OCTETS if is_import else BODY_OCTETS
    if _WITH_LONG_LISTS(passage.scope["path"]):
        limit = LONG_LIST_OCTETS
    declared = passage.fields("content-length")
    if declared and declared[0].isdigit() and int(declared[0]) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise malformed("The request ended early.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = message.get("more_body", False)
        if size > limit:
            raise _too_large(limit)
    body = b"".join(chunks)
    if body and passage.scope["method"] not in _SAFE:
        media_type = _media_type(passage)
        patches = (_MERGE_PATCH,) if passage.scope["method"] == "PATCH" else ()
        if media_type not in (_JSON, *patches, *(_YAML if is_import else ())):
            raise _unsupported("The body must be JSON.", "Send Content-Type: application/json.")
        if media_type not in _YAML:
            is_long = size > _LONG_JSON_OCTETS
            content = await asyncio.to_thread(parse_json, body) if is_long else parse_json(body)
            passage.scope[PARSED_JSON] = content
    return _Replayed(body, receive).receive


def _media_type(passage: _RequestScope) -> str:
    """Returns the media type of the body. The result is empty when the request has no media type or two different ones.
    Raises Problem 415 for a compressed body.
    """
    if any(coding.strip().lower() != "identity" for coding in passage.fields("content-encoding")):
        raise _unsupported("The body must not be compressed.", "Leave Content-Encoding out.")
    claimed = passage.fields("content-type")
    return claimed[0].partition(";")[0].strip().lower() if len(set(claimed)) == 1 else ""


def _unsupported(title: str, detail: str) -> Problem:
    return Problem(415, "unsupported-media-type", title, detail)


def parse_json(body: bytes) -> Any:
    """Parses JSON in UTF-8 without NUL, with at most JSON_DEPTH levels. Repeated members are refused, because RFC 8259
    does not say which of them counts. NaN and Infinity are refused, because JSON does not have them. Raises Problem
    400.
    """
    if b"\0" in body:
        raise malformed("JSON text must not contain NUL.")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("JSON text must be UTF-8.") from None
    if _is_deeper(body, JSON_DEPTH):
        raise malformed(f"The body is nested deeper than {JSON_DEPTH} levels.")
    try:
        return json.loads(body, object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError:
        raise malformed("The body is not JSON.") from None
    except ValueError:
        # The body has a number with more digits than Python converts.
        raise malformed("The body cannot be parsed.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise malformed("A member occurs twice in an object.")
    return members


def _no_number(_: str) -> None:
    raise malformed("JSON has no infinity and no NaN.")


_OTHER_THAN_BRACKETS = bytes(octet for octet in range(256) if octet not in b"[]{}")
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")


def _is_deeper(body: bytes, levels: int) -> bool:
    """Whether arrays and objects are nested deeper than `levels`. Brackets in strings are ignored. Each pass of the
    loop removes the innermost level.
    """
    # After escapes are removed, every second piece between quotation marks is a string.
    outside_strings = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside_strings).translate(_TO_SQUARE, _OTHER_THAN_BRACKETS)
    for _ in range(levels):
        length = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if len(brackets) == length:
            break
    return b"[]" in brackets or brackets.count(b"[") > levels


class _Replayed:
    """Has a `receive` that returns a body which was already read, and then continues with the original `receive`."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", "The body is too large.", f"At most {limit} octets are allowed.")
