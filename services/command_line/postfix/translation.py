"""Converts a whole Postfix configuration to a plan: the settings to make, and a report for the operator."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from services.command_line.output import counted
from services.command_line.postfix.domains import Domains, relay_domain_names
from services.command_line.postfix.mail_exchangers import MailExchangers
from services.command_line.postfix.maps import MapError, read
from services.command_line.postfix.next_hops import NextHops
from services.command_line.postfix.parameters import Parameters, Service
from services.command_line.postfix.report import Plan
from services.command_line.postfix.restrictions import Restrictions

_MEGABYTE = 1 << 20
_MINUTE = 60
_POSTFIX_MESSAGE_SIZE = 10_240_000
# Limits that are one number in Posthouse, each with its section and its member.
_NUMBERS = {
    "hopcount_limit": ("general", "profile.max_hops"),
    "smtpd_client_connection_count_limit": ("connection_policy", "max_concurrent_connections"),
    "default_destination_concurrency_limit": ("queue", "max_concurrency_per_destination"),
    "smtp_destination_concurrency_limit": ("queue", "max_concurrency_per_destination"),
    "smtpd_junk_command_limit": ("advanced_security", "max_junk_commands"),
}
_RATES = {
    "smtpd_client_connection_rate_limit": "max_connections_per_minute",
    "smtpd_client_message_rate_limit": "max_messages_per_minute",
}
# Times, each with its section, its member, and the number of seconds in the unit of the member.
_TIMES = {
    "maximal_queue_lifetime": ("queue", "expire_after_hours", 3600),
    "bounce_queue_lifetime": ("queue", "bounce_expire_hours", 3600),
    "delay_warning_time": ("queue", "delay_notice_after_hours", 3600),
    "minimal_backoff_time": ("queue", "retry_schedule.first_minutes", 60),
    "maximal_backoff_time": ("queue", "retry_schedule.max_minutes", 60),
}
_NO_COUNTERPART = {
    "smtpd_milters": "mail is checked by rspamd over HTTP (content_checks.spam) and clamd (content_checks.antivirus)",
    "non_smtpd_milters": "mail is checked by rspamd over HTTP and clamd",
    "content_filter": "mail is checked by rspamd over HTTP (content_checks.spam) and clamd (content_checks.antivirus)",
    "smtpd_proxy_filter": "mail is checked by rspamd over HTTP and clamd",
    "header_checks": "headers are not searched; rspamd or a handler (docs/handler.md) can",
    "mime_header_checks": "headers are not searched; rspamd or a handler can",
    "nested_header_checks": "headers are not searched; rspamd or a handler can",
    "body_checks": "content is not searched; rspamd or a handler can",
    "smtp_header_checks": "headers of outgoing mail are not changed",
    "always_bcc": "no copies are made",
    "sender_bcc_maps": "no copies are made",
    "recipient_bcc_maps": "no copies are made",
    "canonical_maps": "addresses are not rewritten, but for aliases",
    "sender_canonical_maps": "addresses are not rewritten, but for aliases",
    "recipient_canonical_maps": "addresses are not rewritten, but for aliases",
    "smtp_generic_maps": "addresses are not rewritten on their way out",
    "masquerade_domains": "addresses are not rewritten on their way out",
    "smtp_bind_address": "the system chooses the source address",
    "smtp_bind_address6": "the system chooses the source address",
    "sender_dependent_default_transport_maps": "the sender can choose only a relay host, and not a transport",
    "smtpd_sender_login_maps": "a login may send from the addresses of its account: make accounts",
    "virtual_uid_maps": "relay writes Maildirs as its own user",
    "luser_relay": "a local domain has a catch_all",
    "relocated_maps": "addresses that moved are refused as unknown",
    "address_verify_map": "answers about recipients are kept in relay's database",
    "postscreen_dnsbl_sites": "there is no postscreen; add the zones to content_checks.dnsbl, which has no weights",
    "postscreen_access_list": "there is no postscreen; use access rules",
    "smtpd_policy_service_policy_context": "there are no policy services",
    "soft_bounce": "5xx replies cannot be turned into 4xx; rules have a shadow mode",
}
_ENVIRONMENT = {
    "header_size_limit": "set INGRESS_MAX_HEADER_OCTETS",
    "smtpd_tls_cert_file": "set INGRESS_TLS_CERT, or put the chain to tls/ingress.crt in the data folder",
    "smtpd_tls_key_file": "set INGRESS_TLS_KEY, or put the key to tls/ingress.key in the data folder",
    "smtpd_tls_chain_files": "set INGRESS_TLS_CERT and INGRESS_TLS_KEY",
    "inet_interfaces": "set INGRESS_HOST to the addresses to listen on",
    "smtpd_upstream_proxy_protocol": "set INGRESS_PROXY_NETWORKS",
}
# Options of the submission ports that are not reported, because Posthouse's listeners do the same by themselves or need
# no counterpart.
_OF_LISTENERS = (
    "syslog_name",
    "smtpd_sasl_auth_enable",
    "smtpd_tls_wrappermode",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "milter_macro_daemon_name",
)
# The names, or ends of names, of parameters that need no counterpart, so they are not reported.
_MEANINGLESS = tuple(
    """
    milter_default_action milter_protocol milter_macro_daemon_name _directory _path _group _owner _loglevel
    _logging _session_cache_database html_directory compatibility_level biff append_dot_mydomain
    append_at_myorigin readme_directory mail_owner inet_protocols mydomain myorigin alias_database
    default_database_type debug_peer_level debugger_command maillog_file smtp_sasl_security_options
    smtp_sasl_tls_security_options smtp_tls_CAfile smtp_tls_CApath smtpd_tls_CAfile smtp_tls_note_starttls_offer
    smtp_sasl_mechanism_filter smtpd_tls_received_header smtpd_delay_reject smtpd_helo_required
    disable_vrfy_command mailbox_size_limit virtual_mailbox_limit virtual_minimum_uid virtual_gid_maps
    smtpd_sasl_type smtpd_sasl_local_domain smtpd_sasl_security_options smtpd_sasl_tls_security_options
    broken_sasl_auth_clients strict_rfc821_envelopes smtputf8_enable unknown_local_recipient_reject_code
    local_recipient_maps relay_recipient_maps parent_domain_matches_subdomains config_directory
    smtpd_reject_unlisted_recipient
    """.split()  # noqa: SIM905 - a list of words is read more easily so
)
_READ = tuple(
    """
    myhostname mydestination mynetworks mynetworks_style relay_domains relayhost alias_maps transport_maps
    virtual_transport local_transport relay_transport mailbox_transport virtual_alias_maps virtual_alias_domains
    virtual_mailbox_domains virtual_mailbox_maps virtual_mailbox_base sender_dependent_relayhost_maps
    smtp_sasl_auth_enable smtp_sasl_password_maps smtp_enforce_tls smtp_sender_dependent_authentication
    smtp_tls_security_level smtp_tls_wrappermode recipient_delimiter smtpd_banner message_size_limit
    smtpd_recipient_limit smtpd_sasl_auth_enable smtpd_tls_auth_only smtpd_tls_security_level smtpd_use_tls
    smtp_use_tls smtp_tls_policy_maps smtp_fallback_relay smtp_tls_enforce_peername lmtp_tls_security_level
    lmtp_tls_policy_maps lmtp_use_tls lmtp_enforce_tls lmtp_tls_enforce_peername smtp_destination_rate_delay
    default_destination_rate_delay anvil_rate_time_unit smtpd_sasl_path smtpd_client_event_limit_exceptions
    """.split()  # noqa: SIM905 - a list of words is read more easily so
)


def translate(main: Parameters, services: Sequence[Service], folder: Path, look_up: MailExchangers) -> Plan:
    """Returns the plan for a configuration whose files are in `folder`. `look_up` finds the MX of next hops."""
    plan = Plan()
    server = _of_port_25(main, services)
    _profile(server, plan)
    _logins(server, services, plan)
    _networks(server, folder, plan)
    next_hops = NextHops(main, folder, plan, look_up, relay_domain_names(main, folder))
    mailboxes = next_hops.transports()
    next_hops.all_mail()
    next_hops.by_sender()
    Domains(main, folder, plan, next_hops).read(mailboxes)
    next_hops.other_policies()
    Restrictions(server, folder, plan).read()
    _limits(server, plan)
    _ports(services, plan)
    _rest(main, plan)
    return plan


def _of_port_25(main: Parameters, services: Sequence[Service]) -> Parameters:
    """Returns the parameters of the service on port 25, or those of main.cf when no service listens there."""
    for service in services:
        if service.command in ("smtpd", "postscreen") and service.name.rpartition(":")[2] in ("smtp", "25"):
            return main.of(service)
    return main


def _profile(server: Parameters, plan: Plan) -> None:
    hostname = server["myhostname"]
    if server.is_set("myhostname"):
        if "." in hostname:
            plan.set("general", "profile.hostname", hostname.casefold())
            plan.converted("myhostname", hostname)
        else:
            plan.unsupported("myhostname", f"{hostname}: it must be fully qualified")
    if server.is_set("smtpd_banner"):
        banner = server["smtpd_banner"].removeprefix(hostname).strip()
        plan.set("general", "profile.banner", banner or "ESMTP")
        plan.converted("smtpd_banner", f"the text after the hostname: {banner or 'ESMTP'}")
    size = server.number("message_size_limit")
    size = _POSTFIX_MESSAGE_SIZE if size is None else size
    megabytes = -(-size // _MEGABYTE)
    plan.set("general", "profile.max_message_size_mb", megabytes)
    if size % _MEGABYTE:
        text = f"{megabytes} MB of 1,048,576 octets, rounded up from {size} octets to a whole number"
        plan.partly("message_size_limit", text)
    else:
        plan.converted("message_size_limit", f"{megabytes} MB of 1,048,576 octets" if size else "no limit")
    recipients = server.number("smtpd_recipient_limit") or 1000
    plan.set("general", "profile.max_recipients", recipients)
    plan.set("general", "profile.recipients_over_limit", "defer_excess")
    plan.converted(
        "smtpd_recipient_limit", f"{recipients}; recipients above this number are answered 452, as by Postfix"
    )


def _logins(server: Parameters, services: Sequence[Service], plan: Plan) -> None:
    enabled = server.is_on("smtpd_sasl_auth_enable")
    others = [
        service.name for service in services if service.overrides.get("smtpd_sasl_auth_enable", "").lower() == "yes"
    ]
    if others and not enabled:
        enabled = True
        plan.partly("smtpd_sasl_auth_enable", f"only {', '.join(others)} offers logins; here every listener does")
    plan.set("general", "smtp_auth.enabled", enabled)
    if enabled:
        plan.partly(
            "smtpd_sasl_auth_enable", "logins are offered; make accounts with passwords: `posthouse account import`"
        )
    # Postfix allows no login without TLS at the level encrypt, whatever smtpd_tls_auth_only says.
    encrypts = server["smtpd_tls_security_level"] == "encrypt"
    plan.set("general", "smtp_auth.forbid_plaintext_auth_without_tls", encrypts or server.is_on("smtpd_tls_auth_only"))
    if server.is_set("smtpd_tls_auth_only"):
        plan.converted("smtpd_tls_auth_only", server["smtpd_tls_auth_only"])
    if encrypts:
        plan.unsupported("smtpd_tls_security_level", "encrypt: clients must use TLS only for logins")
    elif server["smtpd_tls_security_level"]:
        plan.converted("smtpd_tls_security_level", "STARTTLS is always offered")


def _networks(server: Parameters, folder: Path, plan: Plan) -> None:
    networks: list[str] = []
    words = server.words("mynetworks")
    if not server.is_set("mynetworks"):
        words = ["127.0.0.0/8", "::1/128"]
        plan.partly("mynetworks_style", "loopback is trusted; the networks of this machine are not looked at")
    for word in words:
        try:
            networks += _network(word, folder)
        except (ValueError, MapError, OSError) as error:
            plan.unsupported("mynetworks", f"{word}: {error}")
    permits = any("permit_mynetworks" in server[f"smtpd_{name}_restrictions"] for name in ("relay", "recipient"))
    if networks and permits:
        plan.add("trusted_networks", {"name": "postfix mynetworks", "networks": list(dict.fromkeys(networks))})
        plan.converted("mynetworks", f"a trusted network: {', '.join(networks)}")
    elif networks:
        plan.unsupported(
            "mynetworks", "no restriction has permit_mynetworks, so these clients have no more rights than others"
        )


def _network(word: str, folder: Path) -> list[str]:
    """Returns the networks for a word. Raises ValueError, MapError."""
    if word.startswith("!"):
        raise ValueError("a trusted network has no exceptions here")
    if ":" in word and word.partition(":")[0].isalpha():
        return [str(ipaddress.ip_network(key, strict=False)) for key, _ in read(word, folder).entries]
    return [str(ipaddress.ip_network(word.replace("[", "").replace("]", ""), strict=False))]


def _limits(server: Parameters, plan: Plan) -> None:
    for name, (section, member) in _NUMBERS.items():
        number = server.number(name) if server.is_set(name) else None
        if number is not None:
            plan.set(section, member, max(number, 1) if section == "queue" else number)
            plan.converted(name, f"{section}.{member}: {number}")
    unit = server.seconds("anvil_rate_time_unit") or 60
    for name, member in _RATES.items():
        number = server.number(name)
        if number:
            rate = max(1, number * 60 // unit)
            plan.set("connection_policy", member, rate)
            plan.converted(name, f"connection_policy.{member}: {rate}")
    _rate_delay(server, plan)
    for name, (section, member, size) in _TIMES.items():
        seconds = server.seconds(name) if server.is_set(name) else None
        if seconds is not None:
            plan.set(section, member, seconds / size)
            plan.converted(name, f"{section}.{member}: {seconds / size:g}")


def _rate_delay(server: Parameters, plan: Plan) -> None:
    """Converts the pause between two deliveries to a destination, which Posthouse expresses as a number of messages in
    a minute.
    """
    name = next(
        (name for name in ("smtp_destination_rate_delay", "default_destination_rate_delay") if server.is_set(name)), ""
    )
    seconds = server.seconds(name) if name else None
    if not seconds:
        return
    rate = max(1, _MINUTE // seconds)
    plan.set("queue", "max_messages_per_minute_per_destination", rate)
    exactly = rate * seconds == _MINUTE
    text = f"{counted(rate, 'message')} a minute to each destination"
    if exactly:
        plan.converted(name, f"{text}; they may come close together")
    else:
        plan.partly(name, f"{text}, rounded to a whole number; Postfix sends one every {seconds} s")


def _ports(services: Sequence[Service], plan: Plan) -> None:
    variables = {
        "smtp": "INGRESS_SMTP_PORT=25",
        "25": "INGRESS_SMTP_PORT=25",
        "submission": "INGRESS_SUBMISSION_PORT=587",
        "587": "INGRESS_SUBMISSION_PORT=587",
        "smtps": "INGRESS_SMTPS_PORT=465",
        "submissions": "INGRESS_SMTPS_PORT=465",
        "465": "INGRESS_SMTPS_PORT=465",
    }
    for service in services:
        name = service.name.rpartition(":")[2]
        if service.command not in ("smtpd", "postscreen"):
            continue
        if name in variables:
            plan.partly(f"master.cf {service.name}", f"the port is set in the environment: {variables[name]}")
        else:
            plan.unsupported(f"master.cf {service.name}", "there are three listeners: smtp, submission, submissions")
        for parameter, value in service.overrides.items():
            where = f"master.cf {service.name} -o {parameter}"
            if parameter in _NO_COUNTERPART:
                plan.unsupported(where, _NO_COUNTERPART[parameter])
            elif parameter not in _OF_LISTENERS and variables.get(name) != "INGRESS_SMTP_PORT=25":
                plan.unsupported(where, f"{value}: the listeners share their settings here")


def _rest(main: Parameters, plan: Plan) -> None:
    """Reports the parameters that are set and were not read, each with the reason why it has no effect in Posthouse, or
    with the place where it is set. Parameters that need no counterpart are left out.
    """
    told = {finding.parameter for finding in plan.findings}
    for name, value in main.given.items():
        if name in told or name in _READ or not value or name.endswith("_restrictions"):
            continue
        if name in _NO_COUNTERPART:
            plan.unsupported(name, _NO_COUNTERPART[name])
        elif name in _ENVIRONMENT:
            plan.partly(name, f"{value}: {_ENVIRONMENT[name]}")
        elif not name.endswith(_MEANINGLESS):
            plan.unsupported(name, "the import does not know this parameter")
