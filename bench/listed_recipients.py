"""Measures the cost of a decision about a listed recipient, and the growth of policy's memory, with lists of several
lengths.

    python -m bench.listed_recipients [--lengths 1000,1000000] [--decisions 100000]

Each length runs in a separate process on one processor. The snapshot is compiled from the octets that config_api sends.
Then this process decides about recipients in random order, without gRPC. Half of them are not on the list. Policy
remembers the facts of addresses. So there are two figures: for 2,000 recipients that are repeated, and for recipients
whose facts are not remembered, so that policy must search the list.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import statistics
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path

from posthouse.config.v1 import config_pb2
from posthouse.policy.v1 import policy_pb2

from libs.smtp.address_set import bucket, bucket_of
from services.policy import wire
from services.policy.rules.evaluate import NeedsLookups, Rulebook
from services.policy.rules.model import Action
from services.policy.snapshot import compile_snapshot

_DOMAIN = "listed.example.com"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROUNDS = 5
# The number of different recipients that are repeated. Even a list of 1,000 suffices for this number, because half of
# the recipients are not on the list.
_DISTINCT = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="1000,1000000", help="lengths of the list (1000,1000000)")
    parser.add_argument("--decisions", type=int, default=100_000, help="decisions of one round (100000)")
    arguments = parser.parse_args()
    for length in map(int, arguments.lengths.split(",")):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_measure, args=(theirs, length, arguments.decisions)
        )
        process.start()
        print(ours.recv())
        process.join()


def _measure(result: Connection, length: int, decisions: int) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    serialised = _snapshot(length)
    gc.collect()
    before = _resident()
    started = time.perf_counter()
    rulebook = Rulebook(compile_snapshot(config_pb2.PolicySnapshot.FromString(serialised)))
    compiled = time.perf_counter() - started
    gc.collect()
    grown = _resident() - before
    # The garbage collector has the same thresholds in services/policy/__main__.py.
    gc.set_threshold(50_000, 20, 50)
    gc.freeze()
    chance = random.Random(7)
    again = _recipients(length, chance)
    _set(rulebook, again, length)
    figures = {"come again": [_again(rulebook, again, length, decisions, chance) for _ in range(_ROUNDS)]}
    figures["are new"] = [_new(rulebook, length, decisions, chance) for _ in range(_ROUNDS)]
    costs = ", ".join(
        f"{statistics.median(microseconds):5.2f} us (best {min(microseconds):.2f}) about recipients that {name}"
        for name, microseconds in figures.items()
    )
    result.send(
        f"{length:>9,} listed: a decision takes {costs}; compiled in {compiled:.2f} s, {len(serialised) / 1e6:.1f} MB "
        f"as sent, memory grows by {grown / 1e6:.1f} MB"
    )


def _recipients(length: int, chance: random.Random) -> list[int]:
    """Returns the numbers of different recipients in random order. About half of them are on the list."""
    return chance.sample(range(2 * length), min(_DISTINCT, 2 * length))


def _again(rulebook: Rulebook, recipients: list[int], length: int, decisions: int, chance: random.Random) -> float:
    """Returns the CPU microseconds of a decision about recipients whose facts are remembered."""
    seconds = 0.0
    for _ in range(decisions // len(recipients)):
        chance.shuffle(recipients)
        seconds += _set(rulebook, recipients, length)
    return seconds / (decisions // len(recipients) * len(recipients)) * 1e6


def _new(rulebook: Rulebook, length: int, decisions: int, chance: random.Random) -> float:
    """Returns the CPU microseconds of a decision about recipients whose facts are not remembered."""
    seconds, count = 0.0, 0
    while count < decisions:
        rulebook.snapshot.known_addresses.clear()
        recipients = _recipients(length, chance)
        seconds += _set(rulebook, recipients, length)
        count += len(recipients)
    return seconds / count * 1e6


def _set(rulebook: Rulebook, numbers: list[int], length: int) -> float:
    """Decides at RCPT about each recipient, and returns the CPU seconds of all decisions. Fails when a decision is
    wrong.
    """
    requests = [_request(number) for number in numbers]
    started = time.process_time()
    verdicts = [rulebook.evaluate(wire.facts(wire.Request(request), rulebook.snapshot, 1.8e9)) for request in requests]
    seconds = time.process_time() - started
    for number, verdict in zip(numbers, verdicts, strict=True):
        assert not isinstance(verdict, NeedsLookups)
        if (verdict.action is Action.ACCEPT) is not (number < length):
            raise SystemExit(f"recipient {number} of {length}: {verdict.action.name}")
    return seconds


def _request(number: int) -> policy_pb2.DecideRequest:
    request = policy_pb2.DecideRequest(stage=policy_pb2.STAGE_RCPT)
    request.session.id, request.session.client_address = "0" * 32, "192.0.2.10"
    request.session.listener = policy_pb2.LISTENER_SMTP
    request.transaction.sender = b"joe@sender.example"
    request.transaction.recipient = f"some.body{number}@{_DOMAIN}".encode()
    return request


def _snapshot(length: int) -> bytes:
    """Returns the snapshot in the form in which config_api sends it."""
    buckets: defaultdict[int, list[bytes]] = defaultdict(list)
    for number in range(length):
        key = f"some.body{number}@{_DOMAIN}".encode()
        buckets[bucket_of(key)].append(key)
    snapshot = config_pb2.PolicySnapshot(revision=1)
    snapshot.relay_domains.add(id="r", domain=_DOMAIN, existing_recipients=config_pb2.EXISTING_RECIPIENTS_LIST)
    for number, keys in sorted(buckets.items()):
        snapshot.recipients.add(number=number, keys=bucket(keys))
    return snapshot.SerializeToString()


def _resident() -> int:
    """Returns the octets of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    main()
