"""Tokens for the commands: opened, closed, and left to the users that they belong to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from api.accounts import find_accounts
from api.layout import Layout
from api.mounts import UsersMissing
from api.settings import Settings
from issuer.secrets import Secret, TokenConfig
from issuer.tokens import Token


def configured_tokens(configured: Settings) -> dict[str, TokenConfig]:
    found = {"root": configured.hsm.root, "issuing": configured.hsm.issuing, "status": configured.hsm.status}
    return {name: token for name, token in found.items() if token is not None}


def pin_of(config: TokenConfig) -> Secret:
    """From the configured file, else from whoever sits at the terminal. Raises SecretFileRefused."""
    if config.pin_file is not None or not sys.stdin.isatty():
        return config.read_pin()
    typed: str = click.prompt(f"PIN of the token {config.label}", hide_input=True, err=True)
    return Secret(typed.encode())


@contextmanager
def open_token(configured: Settings, name: str) -> Iterator[Token]:
    """Raises what ``Token.open`` raises."""
    config = configured_tokens(configured)[name]
    token = Token.open(config, pin_of(config))
    try:
        yield token
    finally:
        token.close()
        give_back(configured)


def give_back(configured: Settings) -> str | None:
    """Whatever root has written goes to the users whose processes need it; why not, where there are none."""
    try:
        find_accounts()
    except UsersMissing as error:
        return str(error)
    labels = {name: config.label for name, config in configured_tokens(configured).items()}
    Layout(configured.home_path).apply_owners(labels)
    return None
