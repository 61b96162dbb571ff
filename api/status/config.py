"""Section [status]: what the status responder accepts, and how long it vouches for what it knows."""

from __future__ import annotations

import ipaddress

import msgspec


class StatusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All durations in seconds."""

    max_age: int = 1
    """How long a cache may hand out a CRL or a good answer without asking again. More spares
    the responder and delays by as much what a relying service behind a cache sees (R21)."""
    max_age_final: int = 3_600
    """The same for what does not change before its nextUpdate: revoked answers, CA certificates."""
    max_lag: float = 10.0
    """A registry that could not be followed for longer: ``tryLater``."""
    largest_request: int = 8_192
    """Octets of an OCSP request; a larger one is malformed."""
    largest_body: int = 65_536
    """Octets that are read at all; more is answered with 413."""
    remembered_requests: int = 65_536
    """Requests whose very octets are known, so that they need not be read again."""
    live_timeout: float = 2.0
    live_requests: int = 64
    """Requests that wait for the publisher at the same time; more get what was signed ahead."""
    metrics_from: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks that may read /metrics."""

    def __post_init__(self) -> None:
        if self.max_age < 0 or self.max_age_final < 0:
            raise ValueError("status: a cache's time is not negative")
        if min(self.max_lag, self.live_timeout) <= 0 or min(self.remembered_requests, self.live_requests) < 1:
            raise ValueError("status: times and numbers are positive")
        if not 256 <= self.largest_request <= self.largest_body:
            raise ValueError("status: largest_request from 256 to largest_body")
        for network in self.metrics_from:
            ipaddress.ip_network(network)
