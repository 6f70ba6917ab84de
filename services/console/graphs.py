"""Bar charts as SVG, from counts over time. This module is pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH = 480
_HEIGHT = 120
_TOP = 14
_BOTTOM = 18
_GAP = 2.0
# The lowest height of a bar that is not zero, so that it is visible.
_LEAST_HEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart. `label` is the time of the bar, and `value` its height."""

    label: str
    value: int


def bar_chart(name: str, bars: Sequence[Bar], kind: str) -> Markup:
    """Returns a chart with a bar for each period. `kind` is the CSS class for the colour. Each bar has its count as a
    title.
    """
    most = max((bar.value for bar in bars), default=0)
    total = sum(bar.value for bar in bars)
    space = _WIDTH / max(len(bars), 1)
    full = _HEIGHT - _TOP - _BOTTOM
    parts = [
        Markup(
            '<svg class="graph" viewBox="0 0 {} {}" role="img" aria-label="{}: {} in all, at most {} in a period">'
        ).format(_WIDTH, _HEIGHT, name, total, most),
        Markup('<text x="0" y="10">{}</text>').format(f"{most:,}"),
        Markup('<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>').format(
            _WIDTH, _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM
        ),
    ]
    for number, bar in enumerate(bars):
        if bar.value:
            height = max(full * bar.value / most, _LEAST_HEIGHT)
            parts.append(
                Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}: {}</title></rect>').format(
                    kind,
                    f"{number * space + _GAP / 2:.1f}",
                    f"{_HEIGHT - _BOTTOM - height:.1f}",
                    f"{max(space - _GAP, 1):.1f}",
                    f"{height:.1f}",
                    bar.label,
                    f"{bar.value:,}",
                )
            )
    if bars:
        parts.append(Markup('<text x="0" y="{}">{}</text>').format(_HEIGHT - 5, bars[0].label))
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(_WIDTH, _HEIGHT - 5, bars[-1].label)
        )
    return Markup("").join((*parts, Markup("</svg>")))
