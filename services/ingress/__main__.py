"""`python -m services.ingress`: reads the environment and runs a worker, or a supervisor of several."""

from __future__ import annotations

import os

import typer

from libs.runtime import lifecycle
from libs.runtime.lifecycle import Shutdown
from libs.runtime.settings import begin
from services.ingress import supervisor, worker
from services.ingress.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


async def main(shutdown: Shutdown) -> None:
    settings = begin(Settings)
    shutdown.allow(settings.stop_seconds)
    number = os.environ.get(supervisor.NUMBER_VARIABLE)
    if number is None and settings.workers > 1:
        # Made once, before several workers would make it at the same time.
        worker.certificate_files(settings)
        await supervisor.supervise(shutdown, settings.workers, settings.stop_seconds)
    else:
        await worker.serve(settings, shutdown, int(number or 0))


@app.command()
def serve() -> None:
    """Receive mail over SMTP."""
    lifecycle.run(main)


if __name__ == "__main__":
    app()
