"""The HTML part of a letter, made from its text: one wording, two looks.

Colours and sizes stand in each element, for mail programs drop style sheets; there is no picture and
no address to load, so that opening a letter tells nobody.
"""

from __future__ import annotations

from html import escape

_BODY = (
    "margin:0;padding:24px 16px;background:whitesmoke;color:black;font:16px/1.6 Arial,Helvetica,sans-serif"
)
_CARD = "max-width:34em;margin:0 auto;padding:24px;background:white;border-top:5px solid teal"
_VALUE = "font:700 17px/1.6 Consolas,'Liberation Mono',monospace;overflow-wrap:anywhere"
_END = "color:dimgray;font-size:14px"


def html_letter(language: str, subject: str, body: str, signature: str) -> str:
    """Paragraphs as the text has them; its indented lines are values."""
    paragraphs = "\n".join(f"<p>{_paragraph(part)}</p>" for part in body.strip("\n").split("\n\n"))
    ending = "<br>\n".join(escape(line) for line in signature.strip().splitlines())
    return (
        f'<!doctype html>\n<html lang="{escape(language)}">\n'
        f'<head><meta charset="utf-8"><title>{escape(subject)}</title></head>\n'
        f'<body style="{_BODY}">\n<div style="{_CARD}">\n{paragraphs}\n'
        f'<hr>\n<p style="{_END}">{ending}</p>\n</div>\n</body>\n</html>\n'
    )


def _paragraph(text: str) -> str:
    """A paragraph that holds values is shown line by line; another one flows. Numbers break at colons."""
    lines = text.splitlines()
    if not any(line.startswith("  ") for line in lines):
        return escape(" ".join(line.strip() for line in lines))
    return "<br>\n".join(
        f'<span style="{_VALUE}">{escape(line.strip()).replace(":", ":<wbr>")}</span>'
        if line.startswith("  ")
        else escape(line)
        for line in lines
    )
