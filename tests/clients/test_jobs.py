"""The jobs of clients/README.md: each client is generated, compiled, and used on a running suite."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.clients.conftest import RunJob, run
from tests.peers.suite import ROOT

BIN = Path(sys.executable).parent
CLIENTS = ROOT / "clients"
GENERATOR = ROOT / ".venv" / "openapi-generator" / "openapi_generator_cli" / "openapi-generator.jar"
JAVA_ANNOTATIONS = Path("/usr/share/java/jakarta-annotation-api.jar")
GO_VALIDATOR = Path("/usr/share/gocode/src/gopkg.in/validator.v2")


def test_the_client_that_is_shipped_does_the_job(run_job: RunJob, tmp_path: Path) -> None:
    """The job runs only with the dependencies that the client's wheel declares, and with nothing else of Posthouse."""
    run([BIN / "uv", "build", "--wheel", "--no-build-isolation", "--out-dir", tmp_path, CLIENTS / "python"], ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "installed"
    run([BIN / "uv", "pip", "install", "--no-deps", "--target", target, wheel], tmp_path)
    shutil.copy(CLIENTS / "python" / "job.py", target)
    run([BIN / "mypy", "--strict", "--follow-imports", "silent", "--config-file=", "job.py"], target)
    run_job("python.test", [sys.executable, "job.py"], target)


def test_the_client_of_openapi_python_client_does_the_job(run_job: RunJob, tmp_path: Path) -> None:
    run(
        [
            *(BIN / "openapi-python-client", "generate", "--path", ROOT / "openapi.json", "--fail-on-warning"),
            *("--meta", "none", "--config", CLIENTS / "python" / "generator.yaml"),
            *("--output-path", tmp_path / "posthouse_api_client"),
        ],
        ROOT,
    )
    shutil.copy(CLIENTS / "openapi-python-client" / "job.py", tmp_path)
    run([BIN / "mypy", "--strict", "--follow-imports", "silent", "--config-file=", "job.py"], tmp_path)
    run_job("stock-python.test", [sys.executable, "job.py"], tmp_path)


def test_the_client_of_openapi_typescript_does_the_job(run_job: RunJob, tmp_path: Path) -> None:
    shutil.copytree(
        CLIENTS / "typescript",
        tmp_path,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("node_modules", "build", "generated"),
    )
    run(["npm", "ci", "--no-audit", "--no-fund"], tmp_path)
    options = ("--default-non-nullable=false", "--output", "generated/api.ts")
    run(["npx", "openapi-typescript", ROOT / "openapi.json", *options], tmp_path)
    run(["npx", "tsc"], tmp_path)
    run_job("typescript.test", ["node", "build/job.js"], tmp_path)


def test_the_java_client_of_openapi_generator_does_the_job(run_job: RunJob, tmp_path: Path) -> None:
    generate("java", tmp_path / "client")
    class_path = f"{GENERATOR}:{JAVA_ANNOTATIONS}"
    sources = [
        *map(str, sorted((tmp_path / "client" / "src" / "main").rglob("*.java"))),
        str(CLIENTS / "java/Job.java"),
    ]
    (tmp_path / "sources").write_text("\n".join(sources))
    run(["javac", "-nowarn", "-cp", class_path, "-d", tmp_path / "classes", "@sources"], tmp_path)
    run_job("java.test", ["java", "-cp", f"{tmp_path / 'classes'}:{class_path}", "Job"], tmp_path)


def test_the_go_client_of_openapi_generator_does_the_job(run_job: RunJob, tmp_path: Path) -> None:
    """Go's modules come from Debian's packages, so the test downloads nothing."""
    shutil.copytree(CLIENTS / "go", tmp_path, dirs_exist_ok=True)
    generate(
        "go", tmp_path / "client", "--git-host", "posthouse.example", "--git-user-id", "", "--git-repo-id", "client"
    )
    (tmp_path / "client" / "go.mod").write_text("module posthouse.example/client\n\ngo 1.18\n")
    shutil.rmtree(tmp_path / "client" / "test", ignore_errors=True)
    shutil.copytree(GO_VALIDATOR, tmp_path / "validator")
    (tmp_path / "validator" / "go.mod").write_text("module gopkg.in/validator.v2\n\ngo 1.18\n")
    run(["go", "mod", "edit", "-replace", "gopkg.in/validator.v2=./validator"], tmp_path)
    offline = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GONOSUMDB": "*", "GOCACHE": str(tmp_path / "cache")}
    run(["go", "build", "-o", "job", "."], tmp_path, **offline)
    run(["go", "vet", "./..."], tmp_path, **offline)
    run_job("go.test", ["./job"], tmp_path)


def generate(language: str, folder: Path, *options: str) -> None:
    document, settings = ROOT / "openapi.json", CLIENTS / language / "generator.yaml"
    command: list[str | Path] = ["java", "-jar", GENERATOR, "generate", "-g", language, "-i", document, "-o", folder]
    run([*command, "-c", settings, *options], ROOT)
