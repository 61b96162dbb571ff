#!/usr/bin/env python3
"""Bring the portal's gettext catalogues up to its templates: new texts come in empty, gone ones go.

    .venv/bin/python scripts/catalogues.py            update every catalogue in api/portal/locale
    .venv/bin/python scripts/catalogues.py --check    only say whether something is missing; status 1 then
    .venv/bin/python scripts/catalogues.py --add lb   begin one for another language

A further language also needs its line in api/texts (``Language``) and its texts there.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

_IDLE = re.compile(
    '"(Project-Id|Report-Msgid|POT-Creation|PO-Revision|Last-Trans|Language-Team|Generated-By)[^"]*"'
)
PORTAL = Path(__file__).resolve().parents[1] / "api" / "portal"
SOURCE = "fr"
"""The templates' own language: only its plural forms need a catalogue."""


def extract() -> Catalog:
    found = Catalog(domain="mycert", charset="utf-8")
    options = {"**": {"trim_blocks": "true", "lstrip_blocks": "true"}}
    for name, _line, message, comments, context in extract_from_dir(
        PORTAL / "templates", method_map=[("**.html", "jinja2")], options_map=options
    ):
        # Without line numbers: a moved line changes no catalogue.
        found.add(message, locations=[(f"templates/{name}", "")], auto_comments=comments, context=context)
    return found


def catalogue_path(language: str) -> Path:
    return PORTAL / "locale" / language / "LC_MESSAGES" / "mycert.po"


def updated(language: str, template: Catalog) -> Catalog:
    path = catalogue_path(language)
    catalogue = Catalog(locale=Locale.parse(language), domain="mycert", charset="utf-8")
    if path.exists():
        with path.open("rb") as file:
            catalogue = read_po(file, locale=language, domain="mycert")
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    if language == SOURCE:
        for message in catalogue:
            if message.id and message.pluralizable:
                message.string = tuple(message.id)
    return catalogue


def missing(language: str, template: Catalog) -> list[str]:
    """Texts that are not translated, or that translate other places than the original has."""
    return [
        str(message.id)
        for message in updated(language, template)
        if message.id
        and not (language == SOURCE and not message.pluralizable)
        and (not message.string or message.fuzzy or not all(message.string) or list(message.check()))
    ]


def write(language: str, template: Catalog) -> None:
    catalogue = updated(language, template)
    path = catalogue_path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        write_po(file, catalogue, width=110, sort_output=True, include_lineno=False)
    # Nobody reads these; each run would change them.
    kept = [line for line in fresh.read_text("utf-8").splitlines(keepends=True) if not _IDLE.match(line)]
    fresh.write_text("".join(kept), "utf-8")
    fresh.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--add", metavar="LANGUAGE")
    arguments = parser.parse_args()
    template = extract()
    languages = [path.name for path in sorted((PORTAL / "locale").iterdir()) if path.is_dir()]
    if arguments.add:
        languages.append(arguments.add)
    lacking = 0
    for language in languages:
        if not arguments.check:
            write(language, template)
        texts = missing(language, template)
        lacking += len(texts)
        for text in texts:
            print(f"{language}: {text}", file=sys.stderr)  # noqa: T201
    return 1 if arguments.check and lacking else 0


if __name__ == "__main__":
    sys.exit(main())
