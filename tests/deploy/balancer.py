"""Reads deploy/haproxy/haproxy.cfg and replaces the containers' addresses and ports by those of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.peers.ports import LOOPBACK

_FILE = Path(__file__).parents[2] / "deploy/haproxy/haproxy.cfg"


def configuration(fronts: Mapping[int, int], servers: Mapping[str, Mapping[int, int]], source: str = "") -> str:
    """Returns the configuration.

    `fronts` maps the balancer's ports to ports of this machine. `servers` does this for the ports of each ingress, by
    its name. `source` is the address from which the balancer calls ingress. Raises KeyError for a missing port or name.
    """

    def front(found: re.Match[str]) -> str:
        return f"bind {LOOPBACK}:{fronts[int(found[1])]}"

    def server(found: re.Match[str]) -> str:
        ports = servers[found[1]]
        rest = re.sub(r"(?<= port )\d+", lambda port: str(ports[int(port[0])]), found[3])
        return f"server {found[1]} {LOOPBACK}:{ports[int(found[2])]} {rest}" + (f" source {source}" if source else "")

    text = re.sub(r"bind [\d.]*:(\d+)", front, _FILE.read_text())
    # More connections need more file descriptors, which only the container has (`ulimits`).
    text = re.sub(r"maxconn \d+", "maxconn 100", text)
    return re.sub(r"(?m)server (\S+) \1:(\d+) (.*)$", server, text)
