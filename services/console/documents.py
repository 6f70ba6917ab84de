"""The OpenAPI document of the API that the console uses."""

from __future__ import annotations

from services.console.api import Api
from services.console.forms.document import ApiDocument


class ApiDocuments:
    """Stores the document, and asks the API at each use whether it has changed, because the API may be upgraded
    separately.
    """

    def __init__(self) -> None:
        self._document: ApiDocument | None = None
        self._entity_tag = ""

    async def current(self, api: Api) -> ApiDocument:
        """Returns the document. Raises the errors of the API."""
        known = {"If-None-Match": self._entity_tag} if self._document is not None and self._entity_tag else {}
        answer = await api.call("GET", "/openapi.json", headers=known)
        if answer.status_code == 304 and self._document is not None:
            return self._document
        self._document = ApiDocument(answer.json())
        self._entity_tag = answer.headers.get("etag", "")
        return self._document
