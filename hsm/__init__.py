"""PKCS#11: tokens, their keys as ``cryptography`` private keys, recovery. Nobody else imports ``pkcs11``."""

from hsm.config import TokenConfig
from hsm.errors import (
    HsmError,
    KeyExists,
    KeyMissing,
    KeyRefused,
    PinRefused,
    PinWrong,
    SignatureWrong,
    TokenExists,
    TokenUnavailable,
)
from hsm.initialisation import initialise_token
from hsm.keys import KeyLabel, KeyReport, KeyType, PublicKey, key_type_of
from hsm.secret import Secret
from hsm.signing import PrivateKey
from hsm.token import Token

__all__ = [
    "HsmError",
    "KeyExists",
    "KeyLabel",
    "KeyMissing",
    "KeyRefused",
    "KeyReport",
    "KeyType",
    "PinRefused",
    "PinWrong",
    "PrivateKey",
    "PublicKey",
    "Secret",
    "SignatureWrong",
    "Token",
    "TokenConfig",
    "TokenExists",
    "TokenUnavailable",
    "initialise_token",
    "key_type_of",
]
