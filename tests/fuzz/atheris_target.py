"""Runs one target under atheris: `python -m tests.fuzz.atheris_target NAME CORPUS [libFuzzer options]`."""

from __future__ import annotations

import logging
import sys

import atheris
import structlog


def main() -> None:
    name, corpus, *options = sys.argv[1:]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with atheris.instrument_imports(include=["services.ingress", "libs.smtp"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
