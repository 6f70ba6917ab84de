"""Makes the reference page of settings: every member that operators may set, and the replies of the rules that the
member turns on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from libs.smtp.reply import TOO_MANY_REFUSED_RECIPIENTS, Reply
from services.policy.rules.authentication import OUTCOMES
from services.policy.rules.evaluate import RULES
from services.policy.rules.model import RuleMatch, Stage

ROOT = Path(__file__).parents[1]

# The rules of policy, each with the settings that turn it on or by which it decides. A test fails for a rule that is
# missing here, and for a setting that does not exist.
SETTINGS_OF_RULES: dict[str, tuple[str, ...]] = {
    "client_blocked": ("/v1/settings/advanced-security max_unknown_recipients_per_day",),
    "connection_rate": ("/v1/settings/connection-policy max_connections_per_minute",),
    "too_many_connections": ("/v1/settings/connection-policy max_concurrent_connections",),
    "message_rate": ("/v1/settings/connection-policy max_messages_per_minute",),
    "auth_not_offered": ("/v1/settings/general smtp_auth.enabled",),
    "auth_needs_tls": ("/v1/settings/general smtp_auth.forbid_plaintext_auth_without_tls",),
    "auth_twice": (),
    "auth_refused": ("/v1/accounts password",),
    "auth_failure_rate": (),
    "auth_unavailable": (),
    "login_required": (
        "/v1/settings/general smtp_auth.skip_for_local_networks",
        "/v1/trusted-networks networks",
    ),
    "message_too_big": ("/v1/settings/general profile.max_message_size_mb",),
    "too_many_recipients": (
        "/v1/settings/general profile.max_recipients",
        "/v1/settings/general profile.recipients_over_limit",
    ),
    "too_many_refused_recipients": ("/v1/settings/advanced-security max_refused_recipients",),
    "blocked_ip": ("/v1/access-rules action",),
    "blocked_network": ("/v1/access-rules action",),
    "blocked_sender": ("/v1/access-rules action",),
    "blocked_domain": ("/v1/access-rules action",),
    "blocked_recipient": ("/v1/access-rules action",),
    "relay_denied": (
        "/v1/settings/general smtp_auth.skip_for_local_networks",
        "/v1/trusted-networks networks",
    ),
    "untrusted_routing": ("/v1/relay-domains domain",),
    "sender_login_mismatch": ("/v1/settings/general smtp_auth.sender_must_match_login",),
    "from_login_mismatch": ("/v1/settings/general smtp_auth.sender_must_match_login",),
    "unknown_recipient": ("/v1/local-domains recipients", "/v1/relay-domains recipients"),
    "alias_leads_back": ("/v1/aliases targets",),
    "alias_ends_nowhere": ("/v1/aliases targets",),
    "recipient_verification": ("/v1/local-domains recipients", "/v1/relay-domains recipients"),
    "non_fqdn_sender": ("/v1/settings/sender-policy reject_non_fqdn_sender",),
    "unknown_sender_domain": ("/v1/settings/sender-policy reject_unknown_sender_domain",),
    "non_fqdn_helo": ("/v1/settings/advanced-security reject_non_fqdn_helo",),
    "unknown_helo": ("/v1/settings/advanced-security reject_unknown_helo",),
    "unknown_client_hostname": ("/v1/settings/connection-policy reject_unknown_client_hostname",),
    "dnsbl_listed": ("/v1/settings/content-checks dnsbl.mode",),
    "spf": ("/v1/settings/content-checks spf.mode",),
    "dkim": ("/v1/settings/content-checks dkim.mode",),
    "dmarc": ("/v1/settings/content-checks dmarc.mode",),
    "virus": ("/v1/settings/content-checks antivirus.mode",),
    "spam": ("/v1/settings/content-checks spam.mode",),
    "too_many_hops": ("/v1/settings/general profile.max_hops",),
    "too_many_junk_commands": ("/v1/settings/advanced-security max_junk_commands",),
    "unauthorized_pipelining": ("/v1/settings/advanced-security reject_unauthorized_pipelining",),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The replies of one rule at one stage."""

    reason_id: str
    stage: str
    replies: tuple[Reply, ...]

    @property
    def text(self) -> str:
        """Returns the replies as a client gets them."""
        return ", ".join(f"`{reply.code} {reply.enhanced} {reply.text}`" for reply in self.replies)


