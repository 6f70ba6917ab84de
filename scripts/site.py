"""A hook of mkdocs, by which the documents in the root folder become pages of the site. Links between files work there
too.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# The page of the site for each document that is not in docs.
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "inside/architecture.md",
    "SECURITY.md": "inside/security.md",
    "CONTRIBUTING.md": "inside/contributing.md",
    "CHANGELOG.md": "reference/changelog.md",
    "clients/README.md": "clients.md",
}
_SOURCES = {page: document for document, page in PAGES.items()}
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    for document, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / document).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    return with_links_of_the_site(markdown, page.file.src_uri)


def with_links_of_the_site(markdown: str, page: str) -> str:
    """Returns the text of a page with its links changed to pages of the site. A link to a file that is not in the site
    becomes plain text.
    """
    source = _SOURCES.get(page, f"docs/{page}")

    def replaced(link: re.Match[str]) -> str:
        words, target, place = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else "")
        if not inside:
            return words if path in words else f"{words} (`{path}`)"
        return f"[{words}]({os.path.relpath(inside, posixpath.dirname(page) or '.')}{place})"

    return _LINK.sub(replaced, markdown)
