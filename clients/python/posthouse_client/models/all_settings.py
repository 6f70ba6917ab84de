from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.advanced_security_settings import AdvancedSecuritySettings
    from ..models.connection_policy_settings import ConnectionPolicySettings
    from ..models.content_checks_settings import ContentChecksSettings
    from ..models.delivery_settings import DeliverySettings
    from ..models.general_settings import GeneralSettings
    from ..models.queue_settings import QueueSettings
    from ..models.resolver_settings import ResolverSettings
    from ..models.sender_policy_settings import SenderPolicySettings


T = TypeVar("T", bound="AllSettings")


@_attrs_define
class AllSettings:
    """Every singleton.

    Attributes:
        general (GeneralSettings): SMTP AUTH, the session profile, the external postmasters.
        delivery (DeliverySettings): The route of mail that no rule matches.
        queue (QueueSettings): When delivery is tried again, when a message expires, and how much is sent at the same
            time.
        resolvers (ResolverSettings): The name servers for relay domains. The MX sets of both lists are merged.
        sender_policy (SenderPolicySettings): The checks of a sender's domain.
        connection_policy (ConnectionPolicySettings): Limits and checks of clients by their addresses. Trusted networks
            are exempt.
        advanced_security (AdvancedSecuritySettings): Checks of the protocol, checks of HELO names, and protection
            against address harvesting.
        content_checks (ContentChecksSettings): DNS block lists, SPF, DKIM, DMARC, ARC, antivirus and spam, and what
            happens to quarantined mail.
    """

    general: GeneralSettings
    delivery: DeliverySettings
    queue: QueueSettings
    resolvers: ResolverSettings
    sender_policy: SenderPolicySettings
    connection_policy: ConnectionPolicySettings
    advanced_security: AdvancedSecuritySettings
    content_checks: ContentChecksSettings
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        general = self.general.to_dict()

        delivery = self.delivery.to_dict()

        queue = self.queue.to_dict()

        resolvers = self.resolvers.to_dict()

        sender_policy = self.sender_policy.to_dict()

        connection_policy = self.connection_policy.to_dict()

        advanced_security = self.advanced_security.to_dict()

        content_checks = self.content_checks.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "general": general,
                "delivery": delivery,
                "queue": queue,
                "resolvers": resolvers,
                "sender_policy": sender_policy,
                "connection_policy": connection_policy,
                "advanced_security": advanced_security,
                "content_checks": content_checks,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.advanced_security_settings import AdvancedSecuritySettings  # noqa: PLC0415
        from ..models.connection_policy_settings import ConnectionPolicySettings  # noqa: PLC0415
        from ..models.content_checks_settings import ContentChecksSettings  # noqa: PLC0415
        from ..models.delivery_settings import DeliverySettings  # noqa: PLC0415
        from ..models.general_settings import GeneralSettings  # noqa: PLC0415
        from ..models.queue_settings import QueueSettings  # noqa: PLC0415
        from ..models.resolver_settings import ResolverSettings  # noqa: PLC0415
        from ..models.sender_policy_settings import SenderPolicySettings  # noqa: PLC0415

        d = dict(src_dict)
        general = GeneralSettings.from_dict(d.pop("general"))

        delivery = DeliverySettings.from_dict(d.pop("delivery"))

        queue = QueueSettings.from_dict(d.pop("queue"))

        resolvers = ResolverSettings.from_dict(d.pop("resolvers"))

        sender_policy = SenderPolicySettings.from_dict(d.pop("sender_policy"))

        connection_policy = ConnectionPolicySettings.from_dict(d.pop("connection_policy"))

        advanced_security = AdvancedSecuritySettings.from_dict(d.pop("advanced_security"))

        content_checks = ContentChecksSettings.from_dict(d.pop("content_checks"))

        all_settings = cls(
            general=general,
            delivery=delivery,
            queue=queue,
            resolvers=resolvers,
            sender_policy=sender_policy,
            connection_policy=connection_policy,
            advanced_security=advanced_security,
            content_checks=content_checks,
        )

        all_settings.additional_properties = d
        return all_settings

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
