"""The endpoint `/v1/status`: shows the running services, their connections, and warnings."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from services.config_api.changes.editor import time_text
from services.config_api.clients import Neighbour
from services.config_api.http.context import app_context, needs
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.operations.status.schemas import MailCertificate, ServiceReplica, Status, StatusWarning
from services.config_api.resources.general import FALLBACK_HOSTNAME
from services.config_api.storage.documents import Document, Store
from services.config_api.storage.replicas import ReplicaRow
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["status"], route_class=Route)

_PATHS = 20


@router.get(
    "/v1/status",
    operation_id="getStatus",
    summary="Get services, replicas, versions, and warnings",
    responses={200: {"model": Status}, **problem_responses()},
)
async def get_status(request: Request, _: Annotated[Actor, Depends(needs("reader"))]) -> Response:
    """Asks every replica that config_api knows for its state, and searches for settings that are probably a mistake."""
    found = app_context(request)
    services = [
        ServiceReplica(
            service=replica.service,
            address=replica.address,
            transport=replica.transport,
            state=replica.state,
            version=replica.version,
            revision=replica.revision,
        )
        for replica in (
            found.neighbours.own(found.snapshots.cache.revision),
            *map(_sibling, found.sharing.siblings if found.sharing is not None else ()),
            *await found.neighbours.look(),
        )
    ]
    warnings = await _of_settings(found.store)
    if any(replica.transport == "plain_tcp" for replica in services):
        warnings.append(_warning("insecure_grpc", "gRPC is open to every user of this machine."))
    if os.geteuid() == 0:
        warnings.append(_warning("running_as_root", "config_api runs as root, although nothing in it needs this."))
    certificates = [
        MailCertificate(
            file=certificate.file,
            names=list(certificate.names),
            ends_at=time_text(int(certificate.ends_at) * 1_000_000),
            replicas=sorted(replicas),
        )
        for certificate, replicas in (await found.neighbours.certificates()).items()
    ]
    certificates.sort(key=lambda each: each.ends_at)
    status = Status(services=services, certificates=certificates, warnings=warnings)
    return JSONResponse(status.model_dump(mode="json"))


def _sibling(row: ReplicaRow) -> Neighbour:
    """Returns the state of another config_api process, which has recently renewed its row in the database."""
    transport: Any = row.transport
    return Neighbour("config_api", row.address, transport, "ready", row.version, row.revision)


async def _of_settings(store: Store) -> list[StatusWarning]:
    warnings = []
    general = await store.get("settings/general", "settings/general")
    if general is None or general.body["profile"]["hostname"] == FALLBACK_HOSTNAME:
        text = (
            "The hostname is the default one: other servers refuse mail from it. "
            "`posthouse config set general.profile.hostname=NAME` sets it."
        )
        warnings.append(_warning("default_hostname", text, ["/v1/settings/general"]))
    delivery = await store.get("settings/delivery", "settings/delivery")
    unverified = ["/v1/settings/delivery"] if delivery is not None and _is_unverified(delivery) else []
    unverified += [f"/v1/relay-rules/{rule.id}" for rule in await store.all("relay-rules") if _is_unverified(rule)]
    if unverified:
        text = (
            "The certificate of these relay hosts is not verified: an attacker on the way can read mail and passwords."
        )
        warnings.append(_warning("unverified_certificate", text, unverified))
    domains = await store.all("relay-domains")
    unlimited = [f"/v1/relay-domains/{each.id}" for each in domains if _is_unlimited(each)]
    if unlimited:
        text = "These relay domains accept mail for any recipient, and return the mail that their own server refuses."
        warnings.append(_warning("unlimited_relay_domain", text, unlimited))
    return warnings


def _is_unverified(document: Document) -> bool:
    """Whether an operator has turned the verification off. The stored body is used, because it contains no defaults."""
    relay_host = document.stored.get("relay_host") or {}
    return relay_host.get("verify_certificate") is False


def _is_unlimited(document: Document) -> bool:
    return bool(document.body["enabled"]) and document.body["recipients"] == "any"


def _warning(code: str, detail: str, paths: list[str] | None = None) -> StatusWarning:
    paths = paths or []
    return StatusWarning.model_validate({"code": code, "detail": detail, "paths": paths[:_PATHS], "count": len(paths)})
