"""Makes pictures of the console for README and docs (`make screenshots`) from `posthouse demo --keep`, as small PNG
files.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.console.browser import Browser
from tests.peers.demonstration import Demonstration
from tests.peers.process import until

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
_WIDTH, _HEIGHT = 1440, 1000
_COLOURS = 64
_MOST_OCTETS = 120_000
# The number of messages that fill a page.
_MESSAGES = 40


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Demonstration(folder, "--minutes", "10") as demonstration, Browser(folder, _WIDTH, _HEIGHT) as browser:
            browser.sign_in(demonstration.console_url, demonstration.key)
            for picture, path in pages(demonstration):
                browser.open(path)
                octets = smaller(browser.driver.get_screenshot_as_png())
                if len(octets) > _MOST_OCTETS:
                    raise SystemExit(f"{picture} has {len(octets)} octets")
                (FOLDER / f"{picture}.png").write_bytes(octets)
                sys.stdout.write(f"docs/pictures/{picture}.png: {path}, {len(octets) // 1000} KB\n")


def pages(demonstration: Demonstration) -> Iterator[tuple[str, str]]:
    """Waits until there is mail to show. Then yields the name of each picture and the path of its page."""
    items = demonstration.items
    until(lambda: len(items("/v1/messages", limit=str(_MESSAGES))) == _MESSAGES, "there is mail")
    until(lambda: bool(items("/v1/queue/messages", state="held")), "a message is held")
    until(lambda: bool(items("/v1/messages", state="bounced")), "a message is bounced")
    until(lambda: bool(items("/v1/messages", reason_id="dnsbl_listed")), "a client is on a block list")
    yield "console-overview", "/?period=hour"
    yield "console-messages", "/messages"
    yield "console-message", f"/messages/{items('/v1/messages', state='bounced')[0]['queue_id']}"
    yield "console-refusal", f"/refused/{items('/v1/messages', reason_id='dnsbl_listed')[0]['queue_id']}"
    yield "console-queue", "/queue"
    yield "console-rules", "/rules"


def smaller(png: bytes) -> bytes:
    """Returns the picture with a palette of few colours, so that the file is small."""
    with Image.open(io.BytesIO(png)) as picture:
        reduced = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    octets = io.BytesIO()
    reduced.save(octets, "PNG", optimize=True)
    return octets.getvalue()


if __name__ == "__main__":
    main()
