"""`python -m services.ingress`: reads the environment and runs a worker, or a supervisor of several."""

from __future__ import annotations

import os

import typer

from libs.runtime import lifecycle
from libs.runtime.lifecycle import Shutdown, StartupError
from libs.runtime.ports import unavailable_reason
from libs.runtime.settings import begin
from services.ingress import supervisor, worker
from services.ingress.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


async def main(shutdown: Shutdown) -> None:
    settings = begin(Settings)
    shutdown.allow(settings.stop_seconds)
    number = os.environ.get(supervisor.NUMBER_VARIABLE)
    if number is None:
        _check_ports(settings)
    if number is None and settings.workers > 1:
        # The certificate is made here and not in the workers, because several workers would make it at the same time.
        worker.certificate_files(settings)
        await supervisor.supervise(shutdown, settings.workers, settings.stop_seconds)
    else:
        await worker.serve(settings, shutdown, int(number or 0))


def _check_ports(settings: Settings) -> None:
    """Checks that the ports are free, before any file is written (F16). The check is needed because workers would share
    a port with the workers of another ingress (F15).
    """
    ports = {
        "smtp": settings.smtp_port,
        "submission": settings.submission_port,
        "submissions": settings.smtps_port,
    }
    for name, port in ports.items():
        for host in settings.hosts:
            reason = unavailable_reason(host, port) if port else ""
            if reason:
                raise StartupError(f"can't listen for {name} on {host} port {port}: {reason}")


@app.command()
def serve() -> None:
    """Receive mail over SMTP."""
    lifecycle.run(main)


if __name__ == "__main__":
    app()
