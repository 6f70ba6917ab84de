"""Writes the log event `delivery_attempt`: one line for each recipient of each attempt. It is the only log line of
relay that every message has.
"""

from __future__ import annotations

from libs.runtime.logging import FrequentEvent, quoted
from services.relay.model.attempt import Outcome, Result, Route
from services.relay.model.message import QueuedDelivery, QueuedMessage, Settled, queue_id
from services.relay.model.states import State

# The largest number of characters of a reply that the line has.
_TEXT = 300
# The keys are numbers, because the hash of an Enum member costs a call into Python code.
_STATES = tuple(
    State(number).name.lower() if number in State.__members__.values() else "" for number in range(max(State) + 1)
)
_RESULTS = {result: result.value for result in Result}


class AttemptLog:
    """Writes the event. Create it after the log was configured. The lines are in the order in which the outcomes became
    known.
    """

    def __init__(self) -> None:
        self._event = FrequentEvent("relay", "delivery_attempt")
        self.enabled = self._event.enabled

    def add(
        self,
        now: int,
        message: QueuedMessage,
        route: Route,
        delivery: QueuedDelivery,
        outcome: Outcome,
        settled: Settled,
    ) -> None:
        """Writes one line. `now` is in microseconds since 1970. Octets of addresses that are not ASCII are escaped."""
        result = "delivered" if outcome.result is Result.DELIVERED else _RESULTS[outcome.result]
        self._event.tell(
            now,
            f'"queue_id": "{queue_id(message.id)}", "session_id": {quoted(message.session_id)}, '
            f'"sender": {_address(message.sender)}, '
            f'"recipient": {_address(delivery.recipient)}, "destination": {quoted(route.destination)}, '
            f'"result": "{result}", "state": "{_STATES[settled.state]}", "attempts": {settled.attempts}, '
            f'"host": {quoted(outcome.host)}, "code": {outcome.code}, "text": {quoted(outcome.text[:_TEXT])}, '
            f'"possible_duplicate": {"true" if settled.possible_duplicate else "false"}',
        )


def _address(address: bytes) -> str:
    return quoted(address.decode("ascii", "backslashreplace"))
