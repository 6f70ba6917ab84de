"""Path parameters that end before a colon. The text after the colon is an action, and not a part of an id."""

from __future__ import annotations

from typing import Final

from starlette.convertors import StringConvertor, register_url_convertor

# The path `/things/{id:before_colon}` is used beside `/things/{id:before_colon}:act`.
BEFORE_COLON: Final = "before_colon"


class _BeforeColon(StringConvertor):
    regex = "[^/:]+"


# Routes look this up when they are declared.
register_url_convertor(BEFORE_COLON, _BeforeColon())
