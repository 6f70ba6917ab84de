"""Generates the protobuf and gRPC stubs beside the .proto files, or checks that the committed stubs are current."""

from __future__ import annotations

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]


def generate(proto_root: Path, out: Path) -> list[Path]:
    """Writes the stubs of every .proto below `proto_root` into `out`. Returns the paths of the stubs from `out`."""
    sources = sorted(str(path.relative_to(proto_root)) for path in proto_root.rglob("*.proto"))
    include = str(Path(protoc.__file__).parent / "_proto")
    # These are the plug-ins of this environment, independent of PATH.
    programs = Path(sys.executable).parent
    plugins = [f"--plugin={name}={programs / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    flags = ["--python_out", "--mypy_out", "--grpc_python_out", "--mypy_grpc_out"]
    status = protoc.main(
        ["protoc", f"-I{proto_root}", f"-I{include}", *plugins, *(f"{flag}={out}" for flag in flags), *sources]
    )
    if status:
        sys.exit(status)
    return sorted(path.relative_to(out) for path in out.rglob("*_pb2*.py*") if path.suffix in {".py", ".pyi"})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--check", action="store_true", help="fail when a committed stub differs")
    arguments = parser.parse_args()
    if not arguments.check:
        generate(arguments.root, arguments.root)
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        names = generate(arguments.root, fresh)
        committed = sorted(
            path.relative_to(arguments.root)
            for path in arguments.root.rglob("*_pb2*.py*")
            if path.suffix in {".py", ".pyi"}
        )
        _, differing, missing = filecmp.cmpfiles(fresh, arguments.root, [str(name) for name in names], shallow=False)
        stale = sorted({*differing, *missing, *(str(name) for name in set(committed) - set(names))})
    if stale:
        sys.exit("stale stubs, run `make stubs`: " + ", ".join(stale))


if __name__ == "__main__":
    main()
