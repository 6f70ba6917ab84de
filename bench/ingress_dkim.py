"""Measures the cost of DKIM verification in ingress: messages/s and CPU time per message, without it and for RSA-2048
and Ed25519.

`python -m bench.ingress_dkim [--messages 2000] [--sessions 20] [--rounds 3]`. Keys come from a DNS server on loopback.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from bench.ingress_accept import load, targets
from tests.ingress.checks.signing import DOMAIN, ed25519_key, rsa_key, sign, sign_by_hand
from tests.peers.dns import DnsServer

_SIZES = (4 * 1024, 50 * 1024)


def _message(size: int) -> bytes:
    head = b"From: joe@signer.example\r\nTo: suzie@shopping.example\r\nSubject: bench\r\n\r\n"
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    return head + line * ((size - len(head)) // len(line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rsa, ed25519 = rsa_key(2048), ed25519_key()
    with DnsServer() as dns, tempfile.TemporaryDirectory() as folder:
        dns.add(f"s1._domainkey.{DOMAIN}", "TXT", rsa.record)
        dns.add(f"e1._domainkey.{DOMAIN}", "TXT", ed25519.record)
        for size in _SIZES:
            plain = _message(size)
            for name, peers, message in (
                ("off", "grpc", plain),
                ("rsa-2048", "grpc-dkim", sign(plain, rsa)),
                ("ed25519", "grpc-dkim", sign_by_hand(plain, ed25519)),
            ):
                path = Path(folder) / f"{name}-{size}"
                # smtp-source needs a file with Unix line ends.
                path.write_bytes(message.replace(b"\r\n", b"\n"))
                with targets(peers, INGRESS_NAMESERVERS=dns.address) as (ingress, _):
                    figures = [
                        load(
                            ingress,
                            messages=arguments.messages,
                            sessions=arguments.sessions,
                            reuse=True,
                            content=path,
                        )
                        for _ in range(arguments.rounds)
                    ]
                rate = statistics.median(figure.rate for figure in figures)
                cpu = statistics.median(figure.cpu_ms for figure in figures)
                row = {"octets": size, "dkim": name, "per_s": round(rate), "cpu_ms": round(cpu, 3)}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
