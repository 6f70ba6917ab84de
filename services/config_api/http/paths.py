"""Registers path parameters that end before a colon. The text after the colon is an action, and not a part of an id."""

from __future__ import annotations

from typing import Final

from starlette.convertors import StringConvertor, register_url_convertor

# With this kind of parameter, `/things/{id:before_colon}` does not match the paths of `/things/{id:before_colon}:act`.
BEFORE_COLON: Final = "before_colon"


class _BeforeColon(StringConvertor):
    regex = "[^/:]+"


# This runs at import, because a declared route looks up its convertors at once.
register_url_convertor(BEFORE_COLON, _BeforeColon())
