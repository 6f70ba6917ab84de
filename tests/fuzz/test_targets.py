"""Each fuzz target runs for a moment with hypothesis, and under atheris to check that atheris can run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

ROOT = Path(__file__).resolve().parents[2]
BOUNDED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", TARGETS)
def test_targets_accept_their_seeds(name: str) -> None:
    for seed in (*SEEDS[name], b"", b"\0", b"\xff" * 100):
        TARGETS[name](seed)


_line_ends = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n.\r\n", b".", b"..", b"x" * 99, b"y" * 102, b"z"])


@BOUNDED
@given(
    octets=st.lists(st.one_of(_line_ends, st.binary(max_size=5)), max_size=20).map(b"".join), size=st.integers(0, 20)
)
@example(octets=b".\r\n", size=1)
@example(octets=b"." + b"x" * 101 + b"\r\n.\r\n", size=0)
def test_data_and_bdat_store_the_same_content(octets: bytes, size: int) -> None:
    TARGETS["content"](bytes((size,)) + octets)


@BOUNDED
@given(octets=st.binary(max_size=200))
@pytest.mark.parametrize("name", ["proxy", "fields", "signed"])
def test_targets_accept_random_octets(name: str, octets: bytes) -> None:
    TARGETS[name](octets)


_tags = st.sampled_from([b"v=1", b"a=rsa-sha256", b"a=ed25519-sha256", b"c=relaxed", b"d=d.example", b"s=s", b"h=from"])
_odd_tags = st.one_of(
    _tags, st.sampled_from([b"bh=AAAA", b"b=AAAA", b"l=3", b"i=1", b"cv=none", b"x=1", b"t=9", b"=", b"b"])
)


@BOUNDED
@given(octets=st.lists(_odd_tags, max_size=12).map(b"; ".join))
def test_odd_signatures_do_not_pass(octets: bytes) -> None:
    TARGETS["signed"](octets + b"\nFrom: a@b.example\n\nbody\n")


@pytest.mark.parametrize("name", ["session", "content"])
def test_a_target_runs_under_atheris(name: str, tmp_path: Path) -> None:
    for number, seed in enumerate(SEEDS[name]):
        (tmp_path / str(number)).write_bytes(seed)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.atheris_target", name, str(tmp_path), "-runs=150", "-seed=1"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
