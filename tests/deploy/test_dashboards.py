"""The dashboard and the alert rules use metrics and labels that exist, and each alert fires when it should."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import services.config_api.metrics
import services.policy.metrics
import services.relay.clock  # noqa: F401 - an import adds the metrics of the module to the registry
from services.ingress.metrics import Metrics, MetricsCollector
from services.policy.metrics import DecisionCounts
from services.relay.metrics import DestinationAttempts
from tests.deploy.test_observability import LABELS
from tests.peers.process import program, run

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
SCRAPING = ROOT / "deploy/prometheus/prometheus.yaml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/posthouse.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# Prometheus itself adds these labels to each series of a target.
OF_A_TARGET = {"instance", "job"}


def _series_of(name: str, kind: str, labels: tuple[str, ...]) -> Iterator[tuple[str, set[str]]]:
    if kind == "counter":
        yield f"{name.removesuffix('_total')}_total", set(labels)
    elif kind == "histogram":
        yield from ((f"{name}{part}", set(labels)) for part in ("_sum", "_count"))
        yield f"{name}_bucket", {*labels, "le"}
    else:
        yield name, set(labels)


def _known() -> dict[str, set[str]]:
    """Returns every series of the four services with its labels."""
    found: dict[str, set[str]] = {"up": set()}
    registered: tuple[Any, ...] = tuple(REGISTRY._collector_to_names)
    for metric in registered:
        if hasattr(metric, "_labelnames"):
            found |= _series_of(metric._name, metric._type, metric._labelnames)
    ingress = MetricsCollector(Metrics(), dict, dict, tuple)
    for family in (*ingress.collect(), *DecisionCounts().collect(), *DestinationAttempts().collect()):
        found |= _series_of(family.name, family.type, getattr(family, "_labelnames", ()))
    return found


KNOWN = _known()

_METRIC = re.compile(r"\b(up|posthouse_[a-z_]+)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|group_left)\s*\(([^)]*)\)")


def names(expression: str) -> set[str]:
    return {found[1] for found in _METRIC.finditer(expression)}


def labels(expression: str) -> set[str]:
    """Returns the labels that a series of the expression may have."""
    return set().union(*(KNOWN[name] for name in names(expression))) | OF_A_TARGET


def faults(expression: str) -> list[str]:
    """Returns the metrics and labels in an expression that do not exist, and values that a label never has."""
    found = [f"no metric {name}" for name in names(expression) if name not in KNOWN]
    if found or not names(expression):
        return found or ["no metric at all"]
    for metric in _METRIC.finditer(expression):
        for label, operator, value in _MATCHER.findall(metric[2] or ""):
            if label not in KNOWN[metric[1]] | OF_A_TARGET:
                found.append(f"{metric[1]} has no label {label}")
            elif operator in ("=", "!=") and not re.fullmatch(LABELS.get(label, ".*"), value):
                found.append(f"{label} is never {value}")
    for grouping in _GROUPING.finditer(expression):
        wanted = filter(None, map(str.strip, grouping[1].split(",")))
        found += [f"nothing has a label {label}" for label in wanted if label not in labels(expression)]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)
    yield from ((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"])


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_metric_and_label_in_the_dashboards_exists(where: str, expression: str) -> None:
    assert faults(expression) == [], where


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(posthouse_ingress_replies[5m])", "no metric posthouse_ingress_replies"),
        ('posthouse_ingress_stream_up{stage="x"}', "posthouse_ingress_stream_up has no label stage"),
        ('posthouse_ingress_stream_up{service="redis"}', "service is never redis"),
        ("sum by (zone) (posthouse_relay_backlog)", "nothing has a label zone"),
        ("vector(1)", "no metric at all"),
    ],
)
def test_the_check_finds_metrics_and_labels_that_do_not_exist(expression: str, fault: str) -> None:
    assert faults(expression) == [fault]


@pytest.mark.parametrize(
    "what",
    [
        "posthouse_ingress_messages_total",
        "posthouse_policy_decisions_total",
        "posthouse_ingress_policy_seconds_bucket",
        "posthouse_relay_delivery_seconds_bucket",
        "posthouse_relay_queue_deliveries",
        "posthouse_relay_queue_oldest_age_seconds",
        "posthouse_ingress_stream_up",
        "posthouse_policy_snapshot_created_timestamp_seconds",
        "posthouse_policy_store_up",
        "posthouse_policy_lookup_seconds_count",
        "posthouse_relay_lookups_total",
        "posthouse_relay_storage_available_bytes",
        "posthouse_ingress_replies_total",
        "posthouse_ingress_certificate_failures_total",
        "posthouse_policy_blocked_clients",
        "posthouse_relay_reports_total",
        "posthouse_relay_queue_destination_deliveries",
        "posthouse_relay_destination_attempts_total",
        "posthouse_ingress_certificate_expiry_timestamp_seconds",
        "posthouse_policy_auth_total",
        "posthouse_relay_build_info",
    ],
)
def test_the_dashboard_shows_the_main_questions_of_an_operator(what: str) -> None:
    assert any(what in names(target["expr"]) for panel in PANELS for target in panel["targets"])


def test_every_panel_of_the_dashboard_is_complete() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert DASHBOARD["templating"]["list"][0]["name"] == "datasource"
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{([a-z_]+)\}\}", target["legendFormat"]))
            assert shown <= labels(target["expr"]), panel["title"]


def test_prometheus_accepts_the_rules_and_the_scrape_configuration() -> None:
    run([program("promtool"), "check", "rules", "--lint-fatal", ALERTS])
    run([program("promtool"), "check", "config", SCRAPING])


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    queries = [target["expr"] for panel in PANELS for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run([program("promtool"), "check", "rules", file])


def test_every_alert_has_a_severity_and_an_instruction() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"].endswith("."), rule["alert"]
        shown = set(re.findall(r"\$labels\.([a-z_]+)", str(rule["annotations"])))
        assert shown <= labels(rule["expr"]), rule["alert"]


def test_every_alert_has_a_section_with_instructions() -> None:
    text = (ROOT / "docs/operate/alerts.md").read_text()
    sections = re.findall(r"^### (\w+)\n\n\*(Page|Ticket)\.\* ", text, re.MULTILINE)
    severities = {alert: severity.lower() for alert, severity in sections}
    assert severities == {rule["alert"]: rule["labels"]["severity"] for rule in RULES}
    assert len(sections) == len(severities)


def test_every_event_that_the_documentation_explains_exists() -> None:
    table = (ROOT / "docs/observability.md").read_text().partition("| event | service | says |")[2]
    events = {event for line in table.splitlines() for event in re.findall(r"`([a-z_]+)`", line.split(" | ")[0])}
    source = "".join(path.read_text() for folder in ("services", "libs") for path in (ROOT / folder).rglob("*.py"))
    assert len(events) > 10
    assert [event for event in sorted(events) if f'"{event}"' not in source] == []


# Alerts that fire

_AT = 'instance="i"'
# Each series has one sample a minute, in promtool's notation (start+step x count).
_GOES_ON, _STANDS_STILL = "0+60x80", "0x80"
_IN_90_DAYS = f"{90 * 86400}x80"
# The series of a gateway without faults. Each case below changes some of them.
_WELL: Mapping[str, str] = {
    **{f'up{{job="{job}",{_AT}}}': "1x80" for job in ("config_api", "console", "ingress", "policy", "relay")},
    f'posthouse_ingress_stream_up{{service="policy",{_AT}}}': "1x80",
    f'posthouse_ingress_stream_up{{service="relay",{_AT}}}': "1x80",
    f'posthouse_ingress_policy_failures_total{{stage="RCPT",{_AT}}}': _STANDS_STILL,
    f'posthouse_ingress_replies_total{{code="250",{_AT}}}': "0+600x80",
    f'posthouse_ingress_replies_total{{code="451",{_AT}}}': "0+1x80",
    f'posthouse_ingress_policy_seconds_bucket{{stage="RCPT",le="0.1",{_AT}}}': _GOES_ON,
    f'posthouse_ingress_policy_seconds_bucket{{stage="RCPT",le="5.0",{_AT}}}': _GOES_ON,
    f'posthouse_ingress_policy_seconds_bucket{{stage="RCPT",le="+Inf",{_AT}}}': _GOES_ON,
    f'posthouse_ingress_checks_total{{check="virus",outcome="clean",{_AT}}}': _GOES_ON,
    f'posthouse_ingress_checks_total{{check="virus",outcome="error",{_AT}}}': _STANDS_STILL,
    f'posthouse_ingress_checks_total{{check="spam",outcome="error",{_AT}}}': _STANDS_STILL,
    f'posthouse_ingress_handler_calls_total{{outcome="refused",{_AT}}}': _STANDS_STILL,
    f'posthouse_ingress_handler_calls_total{{outcome="exception",{_AT}}}': _STANDS_STILL,
    f"posthouse_ingress_certificate_failures_total{{{_AT}}}": _STANDS_STILL,
    f'posthouse_ingress_certificate_expiry_timestamp_seconds{{certificate="a.crt",{_AT}}}': _IN_90_DAYS,
    f'posthouse_policy_certificate_expiry_timestamp_seconds{{certificate="b.crt",{_AT}}}': _IN_90_DAYS,
    f'posthouse_relay_certificate_expiry_timestamp_seconds{{certificate="b.crt",{_AT}}}': _IN_90_DAYS,
    f'posthouse_config_api_certificate_expiry_timestamp_seconds{{certificate="b.crt",{_AT}}}': _IN_90_DAYS,
    f'posthouse_policy_auth_total{{outcome="accepted",{_AT}}}': "0+6000x80",
    f'posthouse_policy_auth_total{{outcome="refused",{_AT}}}': "0+6x80",
    f"posthouse_policy_blocked_clients{{{_AT}}}": "7x80",
    f"posthouse_relay_queue_oldest_age_seconds{{{_AT}}}": "300x80",
    f'posthouse_relay_queue_deliveries{{state="due",{_AT}}}': "20x80",
    f'posthouse_relay_queue_deliveries{{state="deferred",{_AT}}}': "500x80",
    f'posthouse_relay_queue_deliveries{{state="held",{_AT}}}': "3x80",
    f'posthouse_relay_commit_failures_total{{reason="full",{_AT}}}': _STANDS_STILL,
    f"posthouse_relay_storage_accepting{{{_AT}}}": "1x80",
    f"posthouse_relay_storage_available_bytes{{{_AT}}}": "5000000000x80",
    f'posthouse_relay_reports_total{{kind="report",{_AT}}}': "0+4x80",
    f'posthouse_relay_attempts_total{{result="delivered",{_AT}}}': _GOES_ON,
    f'posthouse_relay_attempts_total{{result="deferred",{_AT}}}': "0+6x80",
    f"posthouse_relay_quarantined_total{{{_AT}}}": _STANDS_STILL,
    f'posthouse_relay_clock_jumps_total{{direction="back",{_AT}}}': _STANDS_STILL,
    f"posthouse_policy_store_up{{{_AT}}}": "1x80",
    f"posthouse_config_api_database_up{{{_AT}}}": "1x80",
    f"posthouse_policy_configuration_up{{{_AT}}}": "1x80",
    f"posthouse_relay_configuration_up{{{_AT}}}": "1x80",
    f'posthouse_config_api_snapshot_digest{{consumer="policy",{_AT}}}': "2000x80",
    f'posthouse_config_api_snapshot_digest{{consumer="relay",{_AT}}}': "3000x80",
    f"posthouse_policy_snapshot_digest{{{_AT}}}": "2000x80",
    f"posthouse_relay_snapshot_digest{{{_AT}}}": "3000x80",
    f"posthouse_policy_snapshot_errors_total{{{_AT}}}": _STANDS_STILL,
    f"posthouse_relay_snapshot_errors_total{{{_AT}}}": _STANDS_STILL,
    f'posthouse_policy_lookup_seconds_count{{lookup="spf",outcome="found",{_AT}}}': _GOES_ON,
    f'posthouse_policy_lookup_seconds_count{{lookup="spf",outcome="no_answer",{_AT}}}': "0+6x80",
    f'posthouse_relay_lookups_total{{kind="MX",outcome="found",{_AT}}}': _GOES_ON,
    f'posthouse_relay_lookups_total{{kind="MX",outcome="no_answer",{_AT}}}': "0+6x80",
    f'posthouse_policy_dnsbl_zone_broken{{zone="bl.test",{_AT}}}': "0x80",
}
# The change that makes each alert fire: the beginning of a series' name (and of its labels), and its new values.
_ILL: list[tuple[str, str, str]] = [
    ("PosthouseTargetDown", 'up{job="relay"', "1x10 0x70"),
    ("PosthouseConsoleDown", 'up{job="console"', "1x10 0x70"),
    ("PosthouseStreamDown", 'posthouse_ingress_stream_up{service="relay"', "1x10 0x70"),
    ("PosthouseDecisionsFail", "posthouse_ingress_policy_failures_total", "0x10 0+30x70"),
    ("PosthouseTemporaryFailures", 'posthouse_ingress_replies_total{code="451"', "0x10 0+60x70"),
    ("PosthouseSlowDecisions", 'posthouse_ingress_policy_seconds_bucket{stage="RCPT",le="0.1"', "0+20x80"),
    ("PosthouseScansFail", 'posthouse_ingress_checks_total{check="virus",outcome="error"', "0x10 0+5x70"),
    ("PosthouseSpamChecksFail", 'posthouse_ingress_checks_total{check="spam",outcome="error"', "0x10 0+5x70"),
    (
        "PosthouseHandlerFails",
        'posthouse_ingress_handler_calls_total{outcome="exception"',
        "0x10 0+5x70",
    ),
    ("PosthouseCertificateNotLoaded", "posthouse_ingress_certificate_failures_total", "0x70 1x10"),
    ("PosthouseCertificateEnds", "posthouse_ingress_certificate_expiry", f"{10 * 86400}x80"),
    ("PosthouseCertificateEnds", "posthouse_policy_certificate_expiry", f"{10 * 86400}x80"),
    ("PosthouseCertificateEnds", "posthouse_relay_certificate_expiry", f"{10 * 86400}x80"),
    ("PosthouseCertificateEnds", "posthouse_config_api_certificate_expiry", "0x80"),
    ("PosthouseLoginsRefused", 'posthouse_policy_auth_total{outcome="refused"', "0x10 0+1000x70"),
    ("PosthouseClientsBlocked", "posthouse_policy_blocked_clients", "7x10 300x70"),
    ("PosthouseQueueOld", "posthouse_relay_queue_oldest_age_seconds", "0+900x80"),
    ("PosthouseQueueLong", 'posthouse_relay_queue_deliveries{state="due"', "20x10 50000x70"),
    ("PosthouseQueueDeferred", 'posthouse_relay_queue_deliveries{state="deferred"', "500x10 90000x70"),
    ("PosthouseAttemptsDeferred", 'posthouse_relay_attempts_total{result="deferred"', "0x10 0+6000x70"),
    ("PosthouseMailHeld", 'posthouse_relay_queue_deliveries{state="held"', "3x10 500x70"),
    ("PosthouseCommitsFail", "posthouse_relay_commit_failures_total", "0x10 0+5x70"),
    ("PosthouseDiskReserve", "posthouse_relay_storage_accepting", "1x10 0x70"),
    ("PosthouseDiskLow", "posthouse_relay_storage_available_bytes", "5000000000x10 200000000x70"),
    ("PosthouseReportsMany", "posthouse_relay_reports_total", "0x10 0+30x70"),
    ("PosthouseQuarantined", "posthouse_relay_quarantined_total", "0x70 2x10"),
    ("PosthouseClockJumped", "posthouse_relay_clock_jumps_total", "0x70 1x10"),
    ("PosthouseRedisDown", "posthouse_policy_store_up", "1x10 0x70"),
    ("PosthouseDatabaseDown", "posthouse_config_api_database_up", "1x10 0x70"),
    ("PosthouseConfigurationAway", "posthouse_relay_configuration_up", "1x10 0x70"),
    ("PosthouseSnapshotOld", "posthouse_policy_snapshot_digest", "2000x10 1000x70"),
    ("PosthouseSnapshotOld", "posthouse_relay_snapshot_digest", "3000x10 4000x70"),
    ("PosthouseSnapshotRefused", "posthouse_policy_snapshot_errors_total", "0x70 1x10"),
    ("PosthouseDnsFails", 'posthouse_policy_lookup_seconds_count{lookup="spf",outcome="no_answer"', "0x10 0+600x70"),
    ("PosthouseDnsFails", 'posthouse_relay_lookups_total{kind="MX",outcome="no_answer"', "0x10 0+600x70"),
    ("PosthouseBlockListBroken", "posthouse_policy_dnsbl_zone_broken", "0x10 1x70"),
]


# Changes that must make no alert fire: values just within the limit, too short a time, or a fault that is over.
_NEARLY: list[tuple[str, str, str]] = [
    ("PosthouseTargetDown", 'up{job="relay"', "1x74 0x5"),
    ("PosthouseConsoleDown", 'up{job="console"', "1x75 0x4"),
    ("PosthouseStreamDown", 'posthouse_ingress_stream_up{service="relay"', "1x74 0x5"),
    ("PosthouseDecisionsFail", "posthouse_ingress_policy_failures_total", "0+5x80"),
    ("PosthouseTemporaryFailures", 'posthouse_ingress_replies_total{code="451"', "0+12x80"),
    ("PosthouseSlowDecisions", 'posthouse_ingress_policy_seconds_bucket{stage="RCPT",le="0.1"', "0+59.5x80"),
    ("PosthouseScansFail", 'posthouse_ingress_checks_total{check="virus",outcome="error"', "0+5x10 50x69"),
    ("PosthouseSpamChecksFail", 'posthouse_ingress_checks_total{check="spam",outcome="error"', "0+5x10 50x69"),
    ("PosthouseHandlerFails", 'posthouse_ingress_handler_calls_total{outcome="refused"', "0+5x80"),
    ("PosthouseCertificateNotLoaded", "posthouse_ingress_certificate_failures_total", "0x10 1x70"),
    ("PosthouseCertificateEnds", "posthouse_ingress_certificate_expiry", f"{14 * 86400 + 80 * 60}x80"),
    ("PosthouseLoginsRefused", 'posthouse_policy_auth_total{outcome="refused"', "0+119x80"),
    ("PosthouseClientsBlocked", "posthouse_policy_blocked_clients", "100x80"),
    ("PosthouseQueueOld", "posthouse_relay_queue_oldest_age_seconds", "14400x80"),
    ("PosthouseQueueLong", 'posthouse_relay_queue_deliveries{state="due"', "10000x80"),
    ("PosthouseQueueDeferred", 'posthouse_relay_queue_deliveries{state="deferred"', "20000x80"),
    ("PosthouseAttemptsDeferred", 'posthouse_relay_attempts_total{result="deferred"', "0+59x80"),
    ("PosthouseMailHeld", 'posthouse_relay_queue_deliveries{state="held"', "100x80"),
    ("PosthouseCommitsFail", "posthouse_relay_commit_failures_total", "0+5x10 50x69"),
    ("PosthouseDiskReserve", "posthouse_relay_storage_accepting", "1x74 0x5"),
    ("PosthouseDiskLow", "posthouse_relay_storage_available_bytes", "1000000000x80"),
    ("PosthouseReportsMany", "posthouse_relay_reports_total", "0+11x80"),
    ("PosthouseQuarantined", "posthouse_relay_quarantined_total", "0x5 2x75"),
    ("PosthouseClockJumped", "posthouse_relay_clock_jumps_total", "0x10 1x70"),
    ("PosthouseRedisDown", "posthouse_policy_store_up", "1x74 0x5"),
    ("PosthouseDatabaseDown", "posthouse_config_api_database_up", "1x74 0x5"),
    ("PosthouseConfigurationAway", "posthouse_relay_configuration_up", "1x65 0x14"),
    ("PosthouseSnapshotOld", "posthouse_policy_snapshot_digest", "2000x74 1000x5"),
    ("PosthouseSnapshotRefused", "posthouse_policy_snapshot_errors_total", "0x10 1x70"),
    ("PosthouseDnsFails", 'posthouse_relay_lookups_total{kind="MX",outcome="no_answer"', "0+59x80"),
    ("PosthouseBlockListBroken", "posthouse_policy_dnsbl_zone_broken", "0x30 1x50"),
]


def _case(name: str, changes: Mapping[str, str], alerts: Sequence[str] = ()) -> dict[str, Any]:
    """Returns a case for promtool: the series of a gateway without faults with `changes`, and the alerts that then
    fire.
    """
    series = dict(_WELL)
    for beginning, values in changes.items():
        (changed,) = [one for one in series if one.startswith(beginning)]
        series[changed] = values
    return {
        "name": f"{name} {' '.join(changes)}",
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "79m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
            }
        ],
    }


def _promtool(folder: Path, cases: list[dict[str, Any]]) -> None:
    file = folder / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "5m", "tests": cases}))
    run([program("promtool"), "test", "rules", file])


def test_each_alert_fires_alone_for_its_fault_and_none_fires_without_a_fault(tmp_path: Path) -> None:
    assert {name for name, _, _ in _ILL} == {rule["alert"] for rule in RULES}
    _promtool(tmp_path, [_case("well", {}), *(_case(name, {part: values}, [name]) for name, part, values in _ILL)])


def test_no_alert_fires_just_within_its_bounds(tmp_path: Path) -> None:
    assert {name for name, _, _ in _NEARLY} == {rule["alert"] for rule in RULES}
    _promtool(tmp_path, [_case(name, {part: values}) for name, part, values in _NEARLY])


def test_each_of_several_faults_at_the_same_time_fires_its_alert(tmp_path: Path) -> None:
    """For 40 minutes, most attempts are deferred, many logins are refused, and many deliveries are held or deferred."""
    changes = {
        'posthouse_relay_attempts_total{result="deferred"': "0+6x39 234+5940x40",
        'posthouse_policy_auth_total{outcome="refused"': "0+6x39 234+1000x40",
        'posthouse_relay_queue_deliveries{state="held"': "3x39 500x40",
        'posthouse_relay_queue_deliveries{state="deferred"': "500x39 90000x40",
    }
    alerts = ["PosthouseAttemptsDeferred", "PosthouseLoginsRefused", "PosthouseMailHeld", "PosthouseQueueDeferred"]
    _promtool(tmp_path, [_case("all at once", changes, alerts)])


def test_a_few_deferred_attempts_cause_no_alert(tmp_path: Path) -> None:
    changes = {
        'posthouse_relay_attempts_total{result="deferred"': "0+5x80",
        'posthouse_relay_attempts_total{result="delivered"': _STANDS_STILL,
        "posthouse_relay_reports_total": _STANDS_STILL,
    }
    _promtool(tmp_path, [_case("few", changes)])


def test_the_series_in_the_cases_exist() -> None:
    assert [series for series in _WELL if faults(series)] == []
