"""The metrics of config_api."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from libs.runtime.metrics import show_build

show_build("config_api")
GRPC_CALLS_REFUSED = Counter(
    "posthouse_config_api_grpc_calls_refused_total",
    "gRPC calls that were refused because the caller was not allowed to make them.",
)
CERTIFICATE_EXPIRY = Gauge(
    "posthouse_config_api_certificate_expiry_timestamp_seconds",
    "When the first certificate of the file expires.",
    ["certificate"],
)
WATCHERS = Gauge("posthouse_config_api_watchers", "Open watches.", ["consumer"])
REVISION = Gauge("posthouse_config_api_revision", "Newest revision of the configuration.")
SNAPSHOT_DIGEST = Gauge(
    "posthouse_config_api_snapshot_digest",
    "The snapshot of a consumer, as 48 bits of its digest.",
    ["consumer"],
)
REQUESTS = Counter("posthouse_config_api_requests_total", "HTTP requests answered.", ["operation", "status"])
REQUEST_SECONDS = Histogram("posthouse_config_api_request_seconds", "Time to answer an HTTP request.", ["operation"])
REQUESTS_WAITING = Gauge(
    "posthouse_config_api_requests_waiting",
    "HTTP requests that wait because their key has reached its limit of requests at work.",
)
DATABASE_UP = Gauge("posthouse_config_api_database_up", "1 while the configuration's database answers, otherwise 0.")
FAILED_KEYS = Counter("posthouse_config_api_failed_keys_total", "Requests with a key that is not valid.")
EVENTS_READ = Counter("posthouse_config_api_events_read_total", "Events that were read from relay as they happened.")
EVENT_STREAMS = Gauge("posthouse_config_api_event_streams", "Open streams of events.")
WEBHOOK_ATTEMPTS = Counter(
    "posthouse_config_api_webhook_attempts_total", "Attempts to deliver an event to a webhook.", ["result"]
)
WEBHOOKS_SERVED = Gauge("posthouse_config_api_webhooks_served", "Webhooks whose lease this replica holds.")
WEBHOOKS_DISABLED = Counter(
    "posthouse_config_api_webhooks_disabled_total",
    "Webhooks that were disabled because no event was accepted for 3 days.",
)
