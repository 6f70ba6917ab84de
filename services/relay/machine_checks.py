"""Checks of relay's own machine: its disk, clock, open files, name servers and certificate, and the DKIM records of the
keys that it signs with.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from libs.dns import name_server_check
from libs.dns.resolv_conf import ResolvConf
from libs.dns.servers import server_list
from libs.runtime.checks import Check, CheckResult, Checks, Level
from libs.runtime.machine_checks import certificate, clock, disk, name_servers, open_files
from services.relay.configuration.model import Configuration, DkimKey
from services.relay.settings import Settings

# A function that returns the TXT records of a name: empty when it has none, None when there was no answer.
LookUpText = Callable[[str], Awaitable[Sequence[str] | None]]

# The file descriptors that relay needs in addition to those of deliveries.
_OTHER_FILES = 500
# The largest number of keys that are checked.
_MOST_KEYS = 200


def checks(
    settings: Settings, folder: Path | None, configuration: Callable[[], Configuration | None], look_up: LookUpText
) -> Checks:
    """Returns the checks of relay. `folder` contains the queue. It is None when the queue is on another machine."""
    own = server_list(settings.nameservers)
    system = ResolvConf()

    def servers() -> tuple[str, ...]:
        current = configuration()
        resolvers = current.resolvers if current is not None else None
        chosen = (*resolvers.preferred, *resolvers.alternate) if resolvers is not None else ()
        return (*(own or system.addresses()), *chosen)

    by_name: dict[str, Check] = {
        "disk": disk(folder or settings.data_dir),
        "clock": clock(),
        "open_files": open_files(2 * settings.concurrency + _OTHER_FILES),
        "name_servers": name_servers(lambda: name_server_check.look((), servers)),
        "dkim_records": dkim_records(configuration, look_up),
    }
    if settings.security.tls is not None:
        by_name["grpc_certificate"] = certificate(settings.security.tls.certificate, check_id="grpc_certificate")
    return Checks(by_name)


def dkim_records(configuration: Callable[[], Configuration | None], look_up: LookUpText) -> Check:
    """Returns the check of whether the DNS record of each key is published and contains the key."""

    async def check() -> Sequence[CheckResult]:
        current = configuration()
        keys = [key for of_domain in current.dkim_keys.values() for key in of_domain] if current is not None else []
        if not keys:
            return [CheckResult("dkim_records", Level.OK, "There is no DKIM key.")]
        results = [result for key in keys[:_MOST_KEYS] if (result := await _dkim_record(key, look_up)) is not None]
        return results or [CheckResult("dkim_records", Level.OK, "The record of every DKIM key is published.")]

    return check


async def _dkim_record(key: DkimKey, look_up: LookUpText) -> CheckResult | None:
    """Returns the fault of the DNS record of a key, or None when it has none."""
    name = f"{key.selector}._domainkey.{key.domain}"
    publish = "Publish the TXT record of GET /v1/dkim-keys, or disable the key: its signatures cannot be verified."
    records = await look_up(name)
    if records is None:
        text = f"The DNS gave no answer about the DKIM record {name}."
        return CheckResult("dkim_records", Level.WARNING, text, "Check whether the name servers of the domain answer.")
    if not records:
        return CheckResult("dkim_records", Level.ERROR, f"The DKIM record {name} is not published.", publish)
    if len(records) > 1:
        text = f"There are {len(records)} TXT records at {name}, so that no signature can be verified."
        return CheckResult("dkim_records", Level.ERROR, text, "Delete all but the one that GET /v1/dkim-keys shows.")
    tags = _tags(records[0])
    kind = tags.get("k", "rsa")
    if f"{kind}-sha256" != key.algorithm or not _is_public_part(tags.get("p", ""), key):
        return CheckResult("dkim_records", Level.ERROR, f"The DKIM record {name} holds another key.", publish)
    if "y" in tags.get("t", "").split(":"):
        text = f"The DKIM record {name} says that it is for testing (t=y), so that others ignore failures."
        return CheckResult("dkim_records", Level.WARNING, text, "Remove t=y from the record.")
    return None


def _tags(record: str) -> dict[str, str]:
    """Reads the tags of a record (RFC 6376 3.2), without blanks."""
    parts = (part.partition("=") for part in record.split(";"))
    return {name.strip(): "".join(text.split()) for name, equals, text in parts if equals}


def _is_public_part(published: str, key: DkimKey) -> bool:
    private = load_pem_private_key(key.private_key, password=None)
    try:
        octets = base64.b64decode(published, validate=True)
        if isinstance(private, Ed25519PrivateKey):
            return octets == private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        if not isinstance(private, RSAPrivateKey):
            return False
        # RFC 6376 3.6.1 defines one form of the public key, and many publish the other one.
        public = load_der_public_key(octets)
    except (ValueError, binascii.Error):
        return False
    return public == private.public_key()
