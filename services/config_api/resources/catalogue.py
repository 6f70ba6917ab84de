"""The list of all resources. ARCHITECTURE.md lists the files that a new setting or resource changes."""

from __future__ import annotations

from services.config_api.resources.access_rules import ACCESS_RULES
from services.config_api.resources.accounts import ACCOUNTS
from services.config_api.resources.advanced_security import ADVANCED_SECURITY
from services.config_api.resources.aliases import ALIASES
from services.config_api.resources.api_keys import API_KEYS
from services.config_api.resources.connection_policy import CONNECTION_POLICY
from services.config_api.resources.content_checks import CONTENT_CHECKS
from services.config_api.resources.delivery import DELIVERY
from services.config_api.resources.description import Collection, Resource, Singleton
from services.config_api.resources.dkim_keys import DKIM_KEYS
from services.config_api.resources.general import GENERAL
from services.config_api.resources.local_domains import LOCAL_DOMAINS
from services.config_api.resources.queue_settings import QUEUE
from services.config_api.resources.recipients import RECIPIENTS
from services.config_api.resources.relay_domains import RELAY_DOMAINS
from services.config_api.resources.relay_rules import RELAY_RULES
from services.config_api.resources.resolvers import RESOLVERS
from services.config_api.resources.sender_policy import SENDER_POLICY
from services.config_api.resources.tls_policies import TLS_POLICIES
from services.config_api.resources.trusted_networks import TRUSTED_NETWORKS
from services.config_api.resources.webhooks import WEBHOOKS

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
    RECIPIENTS,
    ACCESS_RULES,
    DKIM_KEYS,
    TLS_POLICIES,
    API_KEYS,
    WEBHOOKS,
)
RESOURCES: dict[str, Resource] = {resource.kind: resource for resource in (*SINGLETONS, *COLLECTIONS)}
