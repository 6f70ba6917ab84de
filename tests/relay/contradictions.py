"""Combinations of rows that the queue's tables must never hold, whatever runs and whichever process was killed."""

from __future__ import annotations

from collections.abc import Callable

# Each counts rows; `{0}` stands before each table's name.
_CONTRADICTIONS = {
    "a message is open as often as its deliveries": """
        SELECT count(*) FROM {0}messages AS m WHERE m.open <> (
            SELECT count(*) FROM {0}deliveries AS d WHERE d.message_id = m.id AND d.state <= 3)""",
    "open messages have their content": """
        SELECT count(*) FROM {0}messages AS m WHERE m.open > 0 AND NOT EXISTS (
            SELECT 1 FROM {0}contents AS c WHERE c.message_id = m.id)""",
    "finished messages have none": """
        SELECT count(*) FROM {0}contents AS c WHERE NOT EXISTS (
            SELECT 1 FROM {0}messages AS m WHERE m.id = c.message_id AND m.open > 0)""",
    "finished messages are not open": """
        SELECT count(*) FROM {0}messages WHERE (open > 0) = (finished_at IS NOT NULL)""",
    "a finished delivery is neither due nor leased, an open one not finished": """
        SELECT count(*) FROM {0}deliveries WHERE CASE WHEN state > 3
            THEN due_at IS NOT NULL OR lease_owner IS NOT NULL OR finished_at IS NULL
            ELSE finished_at IS NOT NULL END""",
    "every delivery has its message": """
        SELECT count(*) FROM {0}deliveries AS d WHERE NOT EXISTS (
            SELECT 1 FROM {0}messages AS m WHERE m.id = d.message_id)""",
    "what is due is looked for in time": """
        SELECT count(*) FROM {0}deliveries AS d WHERE d.state <= 3 AND d.lease_owner IS NULL AND d.due_at IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM {0}waiting_sources AS s WHERE s.destination = d.destination
                AND s.source = d.source AND s.wake_at <= d.due_at + 1000000)""",
    "a destination is looked at when its first source is due": """
        SELECT count(*) FROM {0}waiting_sources AS s JOIN {0}destinations AS n ON n.name = s.destination
            WHERE n.suspended_until IS NULL AND n.wake_at IS NULL""",
    "a submission is one message": """
        SELECT count(*) - count(DISTINCT submission_id) FROM {0}messages WHERE submission_id IS NOT NULL""",
}


def contradictions(count: Callable[[str], int], schema: str = "") -> dict[str, int]:
    """Rows that contradict each other, by what should hold. `count` runs a statement; `schema` ends in a dot."""
    return {what: rows for what, sql in _CONTRADICTIONS.items() if (rows := count(sql.format(schema)))}
