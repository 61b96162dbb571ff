"""Tokens, for those above the issuer, who have no business in ``hsm`` itself."""

from hsm.module import initialise_token
from hsm.token import Token

__all__ = ["Token", "initialise_token"]
