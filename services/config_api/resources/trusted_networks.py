"""The collection `/v1/trusted-networks`, and warnings about ranges that are too wide."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from libs.smtp.network import parse_network
from services.config_api.resources.description import Body, CheckContext, Collection, Filter, Finding, UniqueKey
from services.config_api.resources.fields import Model, Name, unique
from services.config_api.resources.filters import boolean, exact, lenient, name_key
from services.config_api.resources.networks import WIDEST, Cidr, covers


class TrustedNetwork(Model):
    """Clients in these networks may send anywhere without a login."""

    name: Name
    networks: Annotated[list[Cidr], Field(min_length=1, max_length=1000), AfterValidator(unique)] = Field(
        description="The networks.", examples=[["192.0.2.0/24", "2001:db8::/32"]]
    )
    enabled: bool = Field(default=True, description="false means that it has no effect.")


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    findings = []
    for number, text in enumerate(body["networks"]):
        pointer, network = f"/networks/{number}", ipaddress.ip_network(text)
        if network.prefixlen == 0:
            findings.append(Finding(pointer, "everyone", "This is the whole internet, so anyone may send anywhere."))
        elif network.prefixlen < WIDEST[network.version]:
            findings.append(
                Finding(
                    pointer,
                    "wide",
                    f"This range is wider than /{WIDEST[network.version]}, so it may contain networks of others.",
                )
            )
        if any(covers(text, gateway) for gateway in check_context.gateways):
            findings.append(
                Finding(
                    pointer,
                    "gateway_in_range",
                    "The range contains the gateway of this machine. Clients behind that gateway may send too.",
                )
            )
    return findings


TRUSTED_NETWORKS = Collection(
    kind="trusted-networks",
    noun="TrustedNetwork",
    plural="TrustedNetworks",
    label="trusted network",
    tag="relay control",
    model=TrustedNetwork,
    check=check,
    unique=lambda body: [UniqueKey("trusted-networks/name", name_key(body["name"]), "/name")],
    filters={
        "name": exact("name", "The name of the network, without regard to case.", name_key),
        "network": Filter(
            "A network, in any form that is accepted.",
            lambda body: body["networks"],
            lenient(lambda text: str(parse_network(text))),
        ),
        "enabled": boolean("enabled"),
    },
)
