"""Makes the reference page of metrics: the name, type, labels and meaning of each, read from the code that creates
them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from libs.runtime.metrics import BUILD_INFO_HELP, build_labels

ROOT = Path(__file__).parents[1]

_TYPES = {
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "_by_label": "counter",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "Histogram": "histogram",
    "HistogramMetricFamily": "histogram",
    "_histogram": "histogram",
    "_histograms": "histogram",
}
# This text replaces the name of the service in the name of a metric that several services have.
SERVICE = "*service*"
NAME = re.compile(r"\bposthouse_[a-z_]+\b")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as Prometheus reads it. `service` is empty when several services have the metric."""

    service: str
    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def metrics() -> list[Metric]:
    """Returns every metric, by service and name."""
    found = set()
    for file in sorted([*(ROOT / "services").rglob("*.py"), *(ROOT / "libs").rglob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _TYPES:
                metric = _metric(node, _TYPES[node.func.id])
                if metric is not None:
                    found.add(metric)
    return sorted(found, key=lambda metric: (metric.service, metric.name))


def _metric(call: ast.Call, kind: str) -> Metric | None:
    name = _text(call.args[0]) if call.args else ""
    if name.startswith(SERVICE):
        name = f"posthouse_{name}"
    if not name.startswith("posthouse_"):
        return None
    if kind == "counter":
        name = f"{name.removesuffix('_total')}_total"
    service = next((each for each in ("config_api", "ingress", "policy", "relay") if f"_{each}_" in name), "")
    labels = [keyword.value for keyword in call.keywords if keyword.arg in ("labels", "labelnames")]
    return Metric(service, name, kind, _labels(labels or call.args[2:3]), _text(call.args[1]))


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_text(each) if isinstance(each, ast.Constant) else SERVICE for each in values)
        case ast.Name(id="BUILD_INFO_HELP"):
            return BUILD_INFO_HELP
        case _:
            return ""


def _labels(declared: list[ast.expr]) -> tuple[str, ...]:
    match declared:
        case [ast.List(elts=names) | ast.Tuple(elts=names)]:
            return tuple(map(_text, names))
        case [ast.Constant(value=str(name))]:
            return (name,)
        case [ast.Call()]:
            return tuple(build_labels())
        case _:
            return ()


def page() -> str:
    """Returns the page in Markdown."""
    parts = [
        "# Metrics\n",
        "This page is for operators who make a dashboard or an alert.",
        "[Observing a gateway](../observability.md#metrics-metrics) says where they are read and what to look at",
        "first. A counter only grows until its process restarts. A histogram has `_bucket`, `_sum` and `_count`.\n",
    ]
    for service, of_service in groupby(metrics(), key=lambda metric: metric.service):
        if service:
            parts += [f"## {service}\n"]
        else:
            parts += [
                "## Several services\n",
                "SERVICE is the name of a service. Policy and relay have `configuration_up` and `snapshot_…`.\n",
            ]
        parts += ["| metric | type | labels | what it is |", "|---|---|---|---|"]
        for metric in of_service:
            labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
            name = metric.name.replace(SERVICE, "SERVICE")
            parts.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
        parts.append("")
    return "\n".join(parts)
