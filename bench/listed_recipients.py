"""What a decision about a listed recipient costs, and what policy's memory grows by, with lists of several lengths.

    python -m bench.listed_recipients [--lengths 1000,1000000] [--decisions 100000]

Each length runs in a process of its own, on one processor: the snapshot is compiled from the octets that config_api
sends, then recipients are decided in this process, without gRPC, in random order; half of them are not on the list.
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
    chance = random.Random(7)
    seconds = [_round(rulebook, length, decisions, chance) for _ in range(_ROUNDS)]
    middle = statistics.median(seconds) / decisions * 1e6
    result.send(
        f"{length:>9,} listed: {middle:5.2f} us a decision (best {min(seconds) / decisions * 1e6:.2f}), compiled in "
        f"{compiled:.2f} s, {len(serialised) / 1e6:.1f} MB as sent, memory grows by {grown / 1e6:.1f} MB"
    )


def _round(rulebook: Rulebook, length: int, decisions: int, chance: random.Random) -> float:
    """CPU seconds of so many decisions at RCPT. Fails when one is wrong."""
    # Those on the list, and as many that are not.
    numbers = [chance.randrange(2 * length) for _ in range(decisions)]
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
    """As config_api sends it."""
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
    """Octets of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    main()
