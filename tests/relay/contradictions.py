"""Contradictions in the queue's tables. They must never exist, even while relay runs or after it was killed."""

from __future__ import annotations

from collections.abc import Callable

# Each statement counts rows that break the rule. `{0}` stands before the name of each table.
_CONTRADICTIONS = {
    "`open` of a message is its number of deliveries that are not finished": """
        SELECT count(*) FROM {0}messages AS m WHERE m.open <> (
            SELECT count(*) FROM {0}deliveries AS d WHERE d.message_id = m.id AND d.state <= 3)""",
    "every message with open deliveries has its content": """
        SELECT count(*) FROM {0}messages AS m WHERE m.open > 0 AND NOT EXISTS (
            SELECT 1 FROM {0}contents AS c WHERE c.message_id = m.id)""",
    "no finished message has content": """
        SELECT count(*) FROM {0}contents AS c WHERE NOT EXISTS (
            SELECT 1 FROM {0}messages AS m WHERE m.id = c.message_id AND m.open > 0)""",
    "a message is finished exactly when it has no open deliveries": """
        SELECT count(*) FROM {0}messages WHERE (open > 0) = (finished_at IS NOT NULL)""",
    "a finished delivery is neither due nor leased, and an open one has no time at which it finished": """
        SELECT count(*) FROM {0}deliveries WHERE CASE WHEN state > 3
            THEN due_at IS NOT NULL OR lease_owner IS NOT NULL OR finished_at IS NULL
            ELSE finished_at IS NOT NULL END""",
    "every delivery belongs to a message": """
        SELECT count(*) FROM {0}deliveries AS d WHERE NOT EXISTS (
            SELECT 1 FROM {0}messages AS m WHERE m.id = d.message_id)""",
    "no due delivery has a source that is woken more than a second late": """
        SELECT count(*) FROM {0}deliveries AS d WHERE d.state <= 3 AND d.lease_owner IS NULL AND d.due_at IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM {0}waiting_sources AS s WHERE s.destination = d.destination
                AND s.source = d.source AND s.wake_at <= d.due_at + 1000000)""",
    "a destination with waiting sources has a time at which it is woken, unless it is suspended": """
        SELECT count(*) FROM {0}waiting_sources AS s JOIN {0}destinations AS n ON n.name = s.destination
            WHERE n.suspended_until IS NULL AND n.wake_at IS NULL""",
    "no two messages have the same submission id": """
        SELECT count(*) - count(DISTINCT submission_id) FROM {0}messages WHERE submission_id IS NOT NULL""",
}


def contradictions(count: Callable[[str], int], schema: str = "") -> dict[str, int]:
    """Returns the rules that are broken, each with the number of rows.

    `count` runs a statement and returns its number; `schema` is empty or a schema's name followed by a dot.
    """
    return {what: rows for what, sql in _CONTRADICTIONS.items() if (rows := count(sql.format(schema)))}
