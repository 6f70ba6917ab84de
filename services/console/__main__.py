"""Starts the console: HTTP for browsers."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
import typer

from libs.runtime import lifecycle, self_signed, service_manager
from libs.runtime.http_connections import ConnectionGuard
from libs.runtime.http_server import HttpServer
from libs.runtime.https_certificate import Certificate
from libs.runtime.lifecycle import Background, Shutdown, StartupError
from libs.runtime.metrics import MetricsServer, show_build
from libs.runtime.settings import begin
from libs.smtp.network import counter_key
from services.console.api import api_client
from services.console.app import ENTRIES, create_app
from services.console.page import Dependencies
from services.console.session import load_sessions
from services.console.settings import Settings

log = structlog.get_logger(__name__)
_SELF_SIGNED_FILE = "console-self-signed.pem"
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


async def main(shutdown: Shutdown) -> None:
    settings = begin(Settings)
    try:
        client = api_client(settings.api_url, settings.api_ca_file)
    except OSError as error:
        raise StartupError(f"CONSOLE_API_CA_FILE can't be read: {error.strerror}") from error
    sessions = load_sessions(settings.secret_key.get_secret_value(), settings.data_dir)
    dependencies = Dependencies(sessions, client, ENTRIES, secure=settings.is_secure)
    server = http_server(settings, create_app(dependencies, settings.hosts))
    show_build("console")
    # The console is always ready: while the API does not answer, its pages say so.
    metrics = MetricsServer(dict)
    await metrics.start(settings.metrics_host, settings.metrics_port)
    background = Background(shutdown)
    background.start(server.run(), "http")
    log.info("ready", http_port=server.port, api=settings.api_url)
    service_manager.tell_ready()
    await shutdown.wait()
    await server.stop()
    await metrics.stop()
    await background.stop()
    await client.aclose()
    if background.failure is not None:
        raise StartupError(f"stopped by a fault: {type(background.failure).__name__}")


def http_server(settings: Settings, console: object) -> HttpServer:
    """Makes the HTTP server, with deadlines and a limit of connections for each client."""
    guard = ConnectionGuard(settings.max_connections_per_client, (), counter_key)
    return HttpServer(
        console,
        settings.host,
        settings.port,
        certificate=_certificate(settings),
        protocol=guard.protocol,
        besides=guard.run,
    )


def _certificate(settings: Settings) -> Certificate | None:
    if settings.tls_cert is not None and settings.tls_key is not None:
        return Certificate(settings.tls_cert, settings.tls_key)
    if settings.tls_self_signed:
        # Replicas share the folder. The chain and the key are in one file, so that a chain is never used with the key
        # of another replica.
        path = settings.data_dir / _SELF_SIGNED_FILE
        self_signed.kept_pair(path, path, "localhost", datetime.now(UTC))
        return Certificate(path, path)
    return None


@app.callback(invoke_without_command=True)
def serve() -> None:
    """Serve the pages for operators."""
    lifecycle.run(main)


if __name__ == "__main__":
    app()
