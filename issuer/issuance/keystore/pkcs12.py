"""The ``.p12`` file, after the two profiles of shared/profiles.md."""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import Certificate

from issuer.issuance.keystore.keypairs import KeyPair

Profile = Literal["modern", "legacy"]

_ALGORITHMS = {
    "modern": (pkcs12.PBES.PBESv2SHA256AndAES256CBC, SHA256()),
    # For readers that refuse `modern`: the password's 130 bits do not rest on these.
    "legacy": (pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC, SHA1()),  # noqa: S303
}


def make_pkcs12(
    key: KeyPair,
    certificate: Certificate,
    chain: list[Certificate],
    *,
    friendly_name: str,
    password: str,
    profile: Profile,
    rounds: int,
) -> bytes:
    """``rounds`` is the encryption's; the library leaves the MAC at 2,048 whatever it says.

    The library writes localKeyId on key and leaf, which binds the two for every reader.
    """
    algorithm, mac_hash = _ALGORITHMS[profile]
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(rounds)
        .key_cert_algorithm(algorithm)
        .hmac_hash(mac_hash)
        .build(password.encode("ascii"))
    )
    return pkcs12.serialize_key_and_certificates(
        friendly_name.encode("ascii"), key, certificate, chain, encryption
    )
