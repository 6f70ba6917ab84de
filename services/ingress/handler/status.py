"""Reads the answer of a hook: an SMTP reply as one text that begins with the code, as in aiosmtpd.
This module is pure.
"""

from __future__ import annotations

import re

from aiosmtpd.smtp import MISSING

from libs.smtp.reply import Reply

_LINE = re.compile(r"([245][0-9]{2})(?:[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z))?(.*))?", re.DOTALL).fullmatch


class StatusError(ValueError):
    """The answer is not an SMTP reply."""


def refusal(status: object) -> Reply | None:
    """Returns the reply with which a hook refuses, or None when the message continues. Raises StatusError. Without an
    enhanced code from the hook, the enhanced code is X.7.1, which means that a rule of the site refused (RFC 3463 3.8).
    """
    if status is MISSING:
        return None
    if isinstance(status, bytes):
        status = status.decode("ascii", "replace")
    if not isinstance(status, str):
        raise StatusError(f"a hook answered with a value of the type {type(status).__name__}")
    lines = [_LINE(line) for line in status.strip().splitlines()]
    parsed = [line for line in lines if line is not None]
    if not parsed or len(parsed) < len(lines) or len({line[1] for line in parsed}) > 1:
        raise StatusError("a hook answered with a text that is not an SMTP reply")
    code = int(parsed[0][1])
    if code < 300:
        return None
    enhanced = parsed[0][2] or f"{code // 100}.7.1"
    return Reply(code, enhanced, " ".join(line[3].strip() for line in parsed if line[3]) or "Refused")
