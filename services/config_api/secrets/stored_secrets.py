"""Secrets on their way from a request to storage: taken out, sealed or hashed, carried over when they were left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from services.config_api.problems import Problem, invalid_field
from services.config_api.resources.description import Body, Resource, Secret, has_member, member, with_member
from services.config_api.secrets.passwords import PasswordHashing
from services.config_api.secrets.sealing import Sealer


class Custody:
    """Turns validated bodies into stored ones."""

    def __init__(self, sealer: Sealer, passwords: PasswordHashing) -> None:
        self.sealer = sealer
        self._passwords = passwords

    async def take_in(self, resource: Resource, model: BaseModel) -> tuple[Body, Mapping[Secret, str]]:
        """(body without secrets, the given ones in the form they are stored in)."""
        body: Body = model.model_dump(mode="json")
        kept: dict[Secret, str] = {}
        for secret in resource.secrets:
            given = _attribute(model, secret.path)
            body = with_member(body, secret.path, None)
            if given is not None:
                plain = given.get_secret_value()
                sealed = secret.kept_as == "sealed"
                kept[secret] = self.sealer.seal(plain) if sealed else await self._passwords.hash(plain)
        return body, kept

    def seal_hidden(self, resource: Resource, hidden: Body) -> Body:
        """Members that the service made, those that are secrets sealed."""
        secret = {found.path[0] for found in resource.secrets if found.kept_as == "sealed"}
        return {name: self.sealer.seal(value) if name in secret else value for name, value in hidden.items()}


def join(resource: Resource, body: Body, kept: Mapping[Secret, str], given: object, before: Body | None) -> Body:
    """The body to store: new secrets, and those of `before` that the client left out of `given`.

    Raises Problem 422 where a secret is needed, or may not follow to another host.
    """
    for secret in resource.secrets:
        value = kept.get(secret)
        if value is None and not has_member(given, secret.path):
            value = member(before, secret.path)
            if value is not None and _moved(secret, body, before):
                raise _needed(secret, "has to be given again, since the server or login that it is for has changed")
        if value is not None:
            body = with_member(body, secret.path, value)
        elif secret.required and isinstance(member(body, secret.path[:-1]), dict):
            raise _needed(secret, "is needed")
    return body


def _moved(secret: Secret, body: Body, before: Body | None) -> bool:
    if not isinstance(member(body, secret.path[:-1]), dict) and len(secret.path) > 1:
        return False
    return any(member(body, path) != member(before, path) for path in secret.bound_to)


def _needed(secret: Secret, why: str) -> Problem:
    return invalid_field(secret.pointer, "secret_needed", f"The {secret.path[-1]} {why}.")


def _attribute(model: Any, path: tuple[str, ...]) -> SecretStr | None:
    for name in path:
        if model is None:
            return None
        model = getattr(model, name, None)
    return model if isinstance(model, SecretStr) else None
