"""Measures the messages per second by SMTP submission and by POST /v1/messages, in turns through one suite, with 20
clients each.

    python -m bench.submission_by_http [MESSAGES]

Every SMTP client keeps its session, and every HTTP client its connection.
"""

from __future__ import annotations

import smtplib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.e2e import world
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

CLIENTS = 20
ROUNDS = 3
CONTENT = world.message(text="A line of some length, as mail has it.\n" * 50)


def by_smtp(suite: Suite, count: int) -> None:
    with smtplib.SMTP(suite.host, suite.submission_port, timeout=120) as client:
        client.starttls(context=world.no_verify())
        client.login(world.LOGIN, world.PASSWORD)
        for _ in range(count):
            client.sendmail(world.ALICE, ["bob@far.test"], CONTENT)


def by_http(suite: Suite, key: str, count: int) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "message/rfc822"}
    query = {"sender": world.ALICE, "recipient": "bob@far.test"}
    with httpx.Client(base_url=suite.api_url, headers=headers, timeout=120) as client:
        for _ in range(count):
            client.post("/v1/messages", params=query, content=CONTENT).raise_for_status()


def rate(one: Callable[[], None], messages: int) -> float:
    """Returns the messages per second of all clients together."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.monotonic()
        for done in [pool.submit(one) for _ in range(CLIENTS)]:
            done.result()
        return messages / (time.monotonic() - began)


def main() -> None:
    each = max(1, int(sys.argv[1]) // CLIENTS) if len(sys.argv) > 1 else 25
    messages = each * CLIENTS
    with SmtpSink() as sink, Suite({"CONFIG_API_MAX_REQUESTS_PER_KEY": str(CLIENTS)}) as suite:
        world.local_domain(suite)
        world.account(suite)
        world.relay_everything_to(suite, sink.port)
        world.change(suite, "/v1/settings/connection-policy", {"max_concurrent_connections": 0})
        world.until_in_force(suite)
        body = {"name": "bench", "role": "sender", "account": world.LOGIN}
        key = world.create(suite, "/v1/api-keys", body)["key"]
        for _ in range(ROUNDS):
            smtp = rate(lambda: by_smtp(suite, each), messages)
            http = rate(lambda: by_http(suite, key, each), messages)
            print(f"SMTP {smtp:7.1f}/s   HTTP {http:7.1f}/s   {http / smtp:.2f}", flush=True)


if __name__ == "__main__":
    main()
