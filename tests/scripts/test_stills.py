"""The stills in docs are small, load nothing, contain nothing from the machine that made them, and are used."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.stills import COMMANDS, FOLDER, still

ROOT = Path(__file__).parents[2]
_MOST_OCTETS = 48 * 1024
# Texts from a machine that a picture must not contain: the machine's name, its folders, and loopback addresses.
_OF_A_MACHINE = ("/tmp/", "/work", "/root", "/home", "127.0.0.", "posthouse-suite-", f">{socket.gethostname()}<")


def loads(svg: str) -> list[str]:
    """Returns the texts with which a browser would load something or run a script."""
    outside = svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    return re.findall(r"https?:|@import|@font-face|<script|<image|<foreignObject|url\((?!#)|\son\w+=", outside)


def test_there_is_one_still_for_each_command_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.svg")} == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_still_is_small_and_self_contained(name: str) -> None:
    svg = (FOLDER / f"{name}.svg").read_text("utf-8")
    assert len(svg.encode()) < _MOST_OCTETS
    assert loads(svg) == []
    words = " ".join(" ".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ").split())
    assert f"$ {COMMANDS[name].split(' ')[0]}" in words
    assert [word for word in _OF_A_MACHINE if word in svg] == []


def test_the_check_of_stills_finds_external_content() -> None:
    svg = still("status", "posthouse status", "ready\n")
    assert loads(svg) == []
    for fault in ('<image href="x.png"/>', "<style>@font-face {}</style>", '<a href="https://example.com"/>'):
        assert loads(svg.replace("</svg>", f"{fault}</svg>"))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_still_has_a_text_for_readers_without_pictures(name: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    picture = re.compile(rf"!\[([^\]]*)\]\([^)]*stills/{name}\.svg\)")
    shown = [alt for page in pages for alt in picture.findall(page.read_text())]
    assert shown
    assert all(len(alt.split()) > 3 for alt in shown)