def answers() -> list[Answer]:
    """Returns every rule of policy with its replies, in the order in which the rules are tried."""
    of_rules = {
        (rule.reason_id, rule.stage): Answer(rule.reason_id, rule.stage.name, _replies(rule.match)) for rule in RULES
    }
    after_password = [
        Answer(reason_id, Stage.AUTH.name, (objection.reply,) if objection.reply else ())
        for reason_id, objection in OUTCOMES.values()
    ]
    by_ingress = Answer("too_many_refused_recipients", Stage.RCPT.name, (TOO_MANY_REFUSED_RECIPIENTS,))
    return sorted([*of_rules.values(), *after_password, by_ingress], key=lambda answer: Stage[answer.stage])


def _replies(match: Any) -> tuple[Reply, ...]:
    """Returns the replies that a function of a rule can give. They are found among the global names that the code of
    the function uses.
    """
    replies: dict[Reply, None] = {}
    seen: set[CodeType] = set()

    def look_at(value: Any) -> None:
        match value:
            case Reply():
                replies[value] = None
            case RuleMatch(reply=Reply() as reply):
                replies[reply] = None
            case dict():
                for each in value.values():
                    look_at(each)
            case FunctionType() if value.__module__.startswith("services.policy.rules") and value.__code__ not in seen:
                seen.add(value.__code__)
                for code in _codes(value.__code__):
                    for name in code.co_names:
                        look_at(value.__globals__.get(name))
            case _:
                pass

    look_at(match)
    return tuple(replies)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a setting. `path` is its place in the object: `relay_host.port`, `zones[].zone`."""

    path: str
    values: str
    default: str
    description: str


def document() -> dict[str, Any]:
    """Returns the OpenAPI document."""
    described: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text("utf-8"))
    return described


def resources(api: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns the path, title and schema of each settings object, and then of each collection."""
    found = []
    for path, operations in api["paths"].items():
        is_settings = path.startswith("/v1/settings/")
        write = operations.get("put" if is_settings else "post")
        if write is None or not (is_settings or f"{path}/{{id}}" in api["paths"]):
            continue
        schema = write["requestBody"]["content"]["application/json"]["schema"]
        found.append((path, operations["get"]["summary"], resolved(schema, api)))
    return found


def members(schema: dict[str, Any], api: dict[str, Any], prefix: str = "") -> Iterator[Member]:
    """Yields the members that may be written, each followed by the members inside it."""
    for name, declared in schema.get("properties", {}).items():
        if declared.get("readOnly"):
            continue
        path = prefix + name
        description = declared.get("description", "")
        parts = [resolved(part, api) for part in declared.get("anyOf", [declared])]
        inside = [part for part in parts if part.get("type") != "null"]
        text, default = _default(description, {**inside[0], **declared})
        required = "required" if name in schema.get("required", ()) and not default else default
        values = ", ".join(dict.fromkeys(_values(part, api) for part in parts))
        yield Member(path, values, required, text)
        for part in inside:
            yield from _within(part, api, path)


def _within(schema: dict[str, Any], api: dict[str, Any], path: str) -> Iterator[Member]:
    if schema.get("type") == "array":
        yield from _within(resolved(schema["items"], api), api, f"{path}[]")
    kinds: dict[str, list[Member]] = {}
    for variant in schema.get("oneOf", schema.get("anyOf", [])):
        for member in _within(resolved(variant, api), api, path):
            kinds.setdefault(member.path, []).append(member)
    yield from map(_merged, kinds.values())
    if "properties" in schema:
        yield from members(schema, api, f"{path}.")


