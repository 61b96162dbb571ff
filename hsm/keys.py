"""Keys on the token: how they are made, found, and judged before they may sign."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NewType

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, MechanismFlag, ObjectClass
from pkcs11 import KeyType as CkKeyType
from pkcs11.util.ec import encode_named_curve_parameters

from hsm.config import REQUIRED
from hsm.errors import KeyExists, KeyMissing, KeyRefused

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
KeyLabel = NewType("KeyLabel", str)
SigningKey = pkcs11.SignMixin
"""A private key object of a session: python-pkcs11 composes its classes of what a key can do."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyType(StrEnum):
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    P_256 = "p-256"
    P_384 = "p-384"


_CURVES: Mapping[KeyType, ec.EllipticCurve] = {KeyType.P_256: ec.SECP256R1(), KeyType.P_384: ec.SECP384R1()}
# As CKA_EC_PARAMS has them.
_CURVE_PARAMETERS = {kind: encode_named_curve_parameters(curve.name) for kind, curve in _CURVES.items()}

REQUIRED_ATTRIBUTES: Mapping[Attribute, bool] = MappingProxyType(
    {Attribute[name]: wanted for name, wanted in REQUIRED.items()}
)
# What the token sets by itself, and a template may not name.
_REPORTED_ONLY = {Attribute.NEVER_EXTRACTABLE}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyIdentity:
    """A private key as it is bound: no handle, so nothing here can go stale."""

    label: KeyLabel
    key_id: bytes
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """One key of the inventory; without findings it may be used."""

    label: str
    key_id: str
    key_type: str
    findings: tuple[str, ...]


def parse_label(text: str) -> KeyLabel:
    """Raises KeyRefused unless it is 1–64 ASCII letters, digits, dots, dashes or underscores."""
    if not _LABEL.fullmatch(text):
        raise KeyRefused(f"{text!r} is no key label")
    return KeyLabel(text)


def key_type_of(public_key: PublicKey) -> KeyType:
    """Raises KeyRefused for another curve or size."""
    if isinstance(public_key, rsa.RSAPublicKey):
        name = f"rsa-{public_key.key_size}"
    else:
        name = next((kind for kind, curve in _CURVES.items() if curve.name == public_key.curve.name), "")
    try:
        return KeyType(name)
    except ValueError:
        raise KeyRefused(f"a key of {public_key.key_size} bits of this kind is not in use here") from None


def generate_pair(session: pkcs11.Session, label: KeyLabel, key_type: KeyType) -> None:
    """Make the pair in a read-write session. What a crash leaves is a key that no certificate names.

    Raises KeyExists where the label, or the identifier derived from it, is taken.
    """
    key_id = hashlib.sha256(label.encode()).digest()[:20]
    for taken in ({Attribute.LABEL: label}, {Attribute.ID: key_id}):
        if _find(session, taken):
            raise KeyExists(f"key {label}: the label or its identifier is taken")
    arguments: dict[str, Any] = {
        "id": key_id,
        "label": label,
        "store": True,
        # VERIFY is for the public half: the library gives each half what it can have of these.
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": {
            name: v for name, v in REQUIRED_ATTRIBUTES.items() if name not in _REPORTED_ONLY
        },
    }
    if key_type in _CURVES:
        curve = {Attribute.EC_PARAMS: _CURVE_PARAMETERS[key_type]}
        session.create_domain_parameters(CkKeyType.EC, curve, local=True).generate_keypair(**arguments)
    else:
        session.generate_keypair(CkKeyType.RSA, int(key_type.removeprefix("rsa-")), **arguments)


def find_private(session: pkcs11.Session, label: KeyLabel, accept: Collection[str]) -> SigningKey:
    """The one private key of this label, judged. Raises KeyMissing or KeyRefused."""
    key: SigningKey = _exactly_one(session, ObjectClass.PRIVATE_KEY, label)
    if findings := judge(key, accept):
        raise KeyRefused(f"key {label}: {'; '.join(findings)}")
    return key


