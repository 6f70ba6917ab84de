"""The result for each parameter of Postfix, which people read before anything is changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["taken", "partly", "not taken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One parameter: its counterpart in Posthouse, or the reason why there is none."""

    parameter: str
    level: Level
    text: str


@dataclass(slots=True)
class Plan:
    """The plan of an import. `settings` has members of the sections, as a merge patch. `objects` has for each
    collection its objects, under the names of the exported document. `recipients` has the addresses of domains whose
    recipients are a list.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    recipients: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def converted(self, parameter: str, text: str) -> None:
        self.findings.append(Finding(parameter, "taken", text))

    def partly(self, parameter: str, text: str) -> None:
        self.findings.append(Finding(parameter, "partly", text))

    def unsupported(self, parameter: str, text: str) -> None:
        self.findings.append(Finding(parameter, "not taken", text))

    def set(self, section: str, path: str, value: Any) -> None:
        target = self.settings.setdefault(section, {})
        *names, last = path.split(".")
        for name in names:
            target = target.setdefault(name, {})
        target[last] = value

    def add(self, collection: str, body: dict[str, Any]) -> None:
        self.objects.setdefault(collection, []).append(body)

    def as_json(self) -> dict[str, Any]:
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "settings": self.settings,
            "objects": {name: len(bodies) for name, bodies in self.objects.items()},
            "recipients": len(self.recipients),
        }
