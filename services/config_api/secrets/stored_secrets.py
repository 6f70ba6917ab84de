"""Separates the secrets from the body of a request, encrypts or hashes them, and keeps stored secrets that the request
leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, SecretStr

from services.config_api.problems import Problem, invalid_field
from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body, Resource, Secret, has_member, member, with_member
from services.config_api.secrets.passwords import PasswordHashing
from services.config_api.secrets.sealing import Sealer


@dataclass(frozen=True, slots=True)
class ExtractedSecrets:
    """A validated body without its secrets, and the secrets."""

    model: BaseModel = field(repr=False)
    # The body with every member, and the body with only the members that the client has set.
    body: Body
    was_set: Body
    secrets: Mapping[Secret, str] = field(repr=False)


class SecretFields:
    """Converts validated bodies to the form in which they are stored."""

    def __init__(self, sealer: Sealer, passwords: PasswordHashing) -> None:
        self.sealer = sealer
        self._passwords = passwords

    async def extract(self, resource: Resource, model: BaseModel) -> ExtractedSecrets:
        """Returns the body without its secrets, and the secrets in their stored form."""
        body: Body = model.model_dump(mode="json")
        was_set: Body = model.model_dump(mode="json", exclude_unset=True)
        secrets: dict[Secret, str] = {}
        for secret in resource.secrets:
            given = _attribute(model, secret.path)
            body, was_set = with_member(body, secret.path, None), with_member(was_set, secret.path, None)
            if secret.hash_path:
                hashed = _attribute(model, secret.hash_path)
                body, was_set = with_member(body, secret.hash_path, None), with_member(was_set, secret.hash_path, None)
                if hashed is not None:
                    secrets[secret] = hashed.get_secret_value()
            if given is not None:
                plain = given.get_secret_value()
                sealed = secret.kept_as == "sealed"
                secrets[secret] = self.sealer.seal(plain) if sealed else await self._passwords.hash(plain)
        return ExtractedSecrets(model, body, was_set, secrets)

    def seal_hidden(self, resource: Resource, hidden: Body) -> Body:
        """Returns the hidden members that the service made, with their secrets encrypted."""
        secret = {found.path[0] for found in resource.secrets if found.kept_as == "sealed"}
        return {name: self.sealer.seal(value) if name in secret else value for name, value in hidden.items()}


def merge_stored(
    resource: Resource, was_set: Body, secrets: Mapping[Secret, str], given: object, before: Body | None
) -> Body:
    """Returns the body to store: the members that were set, the new secrets, and the stored secrets that the client
    left out of `given`.

    `before` is the complete stored body. Raises Problem 422 when a required secret is missing, when a fixed secret
    would change, or when the stored secret may not be kept because the host has changed or the protection is weaker.
    """
    after = complete(resource, was_set)
    for secret in resource.secrets:
        value = secrets.get(secret)
        if value is not None and secret.fixed and before is not None:
            raise invalid_field(secret.pointer, "fixed", "This cannot be changed: make another object instead.")
        if value is None and not has_member(given, secret.path):
            value = member(before, secret.path)
            if value is not None and before is not None:
                _refuse_other_use(secret, after, before)
        if value is not None:
            was_set = with_member(was_set, secret.path, value)
        elif secret.required and isinstance(member(after, secret.path[:-1]), dict):
            raise _needed(secret, "is needed")
    return was_set


def _refuse_other_use(secret: Secret, after: Body, before: Body) -> None:
    if not isinstance(member(after, secret.path[:-1]), dict) and len(secret.path) > 1:
        return
    if any(member(after, path) != member(before, path) for path in secret.bound_to):
        raise _needed(secret, "must be given again, because the server or the login that it belongs to has changed")
    if secret.is_weakened(before, after):
        raise _needed(secret, "must be given again, because TLS would protect it less than now")


def _needed(secret: Secret, why: str) -> Problem:
    return invalid_field(secret.pointer, "secret_needed", f"The {secret.path[-1]} {why}.")


def _attribute(model: Any, path: tuple[str, ...]) -> SecretStr | None:
    for name in path:
        if model is None:
            return None
        model = getattr(model, name, None)
    return model if isinstance(model, SecretStr) else None
