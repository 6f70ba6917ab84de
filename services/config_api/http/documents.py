"""Serves files for which no key is needed: the OpenAPI document and the page that shows it.

Each file is compressed only once. It has an ETag, so that it is not sent again to a client that already has it.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import Request, Response

# The page loads nothing from other hosts, and runs only scripts that this server serves.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The API of Posthouse</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = b"""SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // No service outside checks the document.
  validatorUrl: null,
});
"""
_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file in its uncompressed and its compressed form."""

    body: bytes
    compressed: bytes
    media_type: str
    digest: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> ServedFile:
        return cls(body, gzip.compress(body, mtime=0), media_type, hashlib.sha256(body).hexdigest()[:32])

    def answer(self, request: Request) -> Response:
        """Answers 200 with the file, or 304 when the client already has it (RFC 9110 sections 12.5.3 and 13.1.2)."""
        is_compressed = _takes_gzip(request.headers.get("accept-encoding", ""))
        # The compressed file is another representation, so its strong ETag must be different.
        plain, coded = f'"{self.digest}"', f'"{self.digest}-gzip"'
        headers = {
            "ETag": coded if is_compressed else plain,
            "Vary": "Accept-Encoding",
            "Cache-Control": "no-cache",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Referrer-Policy": "no-referrer",
        }
        known_tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if known_tags & {plain, coded, "*"}:
            return Response(status_code=304, headers=headers)
        if is_compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(self.compressed if is_compressed else self.body, media_type=self.media_type, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    weights = {}
    for entry in accepted.lower().split(","):
        coding, _, parameters = entry.partition(";")
        weights[coding.strip()] = parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))


@cache
def page_files() -> dict[str, ServedFile]:
    """Returns the page and the files that it loads, by path. Swagger UI comes from an installed package."""
    folder = files("fastapi_swagger") / "resources"
    assets = {
        f"/docs/{name}": ServedFile.of((folder / name).read_bytes(), media_type) for name, media_type in _ASSETS.items()
    }
    return {
        "/docs": ServedFile.of(_PAGE, "text/html; charset=utf-8"),
        "/docs/start.js": ServedFile.of(_START, "text/javascript; charset=utf-8"),
        **assets,
    }
