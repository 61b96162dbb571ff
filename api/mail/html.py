"""The HTML part of a letter, made from its text: one wording, two looks.

Colours and sizes stand in each element, for mail programs drop style sheets; there is no picture and
no address to load, so that opening a letter tells nobody.
"""

from __future__ import annotations

from html import escape

_BODY = (
    "margin:0;padding:24px 16px;background:whitesmoke;color:black;font:16px/1.6 Arial,Helvetica,sans-serif"
)
_CARD = "max-width:34em;margin:0 auto;padding:24px;background:white;border-top:5px solid #0b5c8a"
_BLOCK = "margin:16px 0"
_MONO = "Consolas,'Liberation Mono',monospace;overflow-wrap:anywhere"
_VALUE = f"margin:0 0 10px;font:600 14px/1.6 {_MONO}"
_CODE = f"font:700 30px/1.4 {_MONO};letter-spacing:5px"
_END = "color:dimgray;font-size:14px"


def html_letter(language: str, subject: str, body: str, signature: str) -> str:
    """Paragraphs as the text has them; its indented lines are values, the deeply indented one is the code."""
    return (
        f'<!doctype html>\n<html lang="{escape(language)}">\n'
        f'<head><meta charset="utf-8"><title>{escape(subject)}</title></head>\n'
        f'<body style="{_BODY}">\n<div style="{_CARD}">\n{_paragraphs(body)}\n'
        f'<hr>\n<div style="{_END}">{_paragraphs(signature)}</div>\n</div>\n</body>\n</html>\n'
    )


def _paragraphs(text: str) -> str:
    return "\n".join(
        f'<div style="{_BLOCK}">{_paragraph(part)}</div>' for part in text.strip("\n").split("\n\n")
    )


def _paragraph(text: str) -> str:
    """A paragraph that holds values is shown line by line; another one flows. Numbers break at colons."""
    lines = text.splitlines()
    if not any(line.startswith("  ") for line in lines):
        return escape(" ".join(line.strip() for line in lines))
    return "\n".join(_line(line) for line in lines)


def _line(line: str) -> str:
    if not line.startswith("  "):
        return f"<div>{escape(line)}</div>"
    style = _CODE if line.startswith("    ") else _VALUE
    return f'<div style="{style}">{escape(line.strip()).replace(":", ":<wbr>")}</div>'