def find_bound(session: pkcs11.Session, identity: KeyIdentity, accept: Collection[str]) -> SigningKey:
    """The handle of a bound key in this session; the identifier must still be the one it was bound with."""
    key = find_private(session, identity.label, accept)
    if key[Attribute.ID] != identity.key_id:
        raise KeyRefused(f"key {identity.label}: another key carries this label now")
    return key


def find_public(session: pkcs11.Session, label: KeyLabel) -> PublicKey:
    return _decode_public(_exactly_one(session, ObjectClass.PUBLIC_KEY, label), label)


def bind(
    session: pkcs11.Session, label: KeyLabel, public_key: PublicKey, accept: Collection[str]
) -> KeyIdentity:
    """Tie a private key to the public key its signatures must verify with.

    The token's public key object is compared where there is one; the proof is the
    probe signature that the caller makes next. Raises KeyMissing or KeyRefused.
    """
    expected = CkKeyType.RSA if isinstance(public_key, rsa.RSAPublicKey) else CkKeyType.EC
    key = find_private(session, label, accept)
    if key[Attribute.KEY_TYPE] is not expected:
        raise KeyRefused(f"key {label}: not of the kind of its certificate's key")
    try:
        matching = find_public(session, label) == public_key
    except KeyMissing:
        matching = True
    if not matching:
        raise KeyRefused(f"key {label}: its public key is not the certificate's")
    return KeyIdentity(label=label, key_id=key[Attribute.ID], public_key=public_key)


def judge(key: SigningKey, accept: Collection[str]) -> tuple[str, ...]:
    """What speaks against the key; ``accept`` names attributes that may be unreported."""
    findings = []
    for attribute, wanted in REQUIRED_ATTRIBUTES.items():
        try:
            value = key[attribute]
        except pkcs11.AttributeTypeInvalid:
            if attribute.name not in accept:
                findings.append(f"{attribute.name} is not reported")
            continue
        if value is not wanted:
            findings.append(f"{attribute.name} is {value}")
    return tuple(findings)


def inventory(session: pkcs11.Session, accept: Collection[str]) -> list[KeyReport]:
    """Every private key of the token, by label, with what speaks against it."""
    keys = _find(session, {Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    labels = Counter(key[Attribute.LABEL] for key in keys)
    reports = []
    for key in keys:
        label = KeyLabel(key[Attribute.LABEL])
        findings = list(judge(key, accept))
        if labels[label] > 1:
            findings.append("the label is not unique")
        key_type = "unknown"
        try:
            key_type = key_type_of(find_public(session, label))
        except KeyRefused as refusal:
            findings.append(str(refusal))
        reports.append(
            KeyReport(
                label=label,
                key_id=key[Attribute.ID].hex(),
                key_type=key_type,
                findings=tuple(findings),
            )
        )
    return sorted(reports, key=lambda report: (report.label, report.key_id))


def _find(session: pkcs11.Session, template: dict[Attribute, Any]) -> list[Any]:
    return list(session.get_objects(template))


def _exactly_one(session: pkcs11.Session, object_class: ObjectClass, label: KeyLabel) -> Any:
    found = _find(session, {Attribute.CLASS: object_class, Attribute.LABEL: label})
    kind = object_class.name.lower().replace("_", " ")
    if not found:
        raise KeyMissing(f"key {label}: no {kind} on the token")
    if len(found) > 1:
        raise KeyRefused(f"key {label}: {len(found)} objects of class {kind}, want exactly one")
    return found[0]


def _decode_public(key: Any, label: KeyLabel) -> PublicKey:
    if key[Attribute.KEY_TYPE] is CkKeyType.RSA:
        exponent, modulus = (
            int.from_bytes(key[part], "big") for part in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS)
        )
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    for key_type, parameters in _CURVE_PARAMETERS.items():
        if key[Attribute.EC_PARAMS] == parameters:
            curve = _CURVES[key_type]
            # PKCS#11 wants the point in an OCTET STRING (whose header takes two bytes
            # at these sizes); some vendors give it bare.
            point = key[Attribute.EC_POINT][-(2 * curve.key_size // 8 + 1) :]
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    raise KeyRefused(f"key {label}: neither RSA nor on a curve in use here")
