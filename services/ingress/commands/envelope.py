"""MAIL and RCPT: the envelope, with a decision for each command."""

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
from services.ingress.session import Discard, Recipient, Stage, Transaction
from services.ingress.smtp_session import SmtpSession, handler_refused
from services.ingress.verdict import Action, Verdict

# The largest number of recipients of a discarded message that are recorded. Further recipients get the same answer, and
# use no memory.
_DISCARDED_RECORDED = 1_000

# Clients mostly repeat the arguments of earlier messages, so the parsed arguments are cached.
_KEPT = 1024


@lru_cache(maxsize=_KEPT)
def _sender(argument: bytes, offered: int, lenient: bool) -> tuple[bytes, MailParameters]:
    """Returns the address in the form of the contracts, and the parameters. Raises CommandError."""
    address, parameters = parse_mail(argument, greeting.OFFERED[offered], lenient=lenient)
    return address.wire(), parameters


@lru_cache(maxsize=_KEPT)
def _recipient(argument: bytes, offered: int, smtputf8: bool, lenient: bool) -> tuple[str, bytes, RcptParameters]:
    """Returns the address in the form for comparisons, the address in the form of the contracts, and the parameters.
    Raises CommandError.
    """
    address, parameters = parse_rcpt(argument, greeting.OFFERED[offered], smtputf8=smtputf8, lenient=lenient)
    return address.matching_key(), address.wire(), parameters


async def mail(smtp_session: SmtpSession, argument: bytes) -> None:
    session, profile = smtp_session.session, smtp_session.profile
    if not session.helo_name:
        smtp_session.error(BAD_SEQUENCE.with_text("Send HELO or EHLO first"))
        return
    if smtp_session.transaction is not None:
        smtp_session.error(BAD_SEQUENCE.with_text("Sender already given"))
        return
    if argument[:5].upper() != b"FROM:":
        smtp_session.error(BAD_COMMAND_SYNTAX.with_text("Syntax: MAIL FROM:<address>"))
        return
    try:
        sender, parameters = _sender(argument[5:], greeting.offered(smtp_session), session.on_submission_port)
    except CommandError as error:
        smtp_session.error(error.reply)
        return
    if smtp_session.context.draining:
        smtp_session.end("shutting_down", SHUTTING_DOWN)
        return
    transaction = Transaction(sender, parameters)
    if profile.max_message_size and parameters.size > profile.max_message_size:
        smtp_session.record(MESSAGE_TOO_BIG, Stage.MAIL, (), "message_too_big", "", sender=sender)
        smtp_session.reply(MESSAGE_TOO_BIG)
        return
    short = smtp_session.context.relay.refusal(parameters.size)
    if short is not None:
        smtp_session.reply(short.reply)
        return
    if spans.current is not None:
        spans.current.message_began(session)
    if not await _mail_permitted(smtp_session, transaction):
        smtp_session.clear_transaction()
        return
    hooks = smtp_session.context.hooks
    if hooks is not None and transaction.discard is None:
        refusal = await hooks.mail(smtp_session.caller(), transaction)
        if refusal is not None:
            smtp_session.refuse_by_handler(refusal, Stage.MAIL, (), sender=transaction.sender)
            smtp_session.clear_transaction()
            return
    smtp_session.transaction = transaction
    smtp_session.reply(SENDER_OK)


async def _mail_permitted(smtp_session: SmtpSession, transaction: Transaction) -> bool:
    """Whether MAIL is allowed. A refused MAIL was answered. Policy is asked only when a rule may match, or when junk
    commands cause a delay.
    """
    session, profile = smtp_session.session, smtp_session.profile
    delayed = 0 < profile.junk_commands_per_delay <= session.junk_commands_uncharged
    if not delayed and Stage.MAIL not in profile.ask_stages:
        return True
    verdict = await smtp_session.decide(Stage.MAIL, transaction=transaction)
    if delayed:
        session.junk_commands_uncharged %= profile.junk_commands_per_delay
    if verdict.action is Action.REJECT and verdict.reply is not None:
        smtp_session.report(verdict, Stage.MAIL, (), sender=transaction.sender)
        smtp_session.reply(verdict.reply)
        return False
    if verdict.action is Action.DISCARD:
        transaction.discard = Discard(verdict.reason_id, verdict.rule_id)
    transaction.checks = transaction.checks.united(verdict.checks)
    return True


async def _verified(smtp_session: SmtpSession, transaction: Transaction, address: bytes) -> Verdict:
    """Asks policy again, with the mailbox server's answer about the recipient. Returns the verdict."""
    smtp_session.connection.flush()
    client = smtp_session.session.peer.client_address
    transaction.recipient_verification = await smtp_session.context.relay.verify(address, client)
    try:
        return await smtp_session.decide(Stage.RCPT, recipient=address)
    finally:
        transaction.recipient_verification = 0


async def rcpt(smtp_session: SmtpSession, argument: bytes) -> None:
    transaction = smtp_session.transaction
    if transaction is None or smtp_session.chunks is not None:
        smtp_session.error(BAD_SEQUENCE.with_text("Send MAIL first"))
        return
    if argument[:3].upper() != b"TO:":
        smtp_session.error(BAD_COMMAND_SYNTAX.with_text("Syntax: RCPT TO:<address>"))
        return
    try:
        key, address, parameters = _recipient(
            argument[3:],
            greeting.offered(smtp_session),
            transaction.parameters.smtputf8,
            smtp_session.session.on_submission_port,
        )
    except AddressError as error:
        # Wrong recipients never end the session, because the other recipients must get the message (C24).
        smtp_session.reply(error.reply)
        return
    except CommandError as error:
        smtp_session.error(error.reply)
        return
    if key in transaction.recipients:
        smtp_session.reply(RECIPIENT_OK)
        return
    if transaction.refusal_reason:
        smtp_session.reply(RECIPIENT_OVER_MESSAGE_LIMIT)
        return
    discard = transaction.discard
    if discard is None:
        verdict = await smtp_session.decide(Stage.RCPT, recipient=address)
        if verdict.verify_recipient:
            verdict = await _verified(smtp_session, transaction, address)
        transaction.recipients_asked += 1
        if verdict.action is Action.REJECT and verdict.reply is not None:
            if verdict.refuses_message:
                transaction.refusal_reason = verdict.reason_id
            await smtp_session.refuse_recipient(verdict, verdict.reply, address)
            return
        if verdict.action is Action.DISCARD:
            discard = Discard(verdict.reason_id, verdict.rule_id)
        transaction.checks = transaction.checks.united(verdict.checks)
        if verdict.checks.rspamd is not None:
            transaction.envelope_results, transaction.client_name = verdict.results, verdict.client_name
    if discard is not None and len(transaction.recipients) >= _DISCARDED_RECORDED:
        smtp_session.reply(RECIPIENT_OK)
        return
    recipient = Recipient(address, parameters, discard)
    if smtp_session.context.hooks is not None and discard is None:
        refusal = await smtp_session.context.hooks.rcpt(smtp_session.caller(), transaction, recipient)
        if refusal is not None:
            await smtp_session.refuse_recipient(handler_refused(refusal), refusal, address)
            return
    transaction.recipients[key] = recipient
    smtp_session.reply(RECIPIENT_OK)
