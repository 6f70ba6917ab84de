"""An outage does not fill the log."""

from __future__ import annotations

from structlog.testing import capture_logs

from services.ingress.outage_log import Outage


class _Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_logged_at_its_beginning_and_end_and_at_intervals_between() -> None:
    clock = _Time()
    outage = Outage("no_verdict", "verdicts_again", clock)
    with capture_logs() as lines:
        for number in range(701):
            outage.failed(stage="RCPT", reason=f"r{number}")
            clock.now += 0.125
        assert outage.lasts
        clock.now += 1.0
        outage.succeeded()
        assert not outage.lasts
    assert [(line["event"], line.get("reason"), line.get("unsaid")) for line in lines] == [
        ("no_verdict", "r0", 0),
        ("no_verdict", "r240", 239),
        ("no_verdict", "r480", 239),
        ("verdicts_again", None, None),
    ]
    assert (lines[-1]["failures"], lines[-1]["seconds"]) == (701, 87.5)
    with capture_logs() as lines:
        outage.failed(stage="MAIL", reason="another")
    assert [line["reason"] for line in lines] == ["another"]


def test_a_success_among_failures_does_not_end_an_outage() -> None:
    clock = _Time()
    outage = Outage("no_verdict", "verdicts_again", clock)
    with capture_logs() as lines:
        for _ in range(100):
            outage.failed()
            clock.now += 0.2
            outage.succeeded()
    assert [line["event"] for line in lines] == ["no_verdict"]
    assert outage.lasts
