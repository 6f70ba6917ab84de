"""Existing DKIM keys can be imported in several formats. They stay secret and unchanged."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tests.config_api.service import ANY_VERSION, Service

RSA = rsa.generate_private_key(65537, 1024)
ED25519 = Ed25519PrivateKey.generate()
_SEED = ED25519.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
_PUBLIC = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
_PKCS1, _PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8
_RSA_RECORD = "v=DKIM1; k=rsa; p=" + base64.b64encode(
    RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode("ascii")
_ED25519_RECORD = "v=DKIM1; k=ed25519; p=" + base64.b64encode(_PUBLIC).decode("ascii")
KEY = {"domain": "ours.example", "selector": "a"}


def _pem(key: Any, form: PrivateFormat = _PKCS8, encryption: KeySerializationEncryption | None = None) -> str:
    return str(key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode("ascii"))


@pytest.mark.parametrize(
    ("private_key", "algorithm", "record"),
    [
        (_pem(RSA), "rsa-sha256", _RSA_RECORD),
        (_pem(RSA, _PKCS1), "rsa-sha256", _RSA_RECORD),
        (_pem(RSA).replace("\n", "\r\n"), "rsa-sha256", _RSA_RECORD),
        (_pem(ED25519), "ed25519-sha256", _ED25519_RECORD),
        (base64.b64encode(_SEED).decode("ascii"), "ed25519-sha256", _ED25519_RECORD),
        (base64.b64encode(_SEED + _PUBLIC).decode("ascii") + "\n", "ed25519-sha256", _ED25519_RECORD),
    ],
    # Without explicit ids the names of the tests would contain the keys, which differ in each process.
    ids=["pkcs8", "pkcs1", "lines of another system", "ed25519", "seed", "seed and public key"],
)
async def test_an_imported_key_of_another_program_is_used(
    on_sqlite: Service, private_key: str, algorithm: str, record: str
) -> None:
    made = await on_sqlite.make("dkim-keys", {**KEY, "private_key": private_key})
    assert (made["algorithm"], made["dns_record"]) == (algorithm, record)
    assert "private_key" not in made
    assert (await on_sqlite.get(f"/v1/dkim-keys/{made['id']}")).keys() == made.keys() - {"warnings"}
    relay, _ = await on_sqlite.relay(lambda found: len(found.dkim_keys) == 1)
    (key,) = relay.dkim_keys
    loaded = load_pem_private_key(key.private_key, None)
    assert _pem(loaded) == _pem(RSA if algorithm == "rsa-sha256" else ED25519)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"private_key": "nonsense"}, "/private_key"),
        ({"private_key": ""}, "/private_key"),
        ({"private_key": _pem(RSA)[:300]}, "/private_key"),
        ({"private_key": _pem(RSA, encryption=BestAvailableEncryption(b"x"))}, "/private_key"),
        ({"private_key": _pem(ec.generate_private_key(ec.SECP256R1()))}, "/private_key"),
        ({"private_key": base64.b64encode(_SEED + bytes(32)).decode("ascii")}, "/private_key"),
        ({"private_key": _pem(RSA), "algorithm": "ed25519-sha256"}, "/private_key"),
        ({"private_key": _pem(ED25519), "algorithm": "rsa-sha256"}, "/private_key"),
    ],
)
async def test_an_invalid_signing_key_is_refused(on_sqlite: Service, members: dict[str, str], pointer: str) -> None:
    answer = await on_sqlite.api.post("/v1/dkim-keys", json={**KEY, **members})
    assert answer.status_code == 422, answer.text
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, "private_key")]
    assert not members["private_key"] or members["private_key"][:20] not in answer.text


async def test_the_private_key_of_an_object_cannot_be_changed(on_sqlite: Service) -> None:
    made = await on_sqlite.make("dkim-keys", KEY)
    path = f"/v1/dkim-keys/{made['id']}"
    private_key = _pem(RSA)
    for answer in (
        await on_sqlite.api.patch(path, json={"private_key": private_key}, headers=ANY_VERSION),
        await on_sqlite.api.put(path, json={**KEY, "private_key": private_key}, headers=ANY_VERSION),
    ):
        assert answer.status_code == 422, answer.text
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("/private_key", "fixed")]
    assert (await on_sqlite.get(path))["dns_record"] == made["dns_record"]


async def test_a_batch_and_an_import_accept_keys_too(on_sqlite: Service) -> None:
    operations = [{"action": "create", "object": {**KEY, "private_key": _pem(RSA)}}]
    answer = await on_sqlite.api.post("/v1/dkim-keys:batch", json={"operations": operations})
    assert answer.status_code == 200, answer.text
    document = await on_sqlite.get("/v1/config:export")
    assert "PRIVATE" not in str(document)
    document["dkim_keys"].append({**KEY, "selector": "b", "private_key": _pem(ED25519)})
    answer = await on_sqlite.api.post("/v1/config:import", json=document, headers=ANY_VERSION)
    assert answer.status_code == 200, answer.text
    records = {key["selector"]: key["dns_record"] for key in (await on_sqlite.get("/v1/dkim-keys"))["items"]}
    assert records == {"a": _RSA_RECORD, "b": _ED25519_RECORD}
