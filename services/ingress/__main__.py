"""`python -m services.ingress`: reads the environment and runs a worker, or a supervisor of several."""

from __future__ import annotations

import os
import sys

from pydantic import ValidationError

from libs.runtime import lifecycle, logging
from libs.runtime.lifecycle import Shutdown
from services.ingress import supervisor, worker
from services.ingress.settings import Settings


def main() -> None:
    try:
        settings = Settings()
        logging.configure("ingress", settings.log_level)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        sys.exit(f"ingress: {problems}")
    except ValueError as error:
        sys.exit(f"ingress: {error}")
    number = os.environ.get(supervisor.NUMBER_VARIABLE)

    async def run(shutdown: Shutdown) -> None:
        if number is None and settings.workers > 1:
            # Made once, before several workers would make it at the same time.
            worker.certificate_files(settings)
            await supervisor.supervise(shutdown, settings.workers, settings.drain_seconds + 5.0)
        else:
            await worker.serve(settings, shutdown, int(number or 0))

    lifecycle.run(run)


if __name__ == "__main__":
    main()
