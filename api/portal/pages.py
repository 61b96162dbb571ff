"""Templates to pages, in the reader's language. Everything is escaped where it is put in.

French is what the templates are written in: the manual's own words. The gettext catalogues (.po) are read at
start, so that there is no compiled copy to grow stale.
"""

from __future__ import annotations

import gettext
import hashlib
import io
import re
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from typing import Any

from babel import Locale
from babel.dates import format_date, format_datetime, format_time, get_timezone
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response
from markupsafe import Markup, escape

from api.texts import Language, in_pairs

LUXEMBOURG = get_timezone("Europe/Luxembourg")
LANGUAGE_NAMES = {language: str(Locale(language).language_name).capitalize() for language in Language}
STATIC_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
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


class StaticFiles:
    """Read once; each address holds the content's hash, so that it can be kept for ever."""

    def __init__(self) -> None:
        folder = resources.files(__package__) / "static"
        self.contents: dict[str, tuple[bytes, str]] = {}
        self.addresses: dict[str, str] = {}
        for file in folder.iterdir():
            stem, _, suffix = file.name.partition(".")
            if suffix in STATIC_TYPES:
                content = file.read_bytes()
                name = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
                self.contents[name] = (content, STATIC_TYPES[suffix])
                self.addresses[file.name] = f"/static/{name}"


class Pages:
    """Thread-safe. One environment a language, so that a page's texts are looked up once."""

    def __init__(self, *, demo: bool) -> None:
        self.static = StaticFiles()
        self._environments = {
            language: self._environment(language, translations, demo)
            for language, translations in load_translations().items()
        }

    def render(
        self, template: str, language: Language, context: Mapping[str, Any], status: int = 200
    ) -> Response[str]:
        text = self._environments[language].get_template(template).render(language=language, **context)
        return Response(
            content=text,
            status_code=status,
            media_type=MediaType.HTML,
            headers={"Content-Language": str(language)},
        )

    def _environment(self, language: Language, translations: Any, demo: bool) -> Environment:
        environment = Environment(
            loader=PackageLoader("api.portal"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
        region = (
            "en_GB" if language is Language.ENGLISH else str(language)
        )  # Else months first, and am and pm.
        environment.filters.update(
            date=lambda moment: format_date(_local(moment), "long", locale=region),
            moment=lambda moment: format_datetime(_local(moment), "medium", locale=region),
            clock=lambda moment: format_time(_local(moment), "short", locale=region),
            groups=_groups,
            faq=_faq,
        )
        environment.globals.update(static=self.static.addresses, languages=LANGUAGE_NAMES, demo=demo)
        return environment


def _local(moment: datetime) -> datetime:
    return moment.astimezone(LUXEMBOURG)


def _faq(text: str) -> Markup:
    """The terms speak of the FAQ; here it is one click away, beside the page that is being read."""
    link = Markup('<a href="/faq" target="_blank" rel="noopener">FAQ</a>')
    return link.join(escape(part) for part in text.split("FAQ"))


def _groups(hexadecimal: str) -> Markup:
    """Long numbers in pairs, which may break between them on a narrow screen."""
    return Markup(":<wbr>").join(in_pairs(hexadecimal).split(":"))
