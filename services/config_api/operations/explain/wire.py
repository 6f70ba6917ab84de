"""Converts requests for explanations to requests of policy.v1 and relay.v1, and the answers to the form of the API."""

from __future__ import annotations

from typing import Any

from posthouse.policy.v1 import policy_pb2 as policy
from posthouse.relay.v1 import relay_pb2 as relay

from services.config_api.operations.explain.schemas import ContentFacts, PastSession, SessionFacts, SessionToExplain
from services.config_api.operations.wire import name, or_none, text
from services.config_api.snapshot.encoding import access_rule_message

# The id of the proposed access rule in the request to policy.
PROPOSED = "proposed"
_LISTENERS = {
    "smtp": policy.LISTENER_SMTP,
    "submission": policy.LISTENER_SUBMISSION,
    "submissions": policy.LISTENER_SUBMISSIONS,
}


def explain_request(given: SessionToExplain) -> policy.ExplainRequest:
    if isinstance(given, PastSession):
        return policy.ExplainRequest(session_id=given.session_id)
    request = policy.ExplainRequest(facts=_facts(given.facts))
    for lookup, outcome in given.assumed.items():
        request.assumed.lookups[lookup] = policy.LookupOutcome.Value(f"LOOKUP_OUTCOME_{outcome.upper()}")
    if given.proposed_rule is not None:
        proposed = given.proposed_rule.model_dump(mode="json")
        request.proposed_access_rule.CopyFrom(access_rule_message(PROPOSED, proposed))
    if given.now is not None:
        request.assumed.now.FromDatetime(given.now)
    return request


def _facts(given: SessionFacts) -> policy.DecideRequest:
    session = policy.Session(
        id="0" * 32,
        client_address=given.client_address,
        listener=_LISTENERS[given.listener],
        helo_name=given.helo_name.encode(),
        esmtp=True,
        account_login=given.account_login,
        junk_commands=given.junk_commands,
        # Policy has not counted any of these commands yet.
        junk_commands_uncharged=given.junk_commands,
    )
    if given.tls:
        session.tls.version = "TLSv1.3"
    request = policy.DecideRequest(stage=policy.Stage.Value(f"STAGE_{given.stage.upper()}"), session=session)
    if given.stage in ("mail", "rcpt", "data", "end_of_data"):
        request.transaction.CopyFrom(
            policy.Transaction(
                sender=(given.sender or "").encode(),
                declared_size=given.declared_size,
                recipient=(given.recipient or "").encode() if given.stage == "rcpt" else b"",
                recipients=_taken(given),
            )
        )
    if given.stage == "end_of_data":
        request.content.CopyFrom(_content(given.content or ContentFacts()))
    return request


def _taken(given: SessionFacts) -> list[bytes]:
    """Returns the accepted recipients. At the stages after RCPT, the recipient of the request is one of the accepted
    ones.
    """
    taken = [address.encode() for address in given.recipients]
    if given.stage in ("data", "end_of_data") and given.recipient is not None:
        taken.append(given.recipient.encode())
    return taken


def _content(given: ContentFacts) -> policy.Content:
    content = policy.Content(
        size=given.size,
        hops=given.hops,
        from_fields=1 if given.from_addresses else 0,
        from_addresses=[address.encode() for address in given.from_addresses],
        dkim_checked=given.dkim is not None,
        dkim=[
            policy.DkimSignature(
                result=policy.CheckResult.Value(f"CHECK_RESULT_{signature.result.upper()}"),
                domain=signature.domain.lower().encode(),
            )
            for signature in given.dkim or ()
        ],
    )
    if given.virus is not None:
        content.virus.outcome = policy.VirusScan.Outcome.Value(f"OUTCOME_{given.virus.upper()}")
    if given.spam is not None:
        content.spam.action = policy.SpamScan.Action.Value(f"ACTION_{given.spam.action.upper()}")
        content.spam.score = given.spam.score
    return content


def session_explained(found: policy.ExplainResponse) -> dict[str, Any]:
    verdict = found.verdict
    return {
        "rules": [_rule(rule) for rule in found.rules],
        "lookups": [
            {
                "name": lookup.name,
                "outcome": name(policy.LookupOutcome, lookup.outcome, "LOOKUP_OUTCOME_"),
                "detail": or_none(lookup.detail),
                "took_us": lookup.took.ToMicroseconds(),
            }
            for lookup in found.lookups
        ],
        "action": name(policy.Action, verdict.action, "ACTION_"),
        "reply": _reply(verdict.reply) if verdict.HasField("reply") else None,
        "reason_id": or_none(verdict.reason_id),
        "rule_id": or_none(verdict.rule_id),
        "delay_seconds": verdict.delay.ToMicroseconds() / 1_000_000,
        "snapshot_revision": found.snapshot_revision,
    }


def _rule(found: policy.RuleReport) -> dict[str, Any]:
    return {
        "stage": name(policy.Stage, found.stage, "STAGE_"),
        "reason_id": found.reason_id,
        "rule_id": or_none(found.rule_id),
        "outcome": name(policy.RuleReport.Outcome, found.outcome, "OUTCOME_"),
        "skipped_by": or_none(found.skipped_by),
        "reply": _reply(found.reply) if found.HasField("reply") else None,
        "explanation": found.explanation,
    }


def _reply(found: policy.Reply) -> dict[str, Any]:
    return {"code": found.code, "enhanced_code": or_none(found.enhanced_code), "text": found.text}


def route_explained(found: relay.ResolveRouteResponse) -> dict[str, Any]:
    return {"routes": [_route(route) for route in found.routes], "snapshot_revision": found.snapshot_revision}


def _route(found: relay.ResolvedRoute) -> dict[str, Any]:
    return {
        "recipient": text(found.recipient),
        "kind": found.kind,
        "destination": or_none(found.destination),
        "rules": [
            {
                "kind": rule.kind,
                "rule_id": or_none(rule.rule_id),
                "name": or_none(rule.name),
                "won": rule.won,
                "reason": rule.reason,
            }
            for rule in found.rules
        ],
        "hosts": [
            {
                "preference": host.preference,
                "host": host.host,
                "port": or_none(host.port),
                "addresses": list(host.addresses),
                "left_out": or_none(host.left_out),
            }
            for host in found.hosts
        ],
        "lookups": [
            {
                "query": lookup.query,
                "outcome": lookup.outcome,
                "answers": list(lookup.answers),
                "name_server": or_none(lookup.name_server),
                "took_us": lookup.took_us,
            }
            for lookup in found.lookups
        ],
        "tls_policy": or_none(found.tls_policy),
        "verify_certificate": found.verify_certificate,
        "auth_username": or_none(found.auth_username),
        "code": or_none(found.code),
        "enhanced_code": or_none(found.enhanced_code),
        "reason": or_none(found.reason),
    }
