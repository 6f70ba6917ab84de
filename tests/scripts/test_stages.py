"""The stages of bench/stages.py name files that exist. The share of a missing file would count as the rest."""

from __future__ import annotations

from pathlib import Path

from bench import stages

ROOT = Path(__file__).parents[2]


def test_every_path_of_a_stage_exists() -> None:
    paths = [path for table in stages._STAGES.values() for path in table if path.startswith(("services/", "libs/"))]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
