"""The commands outside the mail transaction: RSET, NOOP, VRFY, EXPN, ETRN, HELP, and QUIT."""

from __future__ import annotations

from libs.smtp.reply import (
    BAD_COMMAND_SYNTAX,
    CANNOT_VERIFY,
    CLOSING,
    HELP,
    NOT_IMPLEMENTED,
    OK,
)
from services.ingress.smtp_session import SmtpSession


async def rset(smtp_session: SmtpSession, argument: bytes) -> None:
    if argument:
        smtp_session.error(BAD_COMMAND_SYNTAX.with_text("RSET takes no argument"))
        return
    smtp_session.clear_transaction()
    if not await smtp_session.junk():
        smtp_session.reply(OK)


async def noop(smtp_session: SmtpSession, _argument: bytes) -> None:
    if not await smtp_session.junk():
        smtp_session.reply(OK)


async def vrfy(smtp_session: SmtpSession, argument: bytes) -> None:
    """Answers VRFY without telling which addresses exist (RFC 5321 3.5.3; C41)."""
    if not argument:
        smtp_session.error(BAD_COMMAND_SYNTAX.with_text("VRFY needs an address"))
        return
    if not await smtp_session.junk():
        smtp_session.reply(CANNOT_VERIFY)


async def expn(smtp_session: SmtpSession, _argument: bytes) -> None:
    if not await smtp_session.junk():
        smtp_session.reply(NOT_IMPLEMENTED)


async def etrn(smtp_session: SmtpSession, _argument: bytes) -> None:
    if not await smtp_session.junk():
        smtp_session.reply(NOT_IMPLEMENTED)


async def help_(smtp_session: SmtpSession, _argument: bytes) -> None:
    if not await smtp_session.junk():
        smtp_session.reply(HELP)


async def quit_(smtp_session: SmtpSession, argument: bytes) -> None:
    """Ends the session. Commands that were pipelined after it are not run."""
    if argument:
        smtp_session.error(BAD_COMMAND_SYNTAX.with_text("QUIT takes no argument"))
        return
    smtp_session.reply(CLOSING)
    smtp_session.leave("quit")
