"""Writes the licences of all installed distributions into one folder, with a list of them. The Dockerfile uses this
script.

`python collect_licences.py FOLDER` makes FOLDER/THIRD-PARTY.txt, with a line for each distribution (name, version,
licence), and FOLDER/NAME/ with the licence files that the distribution ships. It fails for a distribution that names no
licence and ships no licence file: somebody must check its licence before the image is distributed.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

_FILE_NAMES = ("licen", "copying", "notice", "authors")


def licence_name(distribution: Distribution) -> str:
    """Returns the licence in the metadata: the SPDX expression, otherwise the classifiers, otherwise the first line of
    the free text.
    """
    metadata = distribution.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if line.startswith("License ::")
    ]
    if classifiers:
        return ", ".join(classifiers)
    return (metadata.get("License") or "").strip().partition("\n")[0]


def licence_files(distribution: Distribution) -> list[Path]:
    return [
        Path(str(distribution.locate_file(file)))
        for file in distribution.files or ()
        if file.parts[0].endswith(".dist-info") and file.name.lower().startswith(_FILE_NAMES)
    ]


def collect(folder: Path) -> None:
    lines = []
    for distribution in sorted(distributions(), key=lambda item: item.name.lower()):
        name, files = licence_name(distribution), licence_files(distribution)
        if not name and not files:
            raise SystemExit(f"{distribution.name} names no licence and ships no licence file.")
        lines.append(f"{distribution.name} {distribution.version}: {name or 'see its licence file'}")
        own_folder = folder / distribution.name.lower()
        own_folder.mkdir(parents=True)
        for file in files:
            (own_folder / file.name).write_bytes(file.read_bytes())
    (folder / "THIRD-PARTY.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
