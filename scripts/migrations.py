"""Checks the migrations of each service that has a database: they must form one sequence, and each must have its own
number.

Two branches that each add a migration merge without a conflict when their files have different names. The service then
finds two newest migrations, or two with one number, and does not start.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from libs.runtime.database import Schema
from services.config_api.storage.database import SCHEMA as CONFIG_API
from services.relay.queue.database import SCHEMA as RELAY

SCHEMAS = (RELAY, CONFIG_API)


def faults(schema: Schema) -> list[str]:
    """Returns a sentence for each fault in the migrations of the service."""
    repeated_numbers = [
        f"{schema.service}: {' and '.join(sorted(names))} have the same number"
        for _, names in sorted(_files_by_number(schema.folder / "versions").items())
        if len(names) > 1
    ]
    if repeated_numbers:
        # Of several revisions with the same number, Alembic uses only one, so its order would be wrong.
        return repeated_numbers
    try:
        with warnings.catch_warnings():
            # Alembic only warns when the predecessor of a migration is missing.
            warnings.simplefilter("error", UserWarning)
            return list(_of_history(schema.service, schema.scripts()))
    except (CommandError, RevisionError, UserWarning) as error:
        return [f"{schema.service}: {error}"]


def _files_by_number(folder: Path) -> dict[str, list[str]]:
    files: dict[str, list[str]] = defaultdict(list)
    for path in folder.glob("[0-9]*.py"):
        files[path.name.partition("_")[0]].append(path.name)
    return files


def _of_history(service: str, scripts: ScriptDirectory) -> Iterator[str]:
    for word, revisions in (("heads", scripts.get_heads()), ("bases", scripts.get_bases())):
        if len(revisions) != 1:
            yield f"{service}: there are {len(revisions)} {word} ({', '.join(sorted(revisions))}) instead of one"
    for script in scripts.walk_revisions():
        name = Path(script.path).name
        if script.revision != name.partition("_")[0]:
            yield f"{service}: {name} has the revision {script.revision}, which is not its number"


def main() -> int:
    """Prints the faults. Returns 1 when there are any."""
    problems = [problem for schema in SCHEMAS for problem in faults(schema)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
