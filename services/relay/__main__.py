"""Starts relay, or only brings the queue's database up to date."""

from __future__ import annotations

import gc
import random

import structlog
import typer

from libs.runtime import lifecycle, processors, tracing
from libs.runtime.lifecycle import Shutdown, StartupError, wait_for_server
from libs.runtime.settings import begin
from services.relay.clock import Clock
from services.relay.delivery import open_transport
from services.relay.process import Relay
from services.relay.queue.database import open_database
from services.relay.settings import Settings

log = structlog.get_logger(__name__)
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


async def main(shutdown: Shutdown) -> None:
    settings = begin(Settings)
    shutdown.allow(settings.stop_seconds)
    tracing.configure("relay")
    database = open_database(settings.url)
    try:
        await wait_for_server(database.open, shutdown)
        _pin_to_processors(settings.cpus)
        try:
            transport = open_transport(settings.delivery_options())
        except ValueError as error:
            raise StartupError(f"RELAY_NAMESERVERS: {error}") from None
        rng = random.Random()  # noqa: S311 - spreads load, guards nothing
        relay = Relay(settings, database, shutdown, transport, Clock(), rng)
        await relay.open()
        try:
            await relay.start()
            _freeze_garbage_collector()
            await shutdown.wait()
        finally:
            await relay.close()
    finally:
        await database.close()


def _pin_to_processors(cpus: str) -> None:
    """Limits this thread to the given processors. The queue's threads are started already, and may use other
    processors. The threads of gRPC are started later, and stay on the processors of this thread.
    """
    try:
        if cpus:
            processors.set_affinity(processors.parse(cpus))
    except ValueError as error:
        raise StartupError(f"RELAY_CPUS: {error}") from None


def _freeze_garbage_collector() -> None:
    """Exempts everything that is loaded by now from garbage collection, because it stays for the life of the
    process.
    """
    gc.collect()
    gc.freeze()


async def _migrate(shutdown: Shutdown) -> None:
    database = open_database(begin(Settings).url)
    try:
        await wait_for_server(database.open, shutdown)
        log.info("database_is_current")
    finally:
        await database.close()


@app.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Run the queue and deliver its messages."""
    if context.invoked_subcommand is None:
        lifecycle.run(main)


@app.command()
def migrate() -> None:
    """Bring the schema of the queue's database up to date, and exit."""
    lifecycle.run(_migrate)


if __name__ == "__main__":
    app()
