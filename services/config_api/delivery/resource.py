"""The singleton `/v1/settings/delivery`."""

from __future__ import annotations

from services.config_api.delivery.checks import refuse_loop, relay_host_password
from services.config_api.delivery.schemas import DeliverySettings
from services.config_api.resources import Singleton

DELIVERY = Singleton(
    kind="settings/delivery",
    noun="DeliverySettings",
    label="delivery settings",
    tag="delivery",
    model=DeliverySettings,
    secrets=(relay_host_password(),),
    refuse=refuse_loop,
)
