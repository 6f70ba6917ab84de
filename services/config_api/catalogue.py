"""Every resource there is. A new setting touches its schema, this list when it is a new resource, and the snapshot."""

from __future__ import annotations

from services.config_api.access_rules.resource import ACCESS_RULES
from services.config_api.accounts.resource import ACCOUNTS
from services.config_api.advanced_security.resource import ADVANCED_SECURITY
from services.config_api.aliases.resource import ALIASES
from services.config_api.api_keys.resource import API_KEYS
from services.config_api.connection_policy.resource import CONNECTION_POLICY
from services.config_api.content_checks.resource import CONTENT_CHECKS
from services.config_api.delivery.resource import DELIVERY
from services.config_api.dkim_keys.resource import DKIM_KEYS
from services.config_api.general.resource import GENERAL
from services.config_api.local_domains.resource import LOCAL_DOMAINS
from services.config_api.queue_settings.resource import QUEUE
from services.config_api.relay_domains.resource import RELAY_DOMAINS
from services.config_api.relay_rules.resource import RELAY_RULES
from services.config_api.resolvers.resource import RESOLVERS
from services.config_api.resources import Collection, Resource, Singleton
from services.config_api.sender_policy.resource import SENDER_POLICY
from services.config_api.trusted_networks.resource import TRUSTED_NETWORKS

SINGLETONS: tuple[Singleton, ...] = (
    GENERAL,
    DELIVERY,
    QUEUE,
    RESOLVERS,
    SENDER_POLICY,
    CONNECTION_POLICY,
    ADVANCED_SECURITY,
    CONTENT_CHECKS,
)
COLLECTIONS: tuple[Collection, ...] = (
    RELAY_RULES,
    TRUSTED_NETWORKS,
    RELAY_DOMAINS,
    LOCAL_DOMAINS,
    ACCOUNTS,
    ALIASES,
    ACCESS_RULES,
    DKIM_KEYS,
    API_KEYS,
)
RESOURCES: dict[str, Resource] = {resource.kind: resource for resource in (*SINGLETONS, *COLLECTIONS)}
