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
from services.ingress.dialogue import Dialogue


async def rset(dialogue: Dialogue, argument: bytes) -> None:
    if argument:
        dialogue.error(BAD_COMMAND_SYNTAX.with_text("RSET takes no argument"))
        return
    dialogue.clear_transaction()
    if not await dialogue.junk():
        dialogue.reply(OK)


async def noop(dialogue: Dialogue, _argument: bytes) -> None:
    if not await dialogue.junk():
        dialogue.reply(OK)


async def vrfy(dialogue: Dialogue, argument: bytes) -> None:
    """RFC 5321 3.5.3: says nothing about who exists (C41)."""
    if not argument:
        dialogue.error(BAD_COMMAND_SYNTAX.with_text("VRFY needs an address"))
        return
    if not await dialogue.junk():
        dialogue.reply(CANNOT_VERIFY)


async def expn(dialogue: Dialogue, _argument: bytes) -> None:
    if not await dialogue.junk():
        dialogue.reply(NOT_IMPLEMENTED)


async def etrn(dialogue: Dialogue, _argument: bytes) -> None:
    if not await dialogue.junk():
        dialogue.reply(NOT_IMPLEMENTED)


async def help_(dialogue: Dialogue, _argument: bytes) -> None:
    if not await dialogue.junk():
        dialogue.reply(HELP)


async def quit_(dialogue: Dialogue, argument: bytes) -> None:
    """What was pipelined after it is not run."""
    if argument:
        dialogue.error(BAD_COMMAND_SYNTAX.with_text("QUIT takes no argument"))
        return
    dialogue.reply(CLOSING)
    dialogue.leave("quit")
