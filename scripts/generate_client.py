"""Generates the Python client of the HTTP API from openapi.json into clients/python. With `--check`, compares the
committed files instead.

    generate_client.py [--check]

The files that are written by hand (`__init__`, `errors`, `posthouse`) are in the same package and are not changed.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "clients" / "python"
PACKAGE = CLIENT / "posthouse_client"
GENERATED = ("api", "models", "client.py", "types.py")


def generate(target: Path) -> None:
    """Writes the generated files of the client into a new folder."""
    _run(
        *("openapi-python-client", "generate", "--path", ROOT / "openapi.json", "--output-path", target),
        *("--meta", "none", "--config", CLIENT / "generator.yaml", "--custom-template-path", CLIENT / "templates"),
        # A warning means that the generator left out a part of the API.
        "--fail-on-warning",
    )
    (target / "__init__.py").unlink()
    (target / "errors.py").unlink()
    _run(
        "ruff", "check", "--isolated", "--quiet", "--fix", "--select", "F401,I,UP", "--target-version", "py311", target
    )
    _run("ruff", "format", "--isolated", "--quiet", "--line-length", "120", target)


def _run(program: str, *arguments: str | Path) -> None:
    process = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], capture_output=True, text=True, check=False
    )
    if process.returncode != 0:
        raise SystemExit(f"generate_client: {program} failed:\n{process.stdout}{process.stderr}")


def files_below(folder: Path) -> set[Path]:
    """Returns the generated source files of a package, as paths from its folder."""
    files: set[Path] = set()
    for name in GENERATED:
        path = folder / name
        files |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return {path.relative_to(folder) for path in files}


def differences(generated: Path) -> list[str]:
    """Returns the committed files that differ from the generated ones, are missing, or are no longer generated."""
    committed_files, generated_files = files_below(PACKAGE), files_below(generated)
    differing = committed_files ^ generated_files
    differing |= {
        path
        for path in committed_files & generated_files
        if not filecmp.cmp(PACKAGE / path, generated / path, shallow=False)
    }
    return sorted(map(str, differing))


def install(generated: Path) -> None:
    """Replaces the generated files of the committed package."""
    for name in GENERATED:
        path = PACKAGE / name
        if path.is_dir():
            shutil.rmtree(path)
        shutil.move(generated / name, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail when the committed client is another")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as temporary:
        generated = Path(temporary) / "posthouse_client"
        generate(generated)
        if not check:
            install(generated)
        elif differing := differences(generated):
            listed = "\n  ".join(differing[:20])
            raise SystemExit(f"The Python client is stale: make openapi\n  {listed}")


if __name__ == "__main__":
    main()
