"""`python -m tests.fuzz [SECONDS]` runs every target under atheris for this time (by default 600), then hypothesis.

Findings of atheris are written to ./fuzz-findings. hypothesis prints the smallest stream that makes a target fail.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.grammar import cuts, streams
from tests.fuzz.session import run
from tests.fuzz.targets import SEEDS, TARGETS
from tests.fuzz.test_session import cut

_EXAMPLES_A_ROUND = 2_000


def main() -> int:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    findings = Path("fuzz-findings")
    findings.mkdir(exist_ok=True)
    broken = [name for name in TARGETS if not _atheris(name, seconds, findings)]
    _hypothesis(seconds)
    for name in broken:
        print(f"{name}: broken, see {findings}/{name}-*")
    return bool(broken)


def _atheris(name: str, seconds: int, findings: Path) -> bool:
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(seed)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.atheris_target", name, corpus),
                *(f"-max_total_time={seconds}", "-max_len=4096", f"-artifact_prefix={findings}/{name}-"),
            ],
            check=False,
        )
    return done.returncode == 0


def _hypothesis(seconds: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    @settings(max_examples=_EXAMPLES_A_ROUND, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(stream=streams, places=cuts, normalise=st.booleans())
    def segments_change_nothing(stream: bytes, places: list[int], normalise: bool) -> None:
        assert run(cut(stream, places), normalise=normalise) == run([stream], normalise=normalise)

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        segments_change_nothing()


if __name__ == "__main__":
    sys.exit(main())
