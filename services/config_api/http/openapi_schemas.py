"""Changes the schemas of the OpenAPI document into the form that client generators read best.

pydantic writes schemas for validation. Generators make better classes from schemas without titles, with named
enumerations and unions, with `format: int64`, with null as a second type, and without a default beside a reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Schema = dict[str, Any]
Schemas = dict[str, Schema]

PREFIX = "#/components/schemas/"
_INT32_MAXIMUM = (1 << 31) - 1
_SUBSCHEMA_MAPS = ("properties", "patternProperties", "$defs")
_SUBSCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SUBSCHEMAS = ("items", "additionalProperties", "propertyNames", "not")

# The names of enumerations that several members share, or for which the name of the member is not enough.
ENUMERATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "AccessList": ("The list that an access rule belongs to.", ("block", "allow")),
    "AccessCriterion": (
        "The criterion of an access rule.",
        ("sender", "recipient", "ip", "network", "domain"),
    ),
    "ApiKeyRole": ("The role of an API key.", ("sender", "reader", "operator", "admin")),
    "AssumedOutcome": ("The outcome to assume for a look-up.", ("found", "none", "no_answer")),
    "AuthenticationResult": (
        "The result of an authentication method (RFC 8601 section 2.7).",
        ("none", "neutral", "pass", "fail", "softfail", "policy", "temperror", "permerror"),
    ),
    "DeliveryMode": ("Where mail goes that no rule matches.", ("direct", "relay_host")),
    "DkimAlgorithm": ("A signature algorithm of DKIM.", ("rsa-sha256", "ed25519-sha256")),
    "Listener": ("The kind of port that a session came in on.", ("smtp", "submission", "submissions")),
    "MailboxKind": ("How mail is delivered to a mailbox.", ("smtp", "lmtp", "maildir")),
    "Mode": (
        "off: the check is not made. shadow: its outcome is recorded, and nothing is refused. enforce: it refuses.",
        ("off", "shadow", "enforce"),
    ),
    "ObjectEvent": ("What happened to an object.", ("made", "changed", "removed")),
    "RecipientsOverLimit": (
        "What happens to recipients over the limit of a message.",
        ("defer_excess", "reject_message"),
    ),
    "RefusalAction": ("reject: the mail is refused. discard: it is accepted and dropped.", ("reject", "discard")),
    "RelayRuleType": ("The address that a relay rule looks at.", ("recipient", "sender")),
    "RelayRuleTargetType": ("What the targets of a relay rule are.", ("address", "domain")),
    "ServiceName": ("A service of the suite.", ("config_api", "policy", "relay", "ingress")),
    "ScanFailureAction": ("The action when the scanner gives no verdict.", ("tempfail", "accept")),
    "SessionStage": (
        "A stage of an SMTP session.",
        ("connect", "helo", "mail", "rcpt", "data", "end_of_data", "junk_command", "pipelining"),
    ),
    "StageOfRefusal": (
        "The stage of a session at which mail was refused.",
        ("connect", "auth", "helo", "mail", "rcpt", "data", "end_of_data", "junk_command", "pipelining"),
    ),
    "TlsPolicy": (
        "The TLS that a delivery needs.",
        ("opportunistic", "required", "implicit", "mta-sts", "dane", "none"),
    ),
    "TlsLevel": (
        (
            "The TLS that a connection needs. encrypt means that plaintext is never used. verify also demands a valid "
            "certificate."
        ),
        ("none", "may", "encrypt", "verify"),
    ),
    "SpfSoftfailAction": ("The action for a softfail of SPF.", ("accept", "reject")),
    "EventType": (
        "What can become of a message.",
        ("delivered", "deferred", "bounced", "expired", "held", "refused", "client_blocked"),
    ),
    "NotifyCondition": ("When a report is wanted (RFC 3461).", ("never", "success", "failure", "delay")),
    "ReturnedContent": ("How much of a message its report holds.", ("full", "headers")),
    "WebhookDeliveryState": ("Whether an event was accepted.", ("delivered", "failing")),
    "DeliveryStateFilter": (
        "A state of deliveries to search for.",
        (
            "active",
            "deferred",
            "held",
            "delivered",
            "bounced",
            "discarded",
            "deleted",
            "expanded",
            "rejected",
            "quarantined",
            "redirected",
        ),
    ),
    "DeliveryState": (
        (
            "The state of a delivery. unknown means that a newer relay has a state that this release of config_api "
            "does "
            "not know."
        ),
        (
            "active",
            "deferred",
            "held",
            "delivered",
            "bounced",
            "discarded",
            "deleted",
            "expanded",
            "rejected",
            "quarantined",
            "redirected",
            "unknown",
        ),
    ),
}
# The names of unions, with the schemas that they contain.
UNIONS: Mapping[str, tuple[str, frozenset[str]]] = {
    "Mailbox": ("Where the mail of a domain goes.", frozenset({"SmtpMailbox", "LmtpMailbox", "MaildirMailbox"})),
    "MailboxServer": ("A server that accepts the mail of a domain.", frozenset({"SmtpMailbox", "LmtpMailbox"})),
    "RelayHostToTest": ("The relay host to test.", frozenset({"ConfiguredRelayHost", "ProposedRelayHost"})),
    "SessionToExplain": ("The session to explain.", frozenset({"HypotheticalSession", "PastSession"})),
}
_NAME_BY_VALUES = {frozenset(values): name for name, (_, values) in ENUMERATIONS.items()}


def subschemas(schema: Schema) -> Iterator[Schema]:
    """Yields the schemas directly below a schema."""
    for key in _SUBSCHEMA_MAPS:
        yield from schema.get(key, {}).values()
    for key in _SUBSCHEMA_LISTS:
        yield from schema.get(key, ())
    for key in _SUBSCHEMAS:
        if isinstance(schema.get(key), dict):
            yield schema[key]


def references(node: Any) -> set[str]:
    """Returns the names of the component schemas to which a part of the document refers."""
    return set(re.findall(rf'"{PREFIX}([A-Za-z0-9_]+)"', json.dumps(node)))


def reachable(starts: Iterable[str], schemas: Schemas) -> set[str]:
    """Returns the schemas of these names, and those to which they refer."""
    names: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in names and name in schemas:
            names.add(name)
            waiting += references(schemas[name])
    return names


def reference(name: str) -> Schema:
    return {"$ref": PREFIX + name}


def pascal_case(text: str) -> str:
    """Makes a class name: `rcpt-to` and `rcpt_to` become RcptTo."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", text))


