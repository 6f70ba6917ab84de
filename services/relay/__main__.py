"""Starts relay. `migrate` as its argument only brings the queue's database up to date."""

from __future__ import annotations

import gc
import random
import sys

from libs.runtime import lifecycle, logging, processors, tracing
from libs.runtime.lifecycle import Shutdown, StartupError
from services.relay import settings as environment
from services.relay.clock import Clock
from services.relay.delivery import open_transport
from services.relay.process import Relay
from services.relay.queue.database import open_database


async def main(shutdown: Shutdown) -> None:
    settings = environment.load()
    try:
        logging.configure("relay", settings.log_level)
    except ValueError as error:
        raise StartupError(f"RELAY_LOG_LEVEL: {error}") from None
    tracing.configure("relay")
    database = open_database(settings.url)
    try:
        await database.open()
        if sys.argv[1:] == ["migrate"]:
            return
        _settle_down(settings.cpus)
        try:
            transport = open_transport(settings.delivery_options())
        except ValueError as error:
            raise StartupError(f"RELAY_NAMESERVERS: {error}") from None
        chance = random.Random()  # noqa: S311 - spreads load, guards nothing
        relay = Relay(settings, database, shutdown, transport, Clock(), chance)
        await relay.open()
        try:
            await relay.start()
            _calm_collector()
            await shutdown.wait()
        finally:
            await relay.close()
    finally:
        await database.close()


def _settle_down(cpus: str) -> None:
    """After the queue's threads were started, which go where there is room, and before gRPC's, which stay here."""
    try:
        if cpus:
            processors.keep_to(processors.parse(cpus))
    except ValueError as error:
        raise StartupError(f"RELAY_CPUS: {error}") from None


def _calm_collector() -> None:
    """What was loaded so far stays for good: the cyclic collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


if __name__ == "__main__":
    lifecycle.run(main)
