"""The limits of a session, as plain numbers for code that runs very often."""

from __future__ import annotations

from dataclasses import dataclass

from services.ingress.settings import Settings

# RFC 5321 4.5.3.1.4 demands 512. The offered extensions (1870, 3461, 6531) and long paths need more.
COMMAND_OCTETS = 2_048
# RFC 4954 4 demands this length.
AUTH_LINE_OCTETS = 12_288
# From this number on, the answers to refused recipients of a session are delayed more and more.
_FIRST_DELAYED_REFUSAL = 10
_DELAY_PER_REFUSAL_SECONDS = 0.1
_LONGEST_REFUSAL_DELAY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in seconds and octets, as in Settings."""

    max_errors: int
    max_auth_failures: int
    max_line_octets: int
    max_header_octets: int
    normalise_newlines: bool
    remove_nul_octets: bool
    command_seconds: float
    data_block_seconds: float
    min_data_rate: float
    data_grace_seconds: float
    session_seconds: float
    mailless_session_seconds: float
    handshake_seconds: float
    proxy_seconds: float

    def data_deadline(self, now: float, began: float, octets: int) -> float:
        """Returns the time at which the next octets of content must have arrived: after the time-out for a block, or
        when the average is too slow (C32).
        """
        block = now + self.data_block_seconds
        if not self.min_data_rate:
            return block
        return min(block, began + self.data_grace_seconds + octets / self.min_data_rate)


def of(settings: Settings) -> Limits:
    return Limits(
        max_errors=settings.max_errors,
        max_auth_failures=settings.max_auth_failures,
        max_line_octets=settings.max_line_octets,
        max_header_octets=settings.max_header_octets,
        normalise_newlines=settings.bare_newlines == "normalise",
        remove_nul_octets=settings.nul_octets == "remove",
        command_seconds=settings.command_seconds,
        data_block_seconds=settings.data_block_seconds,
        min_data_rate=settings.min_data_rate,
        data_grace_seconds=settings.data_grace_seconds,
        session_seconds=settings.session_seconds,
        mailless_session_seconds=settings.mailless_session_seconds,
        handshake_seconds=settings.handshake_seconds,
        proxy_seconds=settings.proxy_seconds,
    )


def drain_octets(max_message_size: int) -> int:
    """Returns how many octets of a message over the limit are read before the connection is closed, so that the client
    gets its reply (C10). 0 means that there is no limit.
    """
    return max_message_size and max(4 * max_message_size, max_message_size + 16 * 1024 * 1024)


def refusal_delay(refused: int) -> float:
    """Returns the seconds by which the answer to a refused recipient is delayed. `refused` is the number of refused
    recipients of the session, including this one.
    """
    late = refused - _FIRST_DELAYED_REFUSAL + 1
    return min(max(late, 0) * _DELAY_PER_REFUSAL_SECONDS, _LONGEST_REFUSAL_DELAY_SECONDS)
