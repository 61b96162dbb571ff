"""What the service says to people: terms, gates, reasons, letters. French first (R25); one file a language.

A further language is one more file here and one more line in ``Language``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from string import Template

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


class Letter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subject: str
    body: str

    def write(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Raises KeyError for a value that the letter wants and does not get."""
        return Template(self.subject).substitute(values), Template(self.body).substitute(values)


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    terms: Terms
    gates: dict[GateCode, _Gate]
    choices: dict[DeactivationReason, str]
    """Why somebody wants their store to end, as they say it."""
    reasons: dict[str, str]
    """Why a store has ended, whoever ended it, as a letter says it."""
    actors: dict[str, str]
    moment: str
    days: tuple[str, str]
    """One, and more."""
    signature: str
    letters: dict[str, Letter]


class Texts:
    """All catalogues, checked when loaded: each one complete, one version of the terms in all."""

    def __init__(self) -> None:
        self._catalogues = catalogues()
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
        labels = self._catalogues[language].choices
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


@cache
def catalogues() -> Mapping[str, Catalogue]:
    return {language: _load(language) for language in Language}


def catalogue(language: str) -> Catalogue:
    """French for a language that there is none of: a letter in French beats no letter."""
    found = catalogues()
    return found.get(language.partition("-")[0].lower(), found[Language.FRENCH])


def _load(language: Language) -> Catalogue:
    text = resources.files(__name__).joinpath(f"{language}.toml").read_bytes()
    catalogue = msgspec.toml.decode(text, type=Catalogue)
    if set(catalogue.gates) != set(GateCode) or set(catalogue.choices) != set(DeactivationReason):
        raise ValueError(f"the catalogue {language} is not complete")
    return catalogue
