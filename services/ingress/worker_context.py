"""The objects that all sessions of a worker share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from services.ingress.clients.policy import PolicyClient
from services.ingress.clients.relay import RelayClient
from services.ingress.content import Content
from services.ingress.content_facts import ArcChain, DkimSignature, SpamScan, VirusScan
from services.ingress.handler.hooks import Hooks
from services.ingress.limits import Limits
from services.ingress.mail_log import MailLog
from services.ingress.metrics import Metrics
from services.ingress.outage_log import Outage
from services.ingress.spam import Question
from services.ingress.tls import Certificates
from services.ingress.verdict import Checks, Rspamd


class ContentChecker(Protocol):
    """Runs the checks that policy asked for."""

    async def run(
        self, wanted: Checks, content: Content, client_address: str
    ) -> tuple[tuple[DkimSignature, ...] | None, ArcChain | None, VirusScan | None]:
        """Runs the checks. Never raises: a failure is a result of the check."""

    async def ask_rspamd(self, rspamd: Rspamd, question: Question, content: Content) -> SpamScan:
        """Asks rspamd about a message. Never raises: a failure is a result of the check."""


@dataclass(slots=True)
class WorkerContext:
    """The clients, limits and metrics of the worker. `spool` is the folder for content that is too large for memory."""

    policy: PolicyClient
    relay: RelayClient
    certificates: Certificates
    checker: ContentChecker
    limits: Limits
    metrics: Metrics
    mail_log: MailLog
    spool: Path
    # None means that the site has no handler.
    hooks: Hooks | None = None
    # Whether the worker is stopping. While it stops, connections of idle clients are closed, and no transaction begins.
    draining: bool = False
    policy_outage: Outage = field(default_factory=lambda: Outage("policy_unavailable", "policy_available"))
    relay_outage: Outage = field(default_factory=lambda: Outage("submission_not_stored", "submissions_stored"))
