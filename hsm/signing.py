"""Keys of the token as ``cryptography`` private keys, so that its builders sign with them.

The hash is computed here and the token signs it raw (ECDSA, RSA_PKCS over a DigestInfo):
mechanisms that hash are missing on some tokens. Every signature is verified
with the expected public key before it leaves; a stale handle has signed with another key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from pkcs11 import Mechanism

from hsm.errors import KeyRefused, SignatureWrong
from hsm.keys import PublicKey

_DIGEST_INFO: Mapping[str, bytes] = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""The DER before the digest, RFC 8017 section 9.2, note 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureOrder:
    """One signature to be made by the token, and how to tell that it is right."""

    mechanism: Mechanism
    data: bytes
    encode: Callable[[bytes], bytes]
    """From the token's form to that of X.509."""
    verify: Callable[[bytes], None]
    """With the expected public key. Raises InvalidSignature."""

    def accept(self, raw: bytes) -> bytes:
        """The signature, encoded and verified. Raises SignatureWrong."""
        try:
            signature = self.encode(raw)
            self.verify(signature)
        except (InvalidSignature, ValueError):
            raise SignatureWrong("the token's signature does not verify with the expected key") from None
        return signature


Signer = Callable[[SignatureOrder], bytes]
_Public = TypeVar("_Public", ec.EllipticCurvePublicKey, rsa.RSAPublicKey)


def ecdsa_order(
    public_key: ec.EllipticCurvePublicKey, data: bytes, algorithm: ec.EllipticCurveSignatureAlgorithm
) -> SignatureOrder:
    if not isinstance(algorithm, ec.ECDSA) or algorithm.deterministic_signing:
        raise UnsupportedAlgorithm("the token signs plain ECDSA")
    digest, hash_algorithm = _digest(data, algorithm.algorithm)
    size = public_key.key_size // 8

    def encode(raw: bytes) -> bytes:
        if len(raw) != 2 * size:
            raise ValueError("neither r nor s fits")
        return encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    return SignatureOrder(
        mechanism=Mechanism.ECDSA,
        # FIPS 186-5 6.4.1: the leftmost bits count. Tokens differ in whether they cut it themselves.
        data=digest[:size],
        encode=encode,
        verify=lambda signature: public_key.verify(signature, digest, ec.ECDSA(Prehashed(hash_algorithm))),
    )


def rsa_order(
    public_key: rsa.RSAPublicKey,
    data: bytes,
    scheme: padding.AsymmetricPadding,
    algorithm: object,
) -> SignatureOrder:
    if not isinstance(scheme, padding.PKCS1v15):
        raise UnsupportedAlgorithm("the token signs PKCS#1 v1.5")
    digest, hash_algorithm = _digest(data, algorithm)
    prehashed = Prehashed(hash_algorithm)
    return SignatureOrder(
        mechanism=Mechanism.RSA_PKCS,
        data=_DIGEST_INFO[hash_algorithm.name] + digest,
        encode=bytes,
        verify=lambda signature: public_key.verify(signature, digest, scheme, prehashed),
    )


def probe_order(public_key: PublicKey) -> SignatureOrder:
    """A signature over a text that is no certificate, CRL or answer, whoever may read it."""
    text = b"myCert: this signature only shows that the key works"
    if isinstance(public_key, rsa.RSAPublicKey):
        return rsa_order(public_key, text, padding.PKCS1v15(), hashes.SHA256())
    return ecdsa_order(public_key, text, ec.ECDSA(hashes.SHA256()))


def _digest(data: bytes, algorithm: object) -> tuple[bytes, hashes.HashAlgorithm]:
    if not isinstance(algorithm, hashes.HashAlgorithm) or algorithm.name not in _DIGEST_INFO:
        raise UnsupportedAlgorithm("the token signs SHA-256, SHA-384 and SHA-512 of what it is given")
    context = hashes.Hash(algorithm)
    context.update(data)
    return context.finalize(), algorithm


class _OnToken(Generic[_Public]):
    """What every key on a token has in common, and what none ever does."""

    _public_key: _Public

    def __init__(self, public_key: _Public, signer: Signer) -> None:
        self._public_key = public_key
        self._signer = signer

    def public_key(self) -> _Public:
        return self._public_key

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def private_numbers(self) -> NoReturn:
        raise KeyRefused("a private key does not leave its token")

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:  # noqa: A002
        raise KeyRefused("a private key does not leave its token")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key does not leave its token")


class TokenEcKey(_OnToken[ec.EllipticCurvePublicKey], ec.EllipticCurvePrivateKey):
    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Raises TokenUnavailable, PinRefused or KeyRefused."""
        return self._signer(ecdsa_order(self._public_key, data, signature_algorithm))

    def exchange(self, algorithm: object, peer_public_key: object) -> NoReturn:
        raise KeyRefused("a signing key does not agree keys")


class TokenRsaKey(_OnToken[rsa.RSAPublicKey], rsa.RSAPrivateKey):
    def sign(self, data: bytes, padding: padding.AsymmetricPadding, algorithm: Any) -> bytes:
        """Raises TokenUnavailable, PinRefused or KeyRefused."""
        return self._signer(rsa_order(self._public_key, data, padding, algorithm))

    def decrypt(self, ciphertext: object, padding: object) -> NoReturn:
        raise KeyRefused("a signing key does not decrypt")


PrivateKey = TokenEcKey | TokenRsaKey
