"""What an operator watches of the publisher. Moments are seconds since 1970, as Prometheus wants them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

FAILURES = Counter("mycert_publisher_failures", "Attempts that failed and are repeated.", ["task"])
FAILING_SINCE = Gauge(
    "mycert_publisher_failing_since_seconds", "Since when a task has only failed; 0 where it works.", ["task"]
)
LEADING = Gauge("mycert_publisher_leading", "1 where this process is the one that publishes.")
ANSWERS = Counter("mycert_publisher_answers", "OCSP answers signed ahead.", ["status"])
LIVE = Counter("mycert_publisher_live_answers", "OCSP answers signed on demand.", ["outcome"])
CRL_NUMBER = Gauge("mycert_publisher_crl_number", "Number of the published CRL.", ["authority"])
CRL_NEXT_UPDATE = Gauge("mycert_publisher_crl_next_update_seconds", "nextUpdate of the CRL.", ["authority"])
CRL_LAG = Gauge(
    "mycert_publisher_crl_lag_seconds",
    "Age of the oldest revocation that no CRL tells of.",
    ["authority"],
)
ANSWERS_NEXT_UPDATE = Gauge(
    "mycert_publisher_answers_next_update_seconds",
    "The earliest nextUpdate of all answers.",
    ["authority"],
)
SIGNER_NOT_AFTER = Gauge("mycert_publisher_signer_not_after_seconds", "End of the OCSP signer's certificate.")
DIFFERENCES = Gauge(
    "mycert_publisher_differences",
    "What is published and differs from the registry, at the last comparison. More than 0 is an alarm.",
    ["where"],
)
COMPARED_AT = Gauge("mycert_publisher_compared_seconds", "When everything was compared last.")
