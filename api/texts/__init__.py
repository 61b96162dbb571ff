"""What the service says to people: terms, gates, reasons. French first (R25); one file a language.

A further language is one more file here and one more line in ``Language``.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from importlib import resources

import msgspec

from policies.eligibility import Gate, GateCode
from policies.reasons import DeactivationReason


class Language(StrEnum):
    FRENCH = "fr"
    GERMAN = "de"
    ENGLISH = "en"


_TAGS = frozenset(Language)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str
    body: str


class _Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    satisfied: str
    failed: str


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: str
    sections: tuple[Section, ...]

    @property
    def sha256(self) -> str:
        """Of the text shown, so that what was accepted can be proved later (R8)."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


class _Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    terms: Terms
    gates: dict[GateCode, _Gate]
    reasons: dict[DeactivationReason, str]


class Texts:
    """All catalogues, checked when loaded: each one complete, one version of the terms in all."""

    def __init__(self) -> None:
        self._catalogues = {language: _load(language) for language in Language}
        versions = {catalogue.terms.version for catalogue in self._catalogues.values()}
        if len(versions) != 1:
            raise ValueError(f"the terms differ in version between languages: {sorted(versions)}")
        self.terms_version = versions.pop()

    def terms(self, language: Language) -> Terms:
        return self._catalogues[language].terms

    def gates(self, language: Language, gates: Iterable[Gate]) -> list[tuple[Gate, str]]:
        """Each with what it says, or what to do about it."""
        said = self._catalogues[language].gates
        return [
            (gate, said[gate.code].satisfied if gate.satisfied else said[gate.code].failed) for gate in gates
        ]

    def reasons(self, language: Language) -> dict[DeactivationReason, str]:
        labels = self._catalogues[language].reasons
        return {reason: labels[reason] for reason in DeactivationReason}


def in_pairs(hexadecimal: str) -> str:
    """A serial number or fingerprint as people compare it, in the portal, in letters and in OpenSSL alike."""
    return ":".join(hexadecimal[at : at + 2] for at in range(0, len(hexadecimal), 2))


def choose_language(accept_language: str | None) -> Language:
    """The best of ours for an Accept-Language header (RFC 9110 12.5.4); French where none fits."""
    best, best_weight = Language.FRENCH, 0.0
    for entry in (accept_language or "")[:512].split(","):
        tag, _, parameter = entry.strip().partition(";")
        primary = tag.strip().lower().partition("-")[0]
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter.strip() else 1.0
        except ValueError:
            continue
        if primary in _TAGS and weight > best_weight:
            best, best_weight = Language(primary), weight
    return best


def _load(language: Language) -> _Catalogue:
    text = resources.files(__name__).joinpath(f"{language}.toml").read_text(encoding="utf-8")
    catalogue = msgspec.convert(tomllib.loads(text), _Catalogue)
    if set(catalogue.gates) != set(GateCode) or set(catalogue.reasons) != set(DeactivationReason):
        raise ValueError(f"the catalogue {language} is not complete")
    return catalogue
