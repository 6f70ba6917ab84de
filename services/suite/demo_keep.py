"""`posthouse demo --keep`: a temporary suite that runs for a given time, with mail that has many different results, so
that people can try its console.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import smtplib
import socket
import ssl
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from services.suite import demo_stream
from services.suite.demo_peers import MailServer
from services.suite.demo_stream import ROUND, Sending
from services.suite.demo_world import ALICE, HOST, Api, World, free_ports, running, settle_policy
from services.suite.up import SuiteError

# The clients of the demonstration are behind a proxy at this address, so that they can have any address of the
# Internet.
_PROXY = "127.0.0.77"
_SHOWN_LINES = 60
# This many messages are sent one after the other, so that pages are full within a minute. Then one is sent each second.
_FIRST_MESSAGES = 3 * len(ROUND)
_PAUSE_SECONDS = 1.0
_SMTP_SECONDS = 30.0
_MORE_UNKNOWN_RECIPIENTS = 5


async def run(minutes: float) -> int:
    """Runs until Ctrl-C, or for the given minutes. Returns the exit status, which is 1 when the suite failed."""
    console = Console(soft_wrap=True, highlight=False)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    lines: deque[str] = deque(maxlen=_SHOWN_LINES)
    console.print("Starting the suite, a name server and mail servers on loopback …")
    with tempfile.TemporaryDirectory(prefix="posthouse-demo-") as name:
        try:
            async with running(
                Path(name),
                lines.append,
                settings={"CONSOLE_PORT": str(free_ports(1)[0]), "INGRESS_PROXY_NETWORKS": f"{_PROXY}/32"},
                zone=demo_stream.ZONE,
                others=_mail_servers(),
            ) as world:
                await asyncio.to_thread(_configure, world.api)
                _welcome(console, world, minutes)
                await _until_stopped(world, stopped, minutes * 60)
                console.print("Stopping …")
        except (SuiteError, OSError) as error:
            console.print(f"posthouse demo: {error}", markup=False)
            console.print("The services said:", *map(str.rstrip, lines), sep="\n  ", markup=False)
            return 1
    return 0


async def _until_stopped(world: World, stopped: asyncio.Event, seconds: float) -> None:
    """Sends mail until the end of the demonstration. Raises SuiteError when a service can't be kept running, or when
    the API refuses a request.
    """
    waiting = [
        asyncio.create_task(stopped.wait()),
        asyncio.create_task(asyncio.sleep(seconds)),
        asyncio.create_task(world.suite.failed()),
        asyncio.create_task(_send_for_ever(world)),
    ]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _send_for_ever(world: World) -> None:
    """Sends one message after the other, and never two at the same time, so a slow machine makes this slower."""
    for number, sending in enumerate(demo_stream.stream(), 1):
        await asyncio.to_thread(_send, world, sending)
        if number % len(ROUND) == 0:
            await asyncio.to_thread(
                world.api.call, "POST", "/v1/queue/messages:hold", {"filter": {"recipient": demo_stream.BOARD}}
            )
        if number >= _FIRST_MESSAGES:
            await asyncio.sleep(_PAUSE_SECONDS)


class _ProxiedSmtp(smtplib.SMTP):
    """Connects as a client of a proxy that tells the address of the client (PROXY protocol, version 1)."""

    def __init__(self, client: str, port: int) -> None:
        self._header = f"PROXY TCP4 {client} {HOST} 40000 25\r\n".encode()
        super().__init__(HOST, port, timeout=_SMTP_SECONDS, source_address=(_PROXY, 0))

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        connected.sendall(self._header)
        return connected


def _send(world: World, sending: Sending) -> None:
    """Sends one message, which may be refused."""
    port = world.port("INGRESS_SUBMISSION_PORT" if sending.logged_in else "INGRESS_SMTP_PORT")
    with contextlib.suppress(smtplib.SMTPException, OSError), _ProxiedSmtp(sending.client, port) as client:
        client.ehlo(sending.helo)
        if sending.logged_in:
            context = ssl.create_default_context()
            # The suite's first certificate is self-signed. A real client would check the certificate.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client.starttls(context=context)
            client.ehlo(sending.helo)
            client.login("alice", world.password)
        client.send_message(sending.message(), sending.sender, [sending.recipient])


def _mail_servers() -> Mapping[str, MailServer]:
    """Returns the mail servers of other domains, by their address."""
    chance = random.Random(1)  # noqa: S311 - decides what a mail server of the demonstration answers

    def greylists(_: str) -> str:
        return "250 2.1.5 Taken" if chance.random() < 0.5 else "450 4.2.0 Greylisted, please try again later"

    return {
        demo_stream.SLOW_HOST: MailServer("mx.slow.example", reply=greylists),
        demo_stream.GONE_HOST: MailServer("mx.gone.example", reply=lambda _: "550 5.1.1 No such user here any more"),
    }


def _configure(api: Api) -> None:
    """Makes the settings that the messages of the stream need."""
    api.call(
        "POST", "/v1/accounts", {"login": "bob", "password": "not used by anybody", "addresses": [demo_stream.BOB]}
    )
    api.call("POST", "/v1/aliases", {"address": "sales@ours.example", "targets": [ALICE, demo_stream.BOB]})
    api.change(
        "/v1/settings/queue",
        {"keep_subjects": True, "retry_schedule": {"first_minutes": 0.5, "growth": 1.5, "max_minutes": 5}},
    )
    api.change("/v1/settings/sender-policy", {"reject_non_fqdn_sender": "enforce"})
    api.change(
        "/v1/settings/advanced-security",
        {"reject_non_fqdn_helo": "shadow", "max_unknown_recipients_per_day": _MORE_UNKNOWN_RECIPIENTS},
    )
    api.change(
        "/v1/settings/content-checks", {"dnsbl": {"mode": "enforce", "zones": [{"zone": demo_stream.BLOCK_LIST}]}}
    )
    for rule in (
        {"name": "prizes", "list": "block", "criterion": "domain", "value": "winner.example"},
        {
            "name": "newsletters, on trial",
            "list": "block",
            "criterion": "domain",
            "value": "letters.example",
            "mode": "shadow",
        },
    ):
        api.call("POST", "/v1/access-rules", rule)
    settle_policy(api)
    api.settle("/v1/explain/route", {"recipient": ALICE})
    api.call("POST", f"/v1/queue/destinations/domain:{demo_stream.SUSPENDED_DOMAIN}:suspend", {"until": None})


def _welcome(console: Console, world: World, minutes: float) -> None:
    console.print(
        f"""
The console is at http://{HOST}:{world.port("CONSOLE_PORT")}
Sign in with the key in the file {world.key_file}:

  cat {world.key_file}

The API is at http://{HOST}:{world.port("CONFIG_API_PORT")}
Mail flows for {minutes:g} minutes: accepted, refused for several reasons, delivered, deferred, bounced and held.
Nothing leaves this machine. Ctrl-C ends it and removes everything.
""",
        markup=False,
    )
