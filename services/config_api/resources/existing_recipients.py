"""Warnings about how a local domain or relay domain finds out which recipients exist."""

from __future__ import annotations

from collections.abc import Sequence

from services.config_api.resources.description import MOST_MATCHES, CheckContext, Finding


async def existing_recipients(domain: str, recipients: str, check_context: CheckContext) -> Sequence[Finding]:
    """Warns when mail for unknown recipients is accepted, or when a list is empty."""
    if recipients == "any":
        # Accepted mail for unknown addresses causes backscatter (F36).
        return [
            Finding(
                "/recipients",
                "any_recipient",
                "Mail for addresses that do not exist is accepted too, and then returned to senders that may be "
                "forged.",
            )
        ]
    if recipients == "list" and not await check_context.matching("recipients", "domain", domain):
        return [Finding("/recipients", "empty_list", "No address of the domain is listed at /v1/recipients yet.")]
    return ()


async def listed_recipients(domain: str, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about listed recipients at a domain that is removed, because they stay in the list."""
    number = len(await check_context.matching("recipients", "domain", domain))
    if not number:
        return ()
    many = f"{MOST_MATCHES} or more" if number >= MOST_MATCHES else str(number)
    return [Finding("", "domain_of_recipients", f"Listed recipients at this domain, which are not removed: {many}.")]
