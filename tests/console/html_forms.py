"""Reads the forms of a page as a browser does: which controls exist, and what the browser would send."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self


@dataclass
class HtmlForm:
    """One form. `controls` lists name and value of each control that would be sent, in order."""

    action: str = ""
    method: str = "get"
    controls: list[tuple[str, str]] = field(default_factory=list)
    # Maps the text of each button to the name and value that it would send.
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)

    def texts(self) -> dict[str, list[str]]:
        """Maps each name to the values of the controls with this name."""
        values: dict[str, list[str]] = {}
        for name, value in self.controls:
            values.setdefault(name, []).append(value)
        return values

    def filled(self, **values: str | list[str] | None) -> dict[str, list[str]]:
        """Returns what is sent after the user has entered these values. None stands for a box that is not ticked."""
        texts = self.texts()
        for name, value in values.items():
            texts[name] = [] if value is None else [value] if isinstance(value, str) else value
        return texts


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[HtmlForm] = []
        self._form: HtmlForm | None = None
        self._select: tuple[str, list[tuple[str, bool]]] | None = None
        self._area: str | None = None
        self._button: tuple[str, str] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self._form = HtmlForm(given.get("action", ""), given.get("method", "get"))
            self.forms.append(self._form)
        elif self._form is None:
            return
        elif tag == "input" and name:
            is_box = given.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in given:
                self._form.controls.append((name, given.get("value", "on" if is_box else "")))
        elif tag == "select":
            self._select = (name, [])
        elif tag == "option" and self._select is not None:
            self._select[1].append((given["value"], "selected" in given))
        elif tag == "textarea":
            self._area, self._text = name, ""
        elif tag == "button":
            self._button, self._text = (name, given.get("value", "")), ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if self._form is None:
            return
        if tag == "form":
            self._form = None
        elif tag == "select" and self._select is not None:
            name, options = self._select
            chosen = [value for value, is_selected in options if is_selected] or [options[0][0]]
            self._form.controls.append((name, chosen[-1]))
        elif tag == "textarea" and self._area is not None:
            # The first line break does not belong to the value, and a browser sends CRLF.
            text = self._text.removeprefix("\n").replace("\n", "\r\n")
            self._form.controls.append((self._area, text))
        elif tag == "button" and self._button is not None:
            self._form.buttons[self._text.strip()] = self._button


@dataclass(frozen=True)
class HtmlPage:
    """A page as text, with its forms."""

    text: str
    forms: list[HtmlForm]

    @classmethod
    def of(cls, text: str) -> Self:
        reader = _Reader()
        reader.feed(text)
        return cls(text, reader.forms)

    def form(self, action_end: str = "") -> HtmlForm:
        """Returns the form that changes something and whose address ends with the given text."""
        return next(
            form
            for form in self.forms
            if form.method == "post" and form.action != "/sign-out" and form.action.endswith(action_end)
        )
