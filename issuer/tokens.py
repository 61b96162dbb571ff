"""Tokens, for those above the issuer, who have no business in ``hsm`` itself."""

from hsm import HsmError, KeyReport, Token, TokenConfig, TokenExists, TokenUnavailable, initialise_token

__all__ = [
    "HsmError",
    "KeyReport",
    "Token",
    "TokenConfig",
    "TokenExists",
    "TokenUnavailable",
    "initialise_token",
]
