"""A visitor of the console over plain HTTP: cookies, forms with their hidden fields, and the text of pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import TracebackType
from typing import Self

import httpx


@dataclass
class FormOnPage:
    """A form: its target address, and the fields that it contains already."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class ParsedPage(HTMLParser):
    """The elements of a page with their attributes, its text and its forms."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.forms: list[FormOnPage] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag == "form":
            self.forms.append(FormOnPage(attributes.get("action", ""), attributes.get("method", "get")))
        elif tag == "input" and self.forms and "name" in attributes:
            self.forms[-1].fields[attributes["name"]] = attributes.get("value", "")

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> set[str]:
        return {attributes["href"] for tag, attributes in self.elements if tag == "a" and "href" in attributes}


class Visitor:
    """A visitor who signs in with `key`. When `key` is empty, the visitor stays signed out."""

    def __init__(self, url: str, key: str = "") -> None:
        self.http = httpx.Client(base_url=url, timeout=60)
        if key:
            assert self.sign_in(key).headers["location"] == "/"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def sign_in(self, key: str) -> httpx.Response:
        return self.send("/sign-in", "/sign-in", key=key)

    def page(self, path: str, status: int = 200) -> ParsedPage:
        answer = self.http.get(path)
        assert answer.status_code == status, answer.text
        return ParsedPage(answer.text)

    def token(self, path: str = "/sign-in") -> str:
        """Returns the token in the forms of a page."""
        return next(form.fields["token"] for form in self.page(path).forms if "token" in form.fields)

    def send(self, path: str, action: str, **fields: str) -> httpx.Response:
        """Sends the form of a page whose target is `action`. These fields replace or extend the fields in the form."""
        form = next(form for form in self.page(path).forms if form.method == "post" and form.action in (action, ""))
        return self.http.post(action, data={**form.fields, **fields})
