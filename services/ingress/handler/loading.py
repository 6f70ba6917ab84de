"""Finds a site's handler by its name in INGRESS_HANDLER, and makes it."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable

import structlog

from libs.runtime.lifecycle import StartupError
from services.ingress.handler.thread import HandlerThread

log = structlog.get_logger(__name__)

CALLED = ("handle_MAIL", "handle_RCPT", "handle_DATA", "handle_exception")
_FACTORY_SECONDS = 60.0


def factory(name: str) -> Callable[[], object]:
    """Returns the object that `package.module:factory` names: a class, or a function without arguments. Raises
    StartupError.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise StartupError(f"INGRESS_HANDLER: {name!r} is not of the form package.module:factory")
    try:
        attribute_value: object = importlib.import_module(module)
        for part in attribute.split("."):
            attribute_value = getattr(attribute_value, part)
    except Exception as error:
        raise StartupError(f"INGRESS_HANDLER: can't import {name}: {type(error).__name__}: {error}") from error
    if not callable(attribute_value):
        raise StartupError(f"INGRESS_HANDLER: {name} can't be called")
    return attribute_value


async def make(name: str, thread: HandlerThread) -> object:
    """Makes the handler in its thread, because some handlers use the event loop of the thread. Raises StartupError."""
    create = factory(name)

    async def in_thread() -> object:
        return create()

    try:
        async with asyncio.timeout(_FACTORY_SECONDS):
            handler = await thread.call(in_thread)
    except Exception as error:
        raise StartupError(f"INGRESS_HANDLER: {name} failed: {type(error).__name__}: {error}") from error
    hooks = [hook for hook in CALLED if hasattr(handler, hook)]
    ignored = sorted(each for each in dir(handler) if each.startswith(("handle_", "auth_")) and each not in CALLED)
    if hasattr(handler, "process_message"):
        ignored.append("process_message")
    log.info("handler_loaded", handler=name, hooks=hooks)
    if ignored:
        # Greeting, login and commands outside of messages are not passed to a handler.
        log.warning("handler_methods_not_called", handler=name, methods=ignored)
    return handler
