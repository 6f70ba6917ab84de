"""The answers of mailbox servers about recipients, which all replicas share, and the number of questions of each
client.

Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, delete, or_, select

from services.relay.clock import MICROSECONDS
from services.relay.queue.statements import upsert
from services.relay.queue.tables import recipient_answers, recipient_questions

_MINUTE = 60 * MICROSECONDS
# The lifetime of an answer, and the time for which an address that existed is accepted without an answer.
YES_HOLDS = 3600 * MICROSECONDS
NO_HOLDS = 5 * _MINUTE
KNOWN_GOOD_HOLDS = 7 * 24 * 3600 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class RecipientAnswer:
    """The last answer about one recipient."""

    is_there: bool
    answered_at: int
    # The last time at which the server accepted mail for the address. None means never.
    known_good_at: int | None

    def holds(self, now: int) -> bool:
        """Returns whether the answer is still valid, so that no server must be asked."""
        age = now - self.answered_at
        return 0 <= age < (YES_HOLDS if self.is_there else NO_HOLDS)

    def was_good(self, now: int) -> bool:
        """Returns whether the address was known to exist within the last week."""
        return self.known_good_at is not None and now - self.known_good_at < KNOWN_GOOD_HOLDS


def read_answer(connection: Connection, recipient: bytes) -> RecipientAnswer | None:
    """Returns the last answer about a recipient (as `key_of` returns it), or None when there is none."""
    row = connection.execute(select(recipient_answers).where(recipient_answers.c.recipient == recipient)).one_or_none()
    return None if row is None else RecipientAnswer(row.is_there, row.answered_at, row.known_good_at)


def keep_answer(connection: Connection, recipient: bytes, now: int, *, is_there: bool) -> None:
    """Stores an answer. A negative answer also removes the time at which the address was known to exist."""
    values = {"is_there": is_there, "answered_at": now, "known_good_at": now if is_there else None}
    statement = upsert(connection.dialect.name, recipient_answers).values(recipient=recipient, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[recipient_answers.c.recipient], set_=values))


def remove_answers(connection: Connection, recipients: Collection[bytes]) -> None:
    """Removes the answers about recipients whose mail the mailbox servers have refused since."""
    if recipients:
        # The rows are sorted, so that two replicas that do this cannot cause a deadlock.
        rows = [{"refused": recipient} for recipient in sorted(recipients)]
        connection.execute(delete(recipient_answers).where(recipient_answers.c.recipient == bindparam("refused")), rows)


def count_question(connection: Connection, client: str, now: int) -> int:
    """Counts a new address that a client has named. Returns how many new addresses the client has named in this minute
    of the clock.
    """
    minute = now // _MINUTE
    statement = upsert(connection.dialect.name, recipient_questions).values(client=client, minute=minute, questions=1)
    counted = statement.on_conflict_do_update(
        index_elements=[recipient_questions.c.client, recipient_questions.c.minute],
        set_={"questions": recipient_questions.c.questions + 1},
    ).returning(recipient_questions.c.questions)
    return int(connection.execute(counted).scalar_one())


def forget_answers(connection: Connection, now: int) -> None:
    """Removes answers and counts that are too old to be used."""
    is_old_no = and_(recipient_answers.c.known_good_at.is_(None), recipient_answers.c.answered_at < now - NO_HOLDS)
    connection.execute(
        delete(recipient_answers).where(
            or_(is_old_no, recipient_answers.c.answered_at < now - KNOWN_GOOD_HOLDS),
        )
    )
    connection.execute(delete(recipient_questions).where(recipient_questions.c.minute < now // _MINUTE))
