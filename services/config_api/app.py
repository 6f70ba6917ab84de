"""Makes the HTTP application: all routers, and handlers that answer every error with problem details."""

from __future__ import annotations

import asyncio
import functools
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from libs.runtime.metrics import report
from services.config_api.history.audit import endpoints as audit
from services.config_api.history.revisions import endpoints as revisions
from services.config_api.history.transfer import endpoints as transfer
from services.config_api.http import openapi, responses
from services.config_api.http.batch_routes import BATCHED, batch_router
from services.config_api.http.context import AppContext, app_context
from services.config_api.http.documents import ServedFile, page_files
from services.config_api.http.middleware import App, RequestMiddleware
from services.config_api.http.request_shares import RequestShares
from services.config_api.http.resource_routes import collection_router, singleton_router
from services.config_api.http.roles import FoundRoute, RoleTable
from services.config_api.operations.api_keys import endpoints as api_keys
from services.config_api.operations.blocked_clients import endpoints as blocked_clients
from services.config_api.operations.checks import endpoints as checks
from services.config_api.operations.events import endpoints as events
from services.config_api.operations.events.schemas import MailEvent
from services.config_api.operations.explain import endpoints as explain
from services.config_api.operations.queue import endpoints as queue
from services.config_api.operations.relay_hosts import endpoints as relay_hosts
from services.config_api.operations.statistics import endpoints as statistics
from services.config_api.operations.status import endpoints as status
from services.config_api.operations.submission import endpoints as submission
from services.config_api.operations.submission.schemas import MessageToSend
from services.config_api.operations.webhooks import endpoints as webhooks
from services.config_api.problems import MEDIA_TYPE, Problem, from_pydantic, malformed
from services.config_api.resources.catalogue import COLLECTIONS, SINGLETONS
from services.config_api.settings import Settings
from services.config_api.storage.database import outage
from services.config_api.storage.idempotency import ReplayResponse


def create_app(settings: Settings, served: AppContext) -> App:
    """Makes the application for uvicorn: FastAPI inside the middleware."""
    api = describe_app()
    shares = RequestShares(settings.max_requests_per_key)
    app: App = RequestMiddleware(api, served, RoleTable(api.state.routes), settings.proxies, shares)
    origins = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
    if origins:
        # The CORS handling encloses the middleware, so that a browser can also read the answers that the middleware
        # sends.
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-Match",
                "If-None-Match",
                "Last-Event-ID",
                "Prefer",
                "X-Request-Id",
            ],
            expose_headers=[
                "ETag",
                "Idempotency-Replayed",
                "Location",
                "Posthouse-In-Force",
                "Preference-Applied",
                "Retry-After",
                "WWW-Authenticate",
                "X-Request-Id",
            ],
        )
    return app


@functools.cache
def describe_app() -> FastAPI:
    """Makes FastAPI with all routes. Endpoints get the objects that they need with each request, so the OpenAPI
    document can be made without these objects.
    """
    app = FastAPI(
        title="Posthouse",
        version=openapi.API_VERSION,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        strict_content_type=False,
        redirect_slashes=False,
    )
    routers = (
        *map(singleton_router, SINGLETONS),
        *map(collection_router, COLLECTIONS),
        *map(batch_router, BATCHED),
        *(
            noun.router
            for noun in (
                queue,
                blocked_clients,
                explain,
                relay_hosts,
                api_keys,
                revisions,
                transfer,
                audit,
                status,
                statistics,
                checks,
                events,
                webhooks,
                submission,
            )
        ),
    )
    app.router.routes.append(FoundRoute())
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    app.state.schemas = (MailEvent, MessageToSend)
    _add_probes(app)
    _add_documents(app)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(ReplayResponse, _replay)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(OSError, _database)
    app.add_exception_handler(Exception, _internal)
    return app


def render(request: Request, problem: Problem) -> Response:
    request.scope["posthouse.problem"] = problem.code
    return JSONResponse(problem.as_json(), problem.status, problem.headers, MEDIA_TYPE)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for it
    return render(request, error)


async def _replay(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReplayResponse)  # noqa: S101 - registered for it
    # The first request with this idempotency key already has an entry in the audit log.
    request.scope["posthouse.acted"] = False
    return responses.kept(error.answer, again=True)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    return render(request, from_pydantic(error.errors(), error.body))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if error.status_code == 404:
        return render(request, Problem(404, "not-found", "This path does not exist."))
    if error.status_code == 405:
        allowed = {"Allow": ", ".join(_methods(request))}
        return render(
            request, Problem(405, "method-not-allowed", "This path does not accept this method.", headers=allowed)
        )
    if error.status_code < 500:
        return render(request, malformed("The body cannot be parsed."))
    return render(request, Problem(error.status_code, "internal", "The service has failed."))


def _methods(request: Request) -> list[str]:
    """Returns all methods of the path. Starlette would return only those of the first route."""
    methods: set[str] = set()
    for route in request.app.state.routes:
        match, _ = route.matches(request.scope)
        if match != Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    # Paths outside the API only have GET.
    methods = methods or {"GET"}
    # The middleware changes HEAD to GET.
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def _internal(request: Request, _: Exception) -> Response:
    """Answers 500 after an unexpected error, which the middleware logs."""
    return render(
        request, Problem(500, "internal", "The service has failed.", "The log has the reason, with the request id.")
    )


async def _database(request: Request, error: Exception) -> Response:
    problem = outage(error)
    if problem is None:
        raise error
    return render(request, problem)


def _add_documents(app: FastAPI) -> None:
    @functools.cache
    def document() -> ServedFile:
        return ServedFile.of(openapi.compact(openapi.document(app)).encode(), "application/json")

    @app.get("/openapi.json", include_in_schema=False)
    async def show_document(request: Request) -> Response:
        # The first call takes a second or more to make the document.
        return (await asyncio.to_thread(document)).answer(request)

    @app.get("/docs", include_in_schema=False)
    @app.get("/docs/{name}", include_in_schema=False)
    async def show_page(request: Request) -> Response:
        file = (await asyncio.to_thread(page_files)).get(request.url.path)
        if file is None:
            raise HTTPException(404)
        return file.answer(request)

    @app.get("/", include_in_schema=False)
    async def show_places(request: Request) -> Response:
        return JSONResponse(_places(app_context(request).console_url))


def _places(console_url: str) -> dict[str, str]:
    """Returns the body of the answer to `/`: the addresses of the API, its document and the console."""
    console = {"console": console_url} if console_url else {}
    return {
        **console,
        "name": "Posthouse",
        "version": version("posthouse"),
        "api_version": openapi.API_VERSION,
        "api": "/v1",
        "openapi": "/openapi.json",
        "documentation": "/docs",
        "status": "/v1/status",
        "liveness": "/healthz",
        "readiness": "/readyz",
        "metrics": "/metrics",
    }


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", include_in_schema=False)
    async def readyz(request: Request) -> Response:
        status, report_fields = report(app_context(request).readiness, optional=("grpc",))
        return JSONResponse(report_fields, status)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