def tidy(schemas: Schemas) -> None:
    """Changes all schemas into the form of the document, in place."""
    for name, schema in list(schemas.items()):
        if "enum" in schema:
            # The schema already has a name.
            schema.pop("title", None)
        else:
            _tidy(schema, name, "", schemas)
    for schema in list(schemas.values()):
        name_unions(schema, schemas)


def tidy_holder(holder: Schema, schemas: Schemas) -> None:
    """Changes the schemas outside the components into the form of the document."""
    _tidy(holder, "", "", schemas)
    name_unions(holder, schemas)


def tidy_parameter(schema: Schema, operation: str, name: str, schemas: Schemas) -> Schema:
    """Returns the schema of a parameter in the form of the document."""
    holder = {"properties": {name: schema}}
    _tidy(holder, pascal_case(operation), "", schemas)
    tidied: Schema = holder["properties"][name]
    return tidied


def _tidy(schema: Schema, owner: str, member: str, schemas: Schemas) -> None:
    schema.pop("title", None)
    for name, inner in schema.get("properties", {}).items():
        _tidy(inner, owner, name, schemas)
    for key in ("patternProperties", "$defs"):
        for inner in schema.get(key, {}).values():
            _tidy(inner, owner, member, schemas)
    for key in _SUBSCHEMA_LISTS:
        for inner in schema.get(key, ()):
            _tidy(inner, owner, member, schemas)
    for key in _SUBSCHEMAS:
        if isinstance(schema.get(key), dict):
            _tidy(schema[key], owner, member, schemas)
    if set(schema.get("enum", ())) == {"true", "false"}:
        del schema["enum"]
        schema["type"] = "boolean"
    if "enum" in schema:
        _name_enumeration(schema, owner, member, schemas)
    _join_null(schema)
    if schema.get("type") in ("integer", ["integer", "null"]) and "format" not in schema:
        bounds = (schema.get("maximum"), schema.get("minimum"))
        if not all(bound is not None and abs(bound) <= _INT32_MAXIMUM for bound in bounds):
            schema["format"] = "int64"
    has_object = isinstance(schema.get("default"), dict)
    if has_object or "$ref" in schema or any("$ref" in inner for inner in schema.get("anyOf", ())):
        _move_default(schema)


