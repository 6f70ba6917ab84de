"""MAIL and RCPT: the envelope, a decision a command."""

from __future__ import annotations

from functools import lru_cache

from libs.smtp.address import AddressError
from libs.smtp.parameters import MailParameters, RcptParameters, parse_mail, parse_rcpt
from libs.smtp.reply import (
    BAD_COMMAND_SYNTAX,
    BAD_SEQUENCE,
    MESSAGE_TOO_BIG,
    RECIPIENT_OK,
    RECIPIENT_OVER_MESSAGE_LIMIT,
    SENDER_OK,
    SHUTTING_DOWN,
    CommandError,
)
from services.ingress import spans
from services.ingress.commands import greeting
from services.ingress.dialogue import Dialogue, handler_refused
from services.ingress.session import Discard, Recipient, Stage, Transaction
from services.ingress.verdict import Action, Verdict

# Recipients of a discarded message that are recorded; more are answered in the same way, and take no memory.
_DISCARDED_RECORDED = 1_000

# Clients mostly repeat the arguments of earlier messages, and other clients send the same ones.
_KEPT = 1024


@lru_cache(maxsize=_KEPT)
def _sender(argument: bytes, offered: int, lenient: bool) -> tuple[bytes, MailParameters]:
    """The address as the contracts have it, and the parameters. Raises CommandError."""
    address, parameters = parse_mail(argument, greeting.OFFERED[offered], lenient=lenient)
    return address.wire(), parameters


@lru_cache(maxsize=_KEPT)
def _recipient(argument: bytes, offered: int, smtputf8: bool, lenient: bool) -> tuple[str, bytes, RcptParameters]:
    """The address, for matching and as the contracts have it, and the parameters. Raises CommandError."""
    address, parameters = parse_rcpt(argument, greeting.OFFERED[offered], smtputf8=smtputf8, lenient=lenient)
    return address.matching_key(), address.wire(), parameters


async def mail(dialogue: Dialogue, argument: bytes) -> None:
    session, profile = dialogue.session, dialogue.profile
    if not session.helo_name:
        dialogue.error(BAD_SEQUENCE.with_text("Send HELO or EHLO first"))
        return
    if dialogue.transaction is not None:
        dialogue.error(BAD_SEQUENCE.with_text("Sender already given"))
        return
    if argument[:5].upper() != b"FROM:":
        dialogue.error(BAD_COMMAND_SYNTAX.with_text("Syntax: MAIL FROM:<address>"))
        return
    try:
        sender, parameters = _sender(argument[5:], greeting.offered(dialogue), session.on_submission_port)
    except CommandError as error:
        dialogue.error(error.reply)
        return
    if dialogue.services.draining:
        dialogue.end("shutting_down", SHUTTING_DOWN)
        return
    transaction = Transaction(sender, parameters)
    if profile.max_message_size and parameters.size > profile.max_message_size:
        dialogue.record(MESSAGE_TOO_BIG, Stage.MAIL, (), "message_too_big", "", sender=sender)
        dialogue.reply(MESSAGE_TOO_BIG)
        return
    short = dialogue.services.relay.refusal(parameters.size)
    if short is not None:
        dialogue.reply(short.reply)
        return
    if spans.current is not None:
        spans.current.message_began(session)
    if not await _mail_permitted(dialogue, transaction):
        dialogue.clear_transaction()
        return
    hooks = dialogue.services.hooks
    if hooks is not None and transaction.discard is None:
        refusal = await hooks.mail(dialogue.caller(), transaction)
        if refusal is not None:
            dialogue.refuse_by_handler(refusal, Stage.MAIL, (), sender=transaction.sender)
            dialogue.clear_transaction()
            return
    dialogue.transaction = transaction
    dialogue.reply(SENDER_OK)


async def _mail_permitted(dialogue: Dialogue, transaction: Transaction) -> bool:
    """Asks policy where there is something to decide, or a delay to be charged for junk commands."""
    session, profile = dialogue.session, dialogue.profile
    delayed = 0 < profile.junk_commands_per_delay <= session.junk_commands_uncharged
    if not delayed and Stage.MAIL not in profile.ask_stages:
        return True
    verdict = await dialogue.decide(Stage.MAIL, transaction=transaction)
    if delayed:
        session.junk_commands_uncharged %= profile.junk_commands_per_delay
    if verdict.action is Action.REJECT and verdict.reply is not None:
        dialogue.report(verdict, Stage.MAIL, (), sender=transaction.sender)
        dialogue.reply(verdict.reply)
        return False
    if verdict.action is Action.DISCARD:
        transaction.discard = Discard(verdict.reason_id, verdict.rule_id)
    transaction.checks = transaction.checks.united(verdict.checks)
    return True


async def _verified(dialogue: Dialogue, transaction: Transaction, address: bytes) -> Verdict:
    """policy's verdict once it knows what the mailbox server says of the recipient."""
    dialogue.connection.flush()
    client = dialogue.session.peer.client_address
    transaction.recipient_verification = await dialogue.services.relay.verify(address, client)
    try:
        return await dialogue.decide(Stage.RCPT, recipient=address)
    finally:
        transaction.recipient_verification = 0


async def rcpt(dialogue: Dialogue, argument: bytes) -> None:
    transaction = dialogue.transaction
    if transaction is None or dialogue.chunks is not None:
        dialogue.error(BAD_SEQUENCE.with_text("Send MAIL first"))
        return
    if argument[:3].upper() != b"TO:":
        dialogue.error(BAD_COMMAND_SYNTAX.with_text("Syntax: RCPT TO:<address>"))
        return
    try:
        key, address, parameters = _recipient(
            argument[3:],
            greeting.offered(dialogue),
            transaction.parameters.smtputf8,
            dialogue.session.on_submission_port,
        )
    except AddressError as error:
        # A wrong recipient never ends the session, however many there are: the others must get the message (C24).
        dialogue.reply(error.reply)
        return
    except CommandError as error:
        dialogue.error(error.reply)
        return
    if key in transaction.recipients:
        dialogue.reply(RECIPIENT_OK)
        return
    if transaction.refusal_reason:
        dialogue.reply(RECIPIENT_OVER_MESSAGE_LIMIT)
        return
    discard = transaction.discard
    if discard is None:
        verdict = await dialogue.decide(Stage.RCPT, recipient=address)
        if verdict.verify_recipient:
            verdict = await _verified(dialogue, transaction, address)
        transaction.recipients_asked += 1
        if verdict.action is Action.REJECT and verdict.reply is not None:
            if verdict.refuses_message:
                transaction.refusal_reason = verdict.reason_id
            await dialogue.refuse_recipient(verdict, verdict.reply, address)
            return
        if verdict.action is Action.DISCARD:
            discard = Discard(verdict.reason_id, verdict.rule_id)
        transaction.checks = transaction.checks.united(verdict.checks)
        if verdict.checks.rspamd is not None:
            transaction.envelope_results, transaction.client_name = verdict.results, verdict.client_name
    if discard is not None and len(transaction.recipients) >= _DISCARDED_RECORDED:
        dialogue.reply(RECIPIENT_OK)
        return
    recipient = Recipient(address, parameters, discard)
    if dialogue.services.hooks is not None and discard is None:
        refusal = await dialogue.services.hooks.rcpt(dialogue.caller(), transaction, recipient)
        if refusal is not None:
            await dialogue.refuse_recipient(handler_refused(refusal), refusal, address)
            return
    transaction.recipients[key] = recipient
    dialogue.reply(RECIPIENT_OK)
