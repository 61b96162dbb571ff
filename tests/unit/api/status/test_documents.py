"""What caches are told, and when a document is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from api.status.documents import OCSP, Document

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = NOW.timestamp()


def document(**changes: object) -> Document:
    settings: dict[str, object] = {
        "content_type": OCSP,
        "this_update": NOW,
        "next_update": NOW + timedelta(hours=1),
        "max_age": 60,
    }
    return Document(b"body", **(settings | changes))  # type: ignore[arg-type]


def headers_of(one: Document, at: float) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in one.headers(at)}


def test_headers() -> None:
    headers = headers_of(document(), AT)
    assert headers["content-type"] == "application/ocsp-response"
    assert headers["content-length"] == "4"
    assert parsedate_to_datetime(headers["last-modified"]) == NOW
    assert parsedate_to_datetime(headers["expires"]) == NOW + timedelta(hours=1)
    assert headers["cache-control"] == "max-age=60, public, no-transform, must-revalidate"


@pytest.mark.parametrize(("left", "max_age"), [(3600, 60), (63, 60), (62, 60), (61, 59), (10, 8), (1, 0)])
def test_no_cache_keeps_it_past_next_update(left: int, max_age: int) -> None:
    cache_control = headers_of(document(), AT + 3600 - left)["cache-control"]
    assert cache_control.startswith(f"max-age={max_age},")


def test_fresh_from_this_update_until_shortly_before_next_update() -> None:
    one = document()
    assert one.fresh(AT)
    assert one.fresh(AT + 3597)
    assert not one.fresh(AT + 3598)
    assert one.fresh(AT - 300)
    assert not one.fresh(AT - 301)
    assert document(next_update=None).fresh(AT + 10**9)
    assert not one.over(AT + 3600)
    assert one.over(AT + 3601 + 86_400)


def test_conditional_requests() -> None:
    one = document()
    etag = one.etag

    def asked(**headers: bytes) -> bool:
        return one.unchanged([(name.replace("_", "-").encode(), value) for name, value in headers.items()])

    assert asked(if_none_match=etag)
    assert asked(if_none_match=b'"other", W/' + etag)
    assert asked(if_none_match=b"*")
    assert not asked(if_none_match=b'"other"')
    assert asked(if_modified_since=b"Sun, 01 Mar 2026 12:00:00 GMT")
    assert not asked(if_modified_since=b"Sun, 01 Mar 2026 11:59:59 GMT")
    assert not asked(if_modified_since=b"yesterday")
    assert not asked(accept=b"*/*")
    # The entity tag counts where both are sent.
    assert not asked(if_modified_since=b"Sun, 01 Mar 2026 12:00:00 GMT", if_none_match=b'"other"')


def test_another_body_has_another_tag() -> None:
    other = Document(b"other", content_type=OCSP, this_update=NOW, next_update=None, max_age=1)
    assert other.etag != document().etag