def _merged(alternatives: list[Member]) -> Member:
    """Joins the members that several variants of an object have at the same path."""
    values, defaults, descriptions = (
        list(dict.fromkeys(getattr(alternative, column) for alternative in alternatives))
        for column in ("values", "default", "description")
    )
    return Member(alternatives[0].path, ", ".join(values), " or ".join(defaults), " ".join(descriptions))


def _default(description: str, declared: dict[str, Any]) -> tuple[str, str]:
    """Splits the description of a member: returns it without the sentence about the default, and the default."""
    before, marker, after = description.partition("The default is ")
    if marker:
        value, _, rest = after.partition(".")
        return f"{before}{rest}".strip(), f"`{value}`"
    default = declared.get("default")
    if default is None or isinstance(default, dict):
        return description, ""
    if default in ("", []):
        return description, "none"
    return description, f"`{json.dumps(default)}`".replace('"', "")


def _values(schema: dict[str, Any], api: dict[str, Any]) -> str:
    """Returns a short description of the values of a member."""
    if "enum" in schema or "x-extensible-enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum") or schema["x-extensible-enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "object")
    kinds = kind if isinstance(kind, list) else [kind]
    names = [str(_KINDS.get(each, each)) for each in kinds]
    if "array" in kinds:
        return f"list of {_values(resolved(schema['items'], api), api)}"
    if "integer" in kinds or "number" in kinds:
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and high is not None:
            names[0] += f" {low:g} to {high:.0f}" if high >= 1e6 else f" {low:g} to {high:g}"
    return ", ".join(names)


_KINDS = {"boolean": "`true`, `false`", "string": "text", "integer": "number", "number": "number", "null": "`null`"}


def resolved(schema: dict[str, Any], api: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = {
            **api["components"]["schemas"][schema["$ref"].rpartition("/")[2]],
            **{key: value for key, value in schema.items() if key != "$ref"},
        }
    return schema


def page() -> str:
    """Returns the page in Markdown."""
    api = document()
    by_setting: dict[str, list[Answer]] = {}
    for answer in answers():
        for setting in SETTINGS_OF_RULES[answer.reason_id]:
            by_setting.setdefault(setting, []).append(answer)
    parts = [
        "# Settings\n",
        "This page is for operators who look up a setting, its values, or the replies that it causes.",
        "Everything that operators set through the API, with `posthouse config set` or with the command of its",
        "collection. A member inside another one has a dot: `relay_host.port`. `[]` stands for each element of a list.",
        "*Answers* lists what an SMTP client may be told because of a setting, with the stage of the session and the",
        "`reason_id`. [Refusals and replies](refusals.md) has the rules in the order in which they are tried. A",
        "setting whose values are `off`, `shadow` and `enforce` refuses nothing in `shadow`: it only counts and",
        "records what it would have refused.\n",
    ]
    for path, summary, schema in resources(api):
        title = summary.removeprefix("The ").removeprefix("List ")
        parts += [f"## {title[0].upper()}{title[1:]}\n", f"`{path}`\n"]
        if description := schema.get("description"):
            parts += [f"{description}\n"]
        parts += ["| member | values | default | what it is | answers |", "|---|---|---|---|---|"]
        for member in members(schema, api):
            told = _told(by_setting.get(f"{path} {member.path}", []))
            cells = (member.values, member.default, member.description, told)
            row = " | ".join(cell.replace("|", "\\|") or "-" for cell in cells)
            parts.append(f"| `{member.path}` | {row} |")
        parts.append("")
    return "\n".join(parts)


def _told(of_setting: list[Answer]) -> str:
    """Returns the replies that depend on a setting, for one cell of a table. Rules with the same replies are joined."""
    reasons: dict[str, list[str]] = {}
    for answer in of_setting:
        reasons.setdefault(f"{answer.stage}: {answer.text}", []).append(f"`{answer.reason_id}`")
    return "<br>".join(f"{text} ({', '.join(names)})" for text, names in reasons.items())
