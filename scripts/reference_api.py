"""Makes the reference page of the HTTP API, with every operation of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from scripts.reference_settings import document, resolved


def page() -> str:
    """Returns the page in Markdown."""
    api = document()
    parts = [
        "# HTTP API\n",
        "This page is for those who write a program that calls the API.",
        "Every operation of `openapi.json`, by subject. [The API, for those who write a client](../api.md) explains",
        "what they have in common, [Settings](settings.md) has the members of every object that can be set, and",
        "[Errors of the API](../api-errors.md) what is answered when something is wrong. A running suite shows each",
        "operation with its parameters, answers and examples at `/docs`.\n",
    ]
    for tag in api["tags"]:
        parts += [f"## {tag['name'][0].upper()}{tag['name'][1:]}\n", f"{tag['description']}\n"]
        parts += ["| operation | role | what it does | query parameters |", "|---|---|---|---|"]
        for path, operations in api["paths"].items():
            for method, operation in operations.items():
                if method != "parameters" and tag["name"] in operation["tags"]:
                    parts.append(_row(method, path, operation, api))
        parts.append("")
    return "\n".join(parts)


def _row(method: str, path: str, operation: dict[str, Any], api: dict[str, Any]) -> str:
    parameters = [_parameter(each, api) for each in operation.get("parameters", ())]
    query = ", ".join(f"`{each['name']}`" for each in parameters if each["in"] == "query") or "-"
    summary = operation["summary"].replace("|", "\\|")
    return f"| `{method.upper()} {path}` | {operation.get('x-required-role', '-')} | {summary} | {query} |"


def _parameter(declared: dict[str, Any], api: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in declared:
        found: dict[str, Any] = api["components"]["parameters"][declared["$ref"].rpartition("/")[2]]
        return found
    return resolved(declared, api)
