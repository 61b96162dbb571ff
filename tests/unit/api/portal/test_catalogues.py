from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from api.portal.pages import LANGUAGE_NAMES, load_translations, read_catalogue
from api.texts import Language

ROOT = Path(__file__).parents[4]


def french_texts(language: str) -> Callable[[str], list[str]]:
    """Which of the French texts, where the language says something else, stand in a page."""
    texts = [
        str(message.id)
        for message in read_catalogue(Language(language))
        if isinstance(message.id, str) and len(message.id) > 12 and "%(" not in message.id
        if message.id != message.string
    ]
    return lambda shown: [text for text in texts if text in shown]


def test_every_text_is_translated_and_no_translation_is_left_over() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "catalogues.py"), "--check"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("language", [Language.GERMAN, Language.ENGLISH])
def test_translations_keep_their_places(language: Language) -> None:
    for message in read_catalogue(language):
        originals = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string)
        for text in strings if message.id else []:
            assert places(text) == places(originals[0]), text
            assert "<" not in text


def places(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)s|\{n\}", text))


def test_french_says_what_the_templates_say() -> None:
    said = [message.string for message in read_catalogue(Language.FRENCH) if isinstance(message.id, str)]
    assert set(said[1:]) == {""}
    french = load_translations()[Language.FRENCH]
    assert french.gettext("Pour quel motif ?") == "Pour quel motif\N{NO-BREAK SPACE}?"
    assert french.gettext("« Mon logiciel »") == "«\N{NO-BREAK SPACE}Mon logiciel\N{NO-BREAK SPACE}»"


def test_each_language_has_its_name_and_its_plurals() -> None:
    assert set(LANGUAGE_NAMES) == set(Language)
    say = {
        language: [
            translations.ngettext(
                "Il vous reste %(num)s tentative.", "Il vous reste %(num)s tentatives.", number
            )
            for number in (0, 1, 2)
        ]
        for language, translations in load_translations().items()
    }
    assert say[Language.FRENCH][0] == say[Language.FRENCH][1] != say[Language.FRENCH][2]
    for language in (Language.GERMAN, Language.ENGLISH):
        assert say[language][0] == say[language][2] != say[language][1]
