from __future__ import annotations

import pytest

from api.web.negotiation import accepts, is_json


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("", True),
        ("*/*", True),
        ("application/*", True),
        ("application/json", True),
        ("APPLICATION/JSON", True),
        ("application/json;version=1", True),
        ("text/html, */*;q=0.1", True),
        ("text/html;q=1, application/json;q=0.001", True),
        # The most specific range decides, wherever it stands (RFC 9110 12.5.1).
        ("*/*, application/json;q=0", False),
        ("application/json;q=0, */*", False),
        ("application/*;q=0, application/json", True),
        ("application/*;q=0, */*", False),
        ("application/json;q=0.000", False),
        ("application/json;q=1.5", False),
        ("application/json;q=x", False),
        ("application/json;q=", False),
        ("text/*", False),
        ("*", False),
        ("json", False),
        (",,;;", False),
        ("application/jsonp", False),
    ],
)
def test_accept(accept: str, *, taken: bool) -> None:
    assert accepts(accept, "application/json") is taken


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        ("application/json", True),
        (" Application/Json ", True),
        ("application/json;charset=utf-8", True),
        ('application/json ; charset="UTF-8"', True),
        ("application/json; charset=latin-1", False),
        ("application/json; charset=utf-8; x=y", False),
        ("application/json, text/plain", False),
        ("application/jsonp", False),
        ("application/problem+json", False),
        ("text/json", False),
        ("", False),
    ],
)
def test_content_type(content_type: str, *, json: bool) -> None:
    assert is_json(content_type) is json
