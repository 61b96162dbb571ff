"""The portal's gettext catalogues. French is what the templates are written in: the manual's own words.

The .po files are read at start, so that there is no compiled copy to grow stale.
"""

from __future__ import annotations

import gettext
import io
import re
from importlib import resources

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from api.texts import Language

DOMAIN = "mycert"


class _French(gettext.GNUTranslations):
    """French sets a space before : ; ? ! and inside « », where no line may break."""

    _SPACE = re.compile(r" (?=[:;?!»])|(?<=«) ")

    def gettext(self, message: str) -> str:
        return self._SPACE.sub("\N{NO-BREAK SPACE}", super().gettext(message))

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self._SPACE.sub("\N{NO-BREAK SPACE}", super().ngettext(msgid1, msgid2, n))


def read_catalogue(language: Language) -> Catalog:
    file = resources.files(__package__) / "locale" / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    return read_po(io.BytesIO(file.read_bytes()), locale=language, domain=DOMAIN)


def load_translations() -> dict[Language, gettext.GNUTranslations]:
    """One for each language there is; an untranslated text shows in French."""
    found = {}
    for language in Language:
        compiled = io.BytesIO()
        write_mo(compiled, read_catalogue(language))
        compiled.seek(0)
        kind = _French if language is Language.FRENCH else gettext.GNUTranslations
        found[language] = kind(compiled)
    return found
