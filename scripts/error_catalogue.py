"""Writes docs/api-errors.md from the catalogue in services/config_api/error_codes.py."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

# When this file runs as a script, the project's root is not in sys.path.
sys.path.insert(0, str(Path(__file__).parents[1]))

from services.config_api import error_codes

PAGE = Path(__file__).parents[1] / "docs" / "api-errors.md"
HEAD = """# Errors of the API

This page is for those who write a program that calls the API, and handles what it refuses. Every error is a problem
detail (RFC 9457) of the media type `application/problem+json`:

    {
      "type": "urn:posthouse:problem:invalid",
      "title": "The request is not valid.",
      "status": 422,
      "errors": [
        {"location": "body", "pointer": "/login", "code": "missing", "detail": "It is needed."}
      ]
    }

- `type` names the kind of problem. It is constant, and so are the codes below. Programs decide by them.
- `title` and `detail` are sentences for people, which may change. They never hold what was sent.
- `errors` lists the fields at fault: `location` is body, query, path or header; `pointer` is a JSON pointer (RFC 6901).
- A problem may have more members, as `required_role` or `service`. The header `X-Request-Id` names it in the log.
- With 429, 503, and 409 of type `in-progress`, the header `Retry-After` says after how many seconds to try again.

This page is written by `make openapi`.
"""


def _section(heading: str, column: str, codes: Mapping[str, str]) -> str:
    rows = "\n".join(f"| `{code}` | {meaning} |" for code, meaning in codes.items())
    return f"\n## {heading}\n\n| {column} | meaning |\n|---|---|\n{rows}\n"


def main() -> None:
    """Writes the page."""
    PAGE.write_text(
        HEAD
        + _section("Problem types", "after `urn:posthouse:problem:`", error_codes.PROBLEM_TYPES)
        + _section("Codes of fields", "`errors[].code`", error_codes.FIELD_CODES)
        + _section("Codes of warnings", "`warnings[].code`", error_codes.WARNING_CODES)
    )


if __name__ == "__main__":
    main()
