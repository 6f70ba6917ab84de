"""Path parameters that end at a colon: what follows the colon is an action, and no part of an id."""

from __future__ import annotations

from typing import Final

from starlette.convertors import StringConvertor, register_url_convertor

# `/things/{id:before_colon}` beside `/things/{id:before_colon}:act`.
BEFORE_COLON: Final = "before_colon"


class _BeforeColon(StringConvertor):
    regex = "[^/:]+"


# Routes look it up when they are declared.
register_url_convertor(BEFORE_COLON, _BeforeColon())
