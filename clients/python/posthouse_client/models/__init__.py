"""The values that the API takes and gives. Each is loaded when it is first used: all of them take half a second."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access_criterion import AccessCriterion
    from .access_list import AccessList
    from .access_rule import AccessRule
    from .access_rule_batch import AccessRuleBatch
    from .access_rule_operation import AccessRuleOperation
    from .access_rule_page import AccessRulePage
    from .access_rule_patch import AccessRulePatch
    from .account import Account
    from .account_batch import AccountBatch
    from .account_operation import AccountOperation
    from .account_page import AccountPage
    from .account_patch import AccountPatch
    from .action_progress import ActionProgress
    from .advanced_security_settings import AdvancedSecuritySettings
    from .advanced_security_settings_patch import AdvancedSecuritySettingsPatch
    from .alias import Alias
    from .alias_batch import AliasBatch
    from .alias_operation import AliasOperation
    from .alias_page import AliasPage
    from .alias_patch import AliasPatch
    from .all_settings import AllSettings
    from .antivirus import Antivirus
    from .antivirus_patch import AntivirusPatch
    from .api_key import ApiKey
    from .api_key_page import ApiKeyPage
    from .api_key_patch import ApiKeyPatch
    from .api_key_role import ApiKeyRole
    from .arc import Arc
    from .arc_patch import ArcPatch
    from .assumed_outcome import AssumedOutcome
    from .attachment import Attachment
    from .attempt import Attempt
    from .audit_entry import AuditEntry
    from .audit_page import AuditPage
    from .authentication_result import AuthenticationResult
    from .batch_action import BatchAction
    from .batch_result import BatchResult
    from .batched_object import BatchedObject
    from .blocked_client import BlockedClient
    from .blocked_client_page import BlockedClientPage
    from .bucket_width import BucketWidth
    from .caller import Caller
    from .check_result import CheckResult
    from .check_results import CheckResults
    from .comparison import Comparison
    from .configuration_document import ConfigurationDocument
    from .configuration_warning import ConfigurationWarning
    from .configured_relay_host import ConfiguredRelayHost
    from .connection_policy_settings import ConnectionPolicySettings
    from .connection_policy_settings_patch import ConnectionPolicySettingsPatch
    from .content_checks_settings import ContentChecksSettings
    from .content_checks_settings_patch import ContentChecksSettingsPatch
    from .content_checks_settings_quarantine import ContentChecksSettingsQuarantine
    from .content_facts import ContentFacts
    from .content_facts_virus import ContentFactsVirus
    from .delivery import Delivery
    from .delivery_mode import DeliveryMode
    from .delivery_settings import DeliverySettings
    from .delivery_settings_patch import DeliverySettingsPatch
    from .delivery_state_filter import DeliveryStateFilter
    from .destination import Destination
    from .destination_page import DestinationPage
    from .difference import Difference
    from .dkim import Dkim
    from .dkim_algorithm import DkimAlgorithm
    from .dkim_facts import DkimFacts
    from .dkim_key import DkimKey
    from .dkim_key_batch import DkimKeyBatch
    from .dkim_key_operation import DkimKeyOperation
    from .dkim_key_page import DkimKeyPage
    from .dkim_key_patch import DkimKeyPatch
    from .dkim_patch import DkimPatch
    from .dmarc import Dmarc
    from .dmarc_patch import DmarcPatch
    from .dnsbl import Dnsbl
    from .dnsbl_patch import DnsblPatch
    from .dnsbl_zone import DnsblZone
    from .domain_tls_policy import DomainTlsPolicy
    from .domain_tls_policy_batch import DomainTlsPolicyBatch
    from .domain_tls_policy_operation import DomainTlsPolicyOperation
    from .domain_tls_policy_page import DomainTlsPolicyPage
    from .domain_tls_policy_patch import DomainTlsPolicyPatch
    from .event_type import EventType
    from .export_configuration_format import ExportConfigurationFormat
    from .fallback_host import FallbackHost
    from .field_problem import FieldProblem
    from .general_settings import GeneralSettings
    from .general_settings_patch import GeneralSettingsPatch
    from .hypothetical_session import HypotheticalSession
    from .hypothetical_session_assumed import HypotheticalSessionAssumed
    from .import_result import ImportResult
    from .key_rotation import KeyRotation
    from .listener import Listener
    from .lmtp_mailbox import LmtpMailbox
    from .local_domain import LocalDomain
    from .local_domain_batch import LocalDomainBatch
    from .local_domain_operation import LocalDomainOperation
    from .local_domain_page import LocalDomainPage
    from .local_domain_patch import LocalDomainPatch
    from .local_domain_recipient_delimiter import LocalDomainRecipientDelimiter
    from .local_domain_recipients import LocalDomainRecipients
    from .lookup_report import LookupReport
    from .mail_certificate import MailCertificate
    from .mail_event import MailEvent
    from .mail_event_attempt import MailEventAttempt
    from .mail_event_data import MailEventData
    from .mail_event_reply import MailEventReply
    from .mailbox_kind import MailboxKind
    from .mailbox_patch import MailboxPatch
    from .mailbox_server_kind import MailboxServerKind
    from .mailbox_server_patch import MailboxServerPatch
    from .maildir_mailbox import MaildirMailbox
    from .message import Message
    from .message_envelope_given import MessageEnvelopeGiven
    from .message_filter import MessageFilter
    from .message_page import MessagePage
    from .message_redirect import MessageRedirect
    from .message_selection import MessageSelection
    from .message_selection_redirect import MessageSelectionRedirect
    from .message_to_send import MessageToSend
    from .message_to_send_headers import MessageToSendHeaders
    from .mode import Mode
    from .named_address import NamedAddress
    from .notify_condition import NotifyCondition
    from .object_change import ObjectChange
    from .origin import Origin
    from .past_session import PastSession
    from .problem_details import ProblemDetails
    from .profile import Profile
    from .profile_patch import ProfilePatch
    from .proposed_access_rule import ProposedAccessRule
    from .proposed_relay_host import ProposedRelayHost
    from .queue_settings import QueueSettings
    from .queue_settings_patch import QueueSettingsPatch
    from .recipient import Recipient
    from .recipient_batch import RecipientBatch
    from .recipient_operation import RecipientOperation
    from .recipient_page import RecipientPage
    from .recipient_patch import RecipientPatch
    from .recipients_over_limit import RecipientsOverLimit
    from .refusal_action import RefusalAction
    from .refused_count import RefusedCount
    from .relay_domain import RelayDomain
    from .relay_domain_batch import RelayDomainBatch
    from .relay_domain_operation import RelayDomainOperation
    from .relay_domain_page import RelayDomainPage
    from .relay_domain_patch import RelayDomainPatch
    from .relay_domain_recipients import RelayDomainRecipients
    from .relay_host import RelayHost
    from .relay_host_auth import RelayHostAuth
    from .relay_host_auth_patch import RelayHostAuthPatch
    from .relay_host_patch import RelayHostPatch
    from .relay_host_test_result import RelayHostTestResult
    from .relay_host_test_step import RelayHostTestStep
    from .relay_rule import RelayRule
    from .relay_rule_batch import RelayRuleBatch
    from .relay_rule_operation import RelayRuleOperation
    from .relay_rule_page import RelayRulePage
    from .relay_rule_patch import RelayRulePatch
    from .relay_rule_target_type import RelayRuleTargetType
    from .relay_rule_type import RelayRuleType
    from .removed import Removed
    from .reply import Reply
    from .resolver_settings import ResolverSettings
    from .resolver_settings_patch import ResolverSettingsPatch
    from .retry_schedule import RetrySchedule
    from .retry_schedule_patch import RetrySchedulePatch
    from .returned_content import ReturnedContent
    from .revision_details import RevisionDetails
    from .revision_page import RevisionPage
    from .revision_summary import RevisionSummary
    from .rollback_result import RollbackResult
    from .route import Route
    from .route_explanation import RouteExplanation
    from .route_host import RouteHost
    from .route_lookup import RouteLookup
    from .route_query import RouteQuery
    from .route_rule import RouteRule
    from .rule_report import RuleReport
    from .scan_failure_action import ScanFailureAction
    from .secret_rotation import SecretRotation
    from .sender_policy_settings import SenderPolicySettings
    from .sender_policy_settings_patch import SenderPolicySettingsPatch
    from .service_replica import ServiceReplica
    from .session_explanation import SessionExplanation
    from .session_facts import SessionFacts
    from .session_stage import SessionStage
    from .session_verdict import SessionVerdict
    from .shadow_count import ShadowCount
    from .shadow_result import ShadowResult
    from .smtp_auth import SmtpAuth
    from .smtp_auth_patch import SmtpAuthPatch
    from .smtp_mailbox import SmtpMailbox
    from .spam import Spam
    from .spam_facts import SpamFacts
    from .spam_facts_action import SpamFactsAction
    from .spam_patch import SpamPatch
    from .spf import Spf
    from .spf_patch import SpfPatch
    from .spf_softfail_action import SpfSoftfailAction
    from .statistics import Statistics
    from .statistics_bucket import StatisticsBucket
    from .status import Status
    from .status_warning import StatusWarning
    from .submission_reply import SubmissionReply
    from .submitted_message import SubmittedMessage
    from .submitted_recipient import SubmittedRecipient
    from .suspended_destination import SuspendedDestination
    from .suspension import Suspension
    from .timeline_event import TimelineEvent
    from .tls_level import TlsLevel
    from .trusted_network import TrustedNetwork
    from .trusted_network_batch import TrustedNetworkBatch
    from .trusted_network_operation import TrustedNetworkOperation
    from .trusted_network_page import TrustedNetworkPage
    from .trusted_network_patch import TrustedNetworkPatch
    from .webhook import Webhook
    from .webhook_delivery import WebhookDelivery
    from .webhook_delivery_page import WebhookDeliveryPage
    from .webhook_page import WebhookPage
    from .webhook_patch import WebhookPatch

_MODULES = {
    "AccessCriterion": "access_criterion",
    "AccessList": "access_list",
    "AccessRule": "access_rule",
    "AccessRuleBatch": "access_rule_batch",
    "AccessRuleOperation": "access_rule_operation",
    "AccessRulePage": "access_rule_page",
    "AccessRulePatch": "access_rule_patch",
    "Account": "account",
    "AccountBatch": "account_batch",
    "AccountOperation": "account_operation",
    "AccountPage": "account_page",
    "AccountPatch": "account_patch",
    "ActionProgress": "action_progress",
    "AdvancedSecuritySettings": "advanced_security_settings",
    "AdvancedSecuritySettingsPatch": "advanced_security_settings_patch",
    "Alias": "alias",
    "AliasBatch": "alias_batch",
    "AliasOperation": "alias_operation",
    "AliasPage": "alias_page",
    "AliasPatch": "alias_patch",
    "AllSettings": "all_settings",
    "Antivirus": "antivirus",
    "AntivirusPatch": "antivirus_patch",
    "ApiKey": "api_key",
    "ApiKeyPage": "api_key_page",
    "ApiKeyPatch": "api_key_patch",
    "ApiKeyRole": "api_key_role",
    "Arc": "arc",
    "ArcPatch": "arc_patch",
    "AssumedOutcome": "assumed_outcome",
    "Attachment": "attachment",
    "Attempt": "attempt",
    "AuditEntry": "audit_entry",
    "AuditPage": "audit_page",
    "AuthenticationResult": "authentication_result",
    "BatchAction": "batch_action",
    "BatchResult": "batch_result",
    "BatchedObject": "batched_object",
    "BlockedClient": "blocked_client",
    "BlockedClientPage": "blocked_client_page",
    "BucketWidth": "bucket_width",
    "Caller": "caller",
    "CheckResult": "check_result",
    "CheckResults": "check_results",
    "Comparison": "comparison",
    "ConfigurationDocument": "configuration_document",
    "ConfigurationWarning": "configuration_warning",
    "ConfiguredRelayHost": "configured_relay_host",
    "ConnectionPolicySettings": "connection_policy_settings",
    "ConnectionPolicySettingsPatch": "connection_policy_settings_patch",
    "ContentChecksSettings": "content_checks_settings",
    "ContentChecksSettingsPatch": "content_checks_settings_patch",
    "ContentChecksSettingsQuarantine": "content_checks_settings_quarantine",
    "ContentFacts": "content_facts",
    "ContentFactsVirus": "content_facts_virus",
    "Delivery": "delivery",
    "DeliveryMode": "delivery_mode",
    "DeliverySettings": "delivery_settings",
    "DeliverySettingsPatch": "delivery_settings_patch",
    "DeliveryStateFilter": "delivery_state_filter",
    "Destination": "destination",
    "DestinationPage": "destination_page",
    "Difference": "difference",
    "Dkim": "dkim",
    "DkimAlgorithm": "dkim_algorithm",
    "DkimFacts": "dkim_facts",
    "DkimKey": "dkim_key",
    "DkimKeyBatch": "dkim_key_batch",
    "DkimKeyOperation": "dkim_key_operation",
    "DkimKeyPage": "dkim_key_page",
    "DkimKeyPatch": "dkim_key_patch",
    "DkimPatch": "dkim_patch",
    "Dmarc": "dmarc",
    "DmarcPatch": "dmarc_patch",
    "Dnsbl": "dnsbl",
    "DnsblPatch": "dnsbl_patch",
    "DnsblZone": "dnsbl_zone",
    "DomainTlsPolicy": "domain_tls_policy",
    "DomainTlsPolicyBatch": "domain_tls_policy_batch",
    "DomainTlsPolicyOperation": "domain_tls_policy_operation",
    "DomainTlsPolicyPage": "domain_tls_policy_page",
    "DomainTlsPolicyPatch": "domain_tls_policy_patch",
    "EventType": "event_type",
    "ExportConfigurationFormat": "export_configuration_format",
    "FallbackHost": "fallback_host",
    "FieldProblem": "field_problem",
    "GeneralSettings": "general_settings",
    "GeneralSettingsPatch": "general_settings_patch",
    "HypotheticalSession": "hypothetical_session",
    "HypotheticalSessionAssumed": "hypothetical_session_assumed",
    "ImportResult": "import_result",
    "KeyRotation": "key_rotation",
    "Listener": "listener",
    "LmtpMailbox": "lmtp_mailbox",
    "LocalDomain": "local_domain",
    "LocalDomainBatch": "local_domain_batch",
    "LocalDomainOperation": "local_domain_operation",
    "LocalDomainPage": "local_domain_page",
    "LocalDomainPatch": "local_domain_patch",
    "LocalDomainRecipientDelimiter": "local_domain_recipient_delimiter",
    "LocalDomainRecipients": "local_domain_recipients",
    "LookupReport": "lookup_report",
    "MailCertificate": "mail_certificate",
    "MailEvent": "mail_event",
    "MailEventAttempt": "mail_event_attempt",
    "MailEventData": "mail_event_data",
    "MailEventReply": "mail_event_reply",
    "MailboxKind": "mailbox_kind",
    "MailboxPatch": "mailbox_patch",
    "MailboxServerKind": "mailbox_server_kind",
    "MailboxServerPatch": "mailbox_server_patch",
    "MaildirMailbox": "maildir_mailbox",
    "Message": "message",
    "MessageEnvelopeGiven": "message_envelope_given",
    "MessageFilter": "message_filter",
    "MessagePage": "message_page",
    "MessageRedirect": "message_redirect",
    "MessageSelection": "message_selection",
    "MessageSelectionRedirect": "message_selection_redirect",
    "MessageToSend": "message_to_send",
    "MessageToSendHeaders": "message_to_send_headers",
    "Mode": "mode",
    "NamedAddress": "named_address",
    "NotifyCondition": "notify_condition",
    "ObjectChange": "object_change",
    "Origin": "origin",
    "PastSession": "past_session",
    "ProblemDetails": "problem_details",
    "Profile": "profile",
    "ProfilePatch": "profile_patch",
    "ProposedAccessRule": "proposed_access_rule",
    "ProposedRelayHost": "proposed_relay_host",
    "QueueSettings": "queue_settings",
    "QueueSettingsPatch": "queue_settings_patch",
    "Recipient": "recipient",
    "RecipientBatch": "recipient_batch",
    "RecipientOperation": "recipient_operation",
    "RecipientPage": "recipient_page",
    "RecipientPatch": "recipient_patch",
    "RecipientsOverLimit": "recipients_over_limit",
    "RefusalAction": "refusal_action",
    "RefusedCount": "refused_count",
    "RelayDomain": "relay_domain",
    "RelayDomainBatch": "relay_domain_batch",
    "RelayDomainOperation": "relay_domain_operation",
    "RelayDomainPage": "relay_domain_page",
    "RelayDomainPatch": "relay_domain_patch",
    "RelayDomainRecipients": "relay_domain_recipients",
    "RelayHost": "relay_host",
    "RelayHostAuth": "relay_host_auth",
    "RelayHostAuthPatch": "relay_host_auth_patch",
    "RelayHostPatch": "relay_host_patch",
    "RelayHostTestResult": "relay_host_test_result",
    "RelayHostTestStep": "relay_host_test_step",
    "RelayRule": "relay_rule",
    "RelayRuleBatch": "relay_rule_batch",
    "RelayRuleOperation": "relay_rule_operation",
    "RelayRulePage": "relay_rule_page",
    "RelayRulePatch": "relay_rule_patch",
    "RelayRuleTargetType": "relay_rule_target_type",
    "RelayRuleType": "relay_rule_type",
    "Removed": "removed",
    "Reply": "reply",
    "ResolverSettings": "resolver_settings",
    "ResolverSettingsPatch": "resolver_settings_patch",
    "RetrySchedule": "retry_schedule",
    "RetrySchedulePatch": "retry_schedule_patch",
    "ReturnedContent": "returned_content",
    "RevisionDetails": "revision_details",
    "RevisionPage": "revision_page",
    "RevisionSummary": "revision_summary",
    "RollbackResult": "rollback_result",
    "Route": "route",
    "RouteExplanation": "route_explanation",
    "RouteHost": "route_host",
    "RouteLookup": "route_lookup",
    "RouteQuery": "route_query",
    "RouteRule": "route_rule",
    "RuleReport": "rule_report",
    "ScanFailureAction": "scan_failure_action",
    "SecretRotation": "secret_rotation",
    "SenderPolicySettings": "sender_policy_settings",
    "SenderPolicySettingsPatch": "sender_policy_settings_patch",
    "ServiceReplica": "service_replica",
    "SessionExplanation": "session_explanation",
    "SessionFacts": "session_facts",
    "SessionStage": "session_stage",
    "SessionVerdict": "session_verdict",
    "ShadowCount": "shadow_count",
    "ShadowResult": "shadow_result",
    "SmtpAuth": "smtp_auth",
    "SmtpAuthPatch": "smtp_auth_patch",
    "SmtpMailbox": "smtp_mailbox",
    "Spam": "spam",
    "SpamFacts": "spam_facts",
    "SpamFactsAction": "spam_facts_action",
    "SpamPatch": "spam_patch",
    "Spf": "spf",
    "SpfPatch": "spf_patch",
    "SpfSoftfailAction": "spf_softfail_action",
    "Statistics": "statistics",
    "StatisticsBucket": "statistics_bucket",
    "Status": "status",
    "StatusWarning": "status_warning",
    "SubmissionReply": "submission_reply",
    "SubmittedMessage": "submitted_message",
    "SubmittedRecipient": "submitted_recipient",
    "SuspendedDestination": "suspended_destination",
    "Suspension": "suspension",
    "TimelineEvent": "timeline_event",
    "TlsLevel": "tls_level",
    "TrustedNetwork": "trusted_network",
    "TrustedNetworkBatch": "trusted_network_batch",
    "TrustedNetworkOperation": "trusted_network_operation",
    "TrustedNetworkPage": "trusted_network_page",
    "TrustedNetworkPatch": "trusted_network_patch",
    "Webhook": "webhook",
    "WebhookDelivery": "webhook_delivery",
    "WebhookDeliveryPage": "webhook_delivery_page",
    "WebhookPage": "webhook_page",
    "WebhookPatch": "webhook_patch",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = (
    "AccessCriterion",
    "AccessList",
    "AccessRule",
    "AccessRuleBatch",
    "AccessRuleOperation",
    "AccessRulePage",
    "AccessRulePatch",
    "Account",
    "AccountBatch",
    "AccountOperation",
    "AccountPage",
    "AccountPatch",
    "ActionProgress",
    "AdvancedSecuritySettings",
    "AdvancedSecuritySettingsPatch",
    "Alias",
    "AliasBatch",
    "AliasOperation",
    "AliasPage",
    "AliasPatch",
    "AllSettings",
    "Antivirus",
    "AntivirusPatch",
    "ApiKey",
    "ApiKeyPage",
    "ApiKeyPatch",
    "ApiKeyRole",
    "Arc",
    "ArcPatch",
    "AssumedOutcome",
    "Attachment",
    "Attempt",
    "AuditEntry",
    "AuditPage",
    "AuthenticationResult",
    "BatchAction",
    "BatchedObject",
    "BatchResult",
    "BlockedClient",
    "BlockedClientPage",
    "BucketWidth",
    "Caller",
    "CheckResult",
    "CheckResults",
    "Comparison",
    "ConfigurationDocument",
    "ConfigurationWarning",
    "ConfiguredRelayHost",
    "ConnectionPolicySettings",
    "ConnectionPolicySettingsPatch",
    "ContentChecksSettings",
    "ContentChecksSettingsPatch",
    "ContentChecksSettingsQuarantine",
    "ContentFacts",
    "ContentFactsVirus",
    "Delivery",
    "DeliveryMode",
    "DeliverySettings",
    "DeliverySettingsPatch",
    "DeliveryStateFilter",
    "Destination",
    "DestinationPage",
    "Difference",
    "Dkim",
    "DkimAlgorithm",
    "DkimFacts",
    "DkimKey",
    "DkimKeyBatch",
    "DkimKeyOperation",
    "DkimKeyPage",
    "DkimKeyPatch",
    "DkimPatch",
    "Dmarc",
    "DmarcPatch",
    "Dnsbl",
    "DnsblPatch",
    "DnsblZone",
    "DomainTlsPolicy",
    "DomainTlsPolicyBatch",
    "DomainTlsPolicyOperation",
    "DomainTlsPolicyPage",
    "DomainTlsPolicyPatch",
    "EventType",
    "ExportConfigurationFormat",
    "FallbackHost",
    "FieldProblem",
    "GeneralSettings",
    "GeneralSettingsPatch",
    "HypotheticalSession",
    "HypotheticalSessionAssumed",
    "ImportResult",
    "KeyRotation",
    "Listener",
    "LmtpMailbox",
    "LocalDomain",
    "LocalDomainBatch",
    "LocalDomainOperation",
    "LocalDomainPage",
    "LocalDomainPatch",
    "LocalDomainRecipientDelimiter",
    "LocalDomainRecipients",
    "LookupReport",
    "MailboxKind",
    "MailboxPatch",
    "MailboxServerKind",
    "MailboxServerPatch",
    "MailCertificate",
    "MaildirMailbox",
    "MailEvent",
    "MailEventAttempt",
    "MailEventData",
    "MailEventReply",
    "Message",
    "MessageEnvelopeGiven",
    "MessageFilter",
    "MessagePage",
    "MessageRedirect",
    "MessageSelection",
    "MessageSelectionRedirect",
    "MessageToSend",
    "MessageToSendHeaders",
    "Mode",
    "NamedAddress",
    "NotifyCondition",
    "ObjectChange",
    "Origin",
    "PastSession",
    "ProblemDetails",
    "Profile",
    "ProfilePatch",
    "ProposedAccessRule",
    "ProposedRelayHost",
    "QueueSettings",
    "QueueSettingsPatch",
    "Recipient",
    "RecipientBatch",
    "RecipientOperation",
    "RecipientPage",
    "RecipientPatch",
    "RecipientsOverLimit",
    "RefusalAction",
    "RefusedCount",
    "RelayDomain",
    "RelayDomainBatch",
    "RelayDomainOperation",
    "RelayDomainPage",
    "RelayDomainPatch",
    "RelayDomainRecipients",
    "RelayHost",
    "RelayHostAuth",
    "RelayHostAuthPatch",
    "RelayHostPatch",
    "RelayHostTestResult",
    "RelayHostTestStep",
    "RelayRule",
    "RelayRuleBatch",
    "RelayRuleOperation",
    "RelayRulePage",
    "RelayRulePatch",
    "RelayRuleTargetType",
    "RelayRuleType",
    "Removed",
    "Reply",
    "ResolverSettings",
    "ResolverSettingsPatch",
    "RetrySchedule",
    "RetrySchedulePatch",
    "ReturnedContent",
    "RevisionDetails",
    "RevisionPage",
    "RevisionSummary",
    "RollbackResult",
    "Route",
    "RouteExplanation",
    "RouteHost",
    "RouteLookup",
    "RouteQuery",
    "RouteRule",
    "RuleReport",
    "ScanFailureAction",
    "SecretRotation",
    "SenderPolicySettings",
    "SenderPolicySettingsPatch",
    "ServiceReplica",
    "SessionExplanation",
    "SessionFacts",
    "SessionStage",
    "SessionVerdict",
    "ShadowCount",
    "ShadowResult",
    "SmtpAuth",
    "SmtpAuthPatch",
    "SmtpMailbox",
    "Spam",
    "SpamFacts",
    "SpamFactsAction",
    "SpamPatch",
    "Spf",
    "SpfPatch",
    "SpfSoftfailAction",
    "Statistics",
    "StatisticsBucket",
    "Status",
    "StatusWarning",
    "SubmissionReply",
    "SubmittedMessage",
    "SubmittedRecipient",
    "SuspendedDestination",
    "Suspension",
    "TimelineEvent",
    "TlsLevel",
    "TrustedNetwork",
    "TrustedNetworkBatch",
    "TrustedNetworkOperation",
    "TrustedNetworkPage",
    "TrustedNetworkPatch",
    "Webhook",
    "WebhookDelivery",
    "WebhookDeliveryPage",
    "WebhookPage",
    "WebhookPatch",
)
