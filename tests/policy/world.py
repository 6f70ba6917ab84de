"""The configuration that policy's tests use, and short forms to write other configurations."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping
from typing import Any

from argon2 import PasswordHasher
from google.protobuf.json_format import ParseDict
from posthouse.config.v1 import config_pb2

from libs.smtp.address import parse_address
from libs.smtp.address_set import bucket, bucket_of
from services.policy.rules.model import Snapshot
from services.policy.snapshot import compile_snapshot

STRANGER = "192.0.2.10"
STRANGER_V6 = "2001:db8:1:2::25"
TRUSTED = "198.51.100.7"
LOCAL = "10.1.2.3"
PASSWORD = b"correct horse"

# These are the cheapest parameters of argon2id. In production config_api chooses the cost.
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)

# The defaults of the settings, with a local domain, two relay domains, a listed recipient, two accounts, two aliases
# and a trusted network.
DEFAULTS: dict[str, Any] = {
    "revision": 7,
    "general": {
        "smtp_auth": {
            "enabled": True,
            "local_networks": ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"],
            "sender_must_match_login": True,
            "forbid_plaintext_auth_without_tls": True,
        },
        "profile": {
            "hostname": "mx.posthouse.test",
            "banner": "ESMTP",
            "max_recipients": 1000,
            "max_hops": 50,
            "max_message_size": 26_214_400,
        },
    },
    "connection_policy": {"max_concurrent_connections": 50},
    "advanced_security": {
        "reject_unauthorized_pipelining": "enforce",
        "timezone": "UTC",
        "max_junk_commands": 100,
        "max_refused_recipients": 100,
    },
    "trusted_networks": [{"id": "tn1", "networks": ["198.51.100.0/24", "2001:db8:7::/48"]}],
    "local_domains": [{"id": "ld1", "domain": "local.test"}],
    "relay_domains": [
        {"id": "rd1", "domain": "relay.test"},
        {"id": "rd2", "domain": "listed.test", "existing_recipients": "list"},
    ],
    "recipients": ["Ann@listed.test"],
    "accounts": [
        {"id": "a1", "login": "alice", "addresses": ["alice@local.test", "alice.b@local.test"]},
        {"id": "a2", "login": "bob", "addresses": ["bob@local.test"]},
    ],
    "aliases": [
        {"id": "al1", "address": "info@local.test", "targets": ["alice@local.test"]},
        {"id": "al2", "address": "forward@local.test", "targets": ["ann@elsewhere.test"]},
    ],
}

_MODES = {"off", "shadow", "enforce"}
_ENUMERATIONS = {"list": "LIST", "criterion": "CRITERION", "action": "BLOCK_ACTION"}


def settings(changes: Mapping[str, Any] | None = None) -> config_pb2.PolicySnapshot:
    """Merges `changes` into DEFAULTS: mappings are merged, all other values are replaced.

    `recipients` contains the addresses of listed recipients. A mode is written as off, shadow or enforce, and an access
    rule as {id, list: block, criterion: ip, value, action: reject}.
    """
    merged = _merged(copy.deepcopy(DEFAULTS), changes or {})
    merged["recipients"] = _buckets(merged["recipients"])
    for kind in ("local_domains", "relay_domains"):
        merged[kind] = [_domain(domain) for domain in merged[kind]]
    merged["access_rules"] = [_access_rule(rule) for rule in merged.get("access_rules", [])]
    for account in merged["accounts"]:
        account.setdefault("password_hash", CHEAP.hash(PASSWORD))
    return ParseDict(_modes(merged), config_pb2.PolicySnapshot())


def snapshot(changes: Mapping[str, Any] | None = None) -> Snapshot:
    return compile_snapshot(settings(changes))


def _domain(domain: Mapping[str, Any]) -> dict[str, Any]:
    if "existing_recipients" not in domain:
        return dict(domain)
    return {**domain, "existing_recipients": f"EXISTING_RECIPIENTS_{domain['existing_recipients'].upper()}"}


def _buckets(addresses: list[str]) -> list[dict[str, Any]]:
    keys = [parse_address(address).local_key().encode() for address in addresses]
    numbers = sorted({bucket_of(key) for key in keys})
    return [
        {
            "number": number,
            "keys": base64.b64encode(bucket(key for key in keys if bucket_of(key) == number)).decode(),
        }
        for number in numbers
    ]


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in changes.items():
        if isinstance(value, Mapping):
            base[name] = _merged(base.get(name, {}), value)
        else:
            base[name] = value
    return base


def _access_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    written = dict(rule)
    for name, prefix in _ENUMERATIONS.items():
        if name in written:
            written[name] = f"{prefix}_{written[name].upper()}"
    written.setdefault("mode", "enforce")
    return written


def _modes(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _modes(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_modes(each) for each in value]
    return f"MODE_{value.upper()}" if isinstance(value, str) and value in _MODES else value
