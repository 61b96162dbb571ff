"""Tokens for the commands: opened, closed, and left to the users that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.accounts import AccountsMissing, find_accounts
from api.layout import Layout
from api.settings import Settings
from issuer.tokens import Token, TokenConfig


def configured_tokens(configured: Settings) -> dict[str, TokenConfig]:
    found = {"root": configured.hsm.root, "issuing": configured.hsm.issuing, "status": configured.hsm.status}
    return {name: token for name, token in found.items() if token is not None}


@contextmanager
def open_token(configured: Settings, name: str) -> Iterator[Token]:
    """Raises what ``Token.open`` raises."""
    config = configured_tokens(configured)[name]
    token = Token.open(config, config.read_pin())
    try:
        yield token
    finally:
        token.close()
        give_back(configured)


def give_back(configured: Settings) -> None:
    """SoftHSM's files that root has written go to the users whose processes need them."""
    try:
        find_accounts()
    except AccountsMissing:
        return
    labels = {name: config.label for name, config in configured_tokens(configured).items()}
    Layout(configured.home_path).apply_owners(labels)
