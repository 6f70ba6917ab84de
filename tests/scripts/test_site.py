"""In the documentation as a web site, links between files of the project become links between pages."""

from __future__ import annotations

import pytest

from scripts.site import with_links_of_the_site


@pytest.mark.parametrize(
    ("page", "text", "shown"),
    [
        ("index.md", "[scaling](docs/scaling.md)", "[scaling](scaling.md)"),
        ("index.md", "[trust](SECURITY.md#who)", "[trust](inside/security.md#who)"),
        ("decisions/README.md", "[cases](../cases.md)", "[cases](../cases.md)"),
        ("start/going-live.md", "[names](../reference/environment.md)", "[names](../reference/environment.md)"),
        ("scaling.md", "[safety](../SECURITY.md)", "[safety](inside/security.md)"),
        ("inside/architecture.md", "[cases](docs/cases.md)", "[cases](../cases.md)"),
        ("index.md", "[a file](deploy/compose/single.yaml)", "a file (`deploy/compose/single.yaml`)"),
        ("index.md", "[afar](https://example.net/x)", "[afar](https://example.net/x)"),
    ],
)
def test_a_link_leads_to_the_page_of_the_file(page: str, text: str, shown: str) -> None:
    assert with_links_of_the_site(text, page) == shown