def _name_enumeration(schema: Schema, owner: str, member: str, schemas: Schemas) -> None:
    """Makes a component of the enumeration, and replaces the schema by a reference to it."""
    values = schema.pop("enum")
    name = _NAME_BY_VALUES.get(frozenset(values))
    if name is not None:
        description, values = ENUMERATIONS[name][0], list(ENUMERATIONS[name][1])
    else:
        name = owner.removesuffix("Patch") + pascal_case(member)
        description = schema.get("description") or f"A value of {member} of {owner}."
    schemas[name] = {"type": "string", "enum": values, "description": description}
    schema.pop("type", None)
    schema.update(reference(name))


def _join_null(schema: Schema) -> None:
    """Makes one schema with two types of `anyOf` with a type and null, where no information is lost."""
    members = schema.get("anyOf", ())
    others = [member for member in members if member != {"type": "null"}]
    if len(members) != 2 or len(others) != 1 or "type" not in others[0]:
        return
    [only] = others
    if only["type"] == "object" or "const" in only:
        return
    del schema["anyOf"]
    for key, value in only.items():
        schema.setdefault(key, value)
    # A member of a patch may be null although the member of the resource may be null already.
    schema["type"] = only["type"] if "null" in only["type"] else [only["type"], "null"]


def _move_default(schema: Schema) -> None:
    """Moves a default that is an object, or that is beside a reference, into the description. From such a default
    generators make code that does not compile.
    """
    default = schema.pop("default", None)
    if isinstance(default, str):
        described = schema.get("description", "").rstrip()
        schema["description"] = f"{described} The default is {default}.".strip()


def name_unions(schema: Schema, schemas: Schemas) -> None:
    """Makes a component of each union of objects that has a discriminator."""
    for inner in subschemas(schema):
        name_unions(inner, schemas)
        if "discriminator" in inner:
            _name_union(inner, schemas)
        _mark_nullable_union(inner, schemas)


def _name_union(schema: Schema, schemas: Schemas) -> None:
    members = references(schema["oneOf"])
    name = next((name for name, (_, of_union) in UNIONS.items() if of_union == members), None)
    if name is None:
        # Without a fixed name, a union with a new member would get another name, and clients would lose its class.
        raise ValueError(f"UNIONS of {__name__} has no name for the union of {', '.join(sorted(members))}")
    union = {"oneOf": schema.pop("oneOf"), "discriminator": schema.pop("discriminator")}
    schemas.setdefault(name, {"description": UNIONS[name][0], **union})
    schema.update(reference(name))


def _mark_nullable_union(schema: Schema, schemas: Schemas) -> None:
    """Marks a union that is null somewhere: Java's generated class reads a null only if its own schema says so.

    Null can't be a member of the union, where no value of the discriminator would name it.
    """
    for name in UNIONS:
        if schema.get("anyOf") == [reference(name), {"type": "null"}]:
            schemas[name]["x-nullable"] = True


def open_and_close(schemas: Schemas, in_requests: set[str], in_answers: set[str]) -> None:
    """Allows new members and new values in schemas of answers. A schema that is only used in requests allows no unknown
    members.
    """
    for name in in_answers & schemas.keys():
        schema = schemas[name]
        if schema.get("additionalProperties") is False:
            del schema["additionalProperties"]
        if "enum" in schema:
            schema["x-extensible-enum"] = schema["enum"]
            if name not in in_requests:
                del schema["enum"]
    for name in in_requests - in_answers:
        if "properties" in schemas[name]:
            schemas[name]["additionalProperties"] = False


def mark_read_only(schema: Schema, names: Sequence[str]) -> None:
    """Marks read-only members. They are in every answer that has the object, and are never required in a request."""
    for name in names:
        member = schema["properties"][name]
        member["readOnly"] = True
        member.pop("default", None)
    required = [name for name in schema.get("required", ()) if name not in names]
    if required:
        schema["required"] = required
    else:
        schema.pop("required", None)
