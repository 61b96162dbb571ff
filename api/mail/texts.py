"""The letters' texts: one TOML file a language in ``catalogue/``; one more is one more language (R25)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template
from types import MappingProxyType

import msgspec

DEFAULT_LANGUAGE = "fr"


class Letter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subject: str
    body: str

    def write(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Raises KeyError for a value that the letter wants and does not get."""
        return Template(self.subject).substitute(values), Template(self.body).substitute(values)


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    moment: str
    days: tuple[str, str]
    """One, and more."""
    signature: str
    actors: dict[str, str]
    reasons: dict[str, str]
    letters: dict[str, Letter]


@cache
def catalogues() -> Mapping[str, Catalogue]:
    folder = files("api.mail") / "catalogue"
    return MappingProxyType(
        {
            entry.name.removesuffix(".toml"): msgspec.toml.decode(entry.read_bytes(), type=Catalogue)
            for entry in folder.iterdir()
            if entry.name.endswith(".toml")
        }
    )


def catalogue(language: str) -> Catalogue:
    """French for a language that there is none of: a letter in French beats no letter."""
    found = catalogues()
    return found.get(language.partition("-")[0].lower(), found[DEFAULT_LANGUAGE])
