"""The hook that certbot and lego call after a renewal: the certificate that it installs is used without a restart."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import trustme

from services.ingress.metrics import Metrics
from services.ingress.tls import Certificates, TlsOptions

ROOT = Path(__file__).parents[2]
HOOK = ROOT / "deploy/certificates/install-certificate"


def _renewed(folder: Path, certificates: trustme.CA, name: str, by: str) -> dict[str, str]:
    """Writes the files as the program writes them, and returns the variables with which the program calls the hook."""
    leaf = certificates.issue_cert(name)
    chain, key = (
        (folder / "fullchain.pem", folder / "privkey.pem")
        if by == "certbot"
        else (folder / "mx.test.crt", folder / "mx.test.key")
    )
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    if by == "certbot":
        return {"RENEWED_LINEAGE": str(folder)}
    return {"LEGO_CERT_PATH": str(chain), "LEGO_CERT_KEY_PATH": str(key)}


def _run(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HOOK], env={**os.environ, **variables}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("by", ["certbot", "lego"])
def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path, certificates: trustme.CA, by: str) -> None:
    installed = tmp_path / "tls"
    where = {"POSTHOUSE_TLS_DIR": str(installed), "POSTHOUSE_TLS_OWNER": getpass.getuser()}
    first = _run({**where, **_renewed(tmp_path, certificates, "old.test", by)})
    assert first.returncode == 0, first.stderr
    pair = (installed / "chain.pem", installed / "key.pem")
    shown = Certificates([pair], TlsOptions("TLSv1.2", "", True), Metrics())
    assert shown.in_use[0].names == ("old.test",)
    again = _run({**where, **_renewed(tmp_path, certificates, "new.test", by)})
    assert again.returncode == 0, again.stderr
    shown.reload()
    assert shown.in_use[0].names == ("new.test",)
    assert [path.stat().st_mode & 0o777 for path in pair] == [0o600, 0o600]
    assert sorted(path.name for path in installed.iterdir()) == ["chain.pem", "key.pem"]


def test_the_package_has_the_hook_beside_the_command(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        (name,) = [name for name in content.namelist() if name.endswith(".data/scripts/posthouse-install-certificate")]
        assert content.read(name) == HOOK.read_bytes()
        # The upper 16 bits of the attributes are the mode of the file.
        assert content.getinfo(name).external_attr >> 16 & 0o111


def test_the_image_is_built_with_the_hook() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = lines.index("COPY deploy/certificates deploy/certificates")
    installed = next(number for number, line in enumerate(lines) if "--no-deps --python /opt/posthouse" in line)
    assert copied < installed
    assert "!deploy/certificates" in (ROOT / ".dockerignore").read_text().splitlines()


def test_the_hook_without_variables_of_a_program_fails_and_installs_nothing(tmp_path: Path) -> None:
    done = _run({"POSTHOUSE_TLS_DIR": str(tmp_path / "tls")})
    assert (done.returncode, "RENEWED_LINEAGE" in done.stderr) == (2, True)
    assert not (tmp_path / "tls").exists()
