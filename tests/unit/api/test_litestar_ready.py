"""Every application of ours is built without a word of deprecation (house-style: be ready for Litestar 3)."""

from __future__ import annotations

from unittest.mock import Mock

from api.internal.issuer_app import build_issuer_app
from api.internal.officer_app import build_officer_app
from api.internal.publication import build_publication_app
from api.internal.publisher_app import build_publisher_app


def test_no_application_uses_what_goes_away() -> None:
    """Warnings are errors here; web's application is built by tests/unit/test_documents.py."""
    nothing = Mock()
    assert build_issuer_app(verifier=nothing, issuance=nothing, holdings=nothing, checks={}, shown={}).routes
    assert build_officer_app(desk=nothing, crl_issuer=nothing).routes
    assert build_publication_app(crl_issuer=nothing, responder_issuer=nothing).routes
    assert build_publisher_app(responder=nothing, publisher=nothing).routes
