"""Foreign text made harmless: logs, data values and error messages are shown, never obeyed."""

from __future__ import annotations

import re
import unicodedata

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[@-Z\\-_])")
ALWAYS_MARKUP = re.compile(r"([\\`*\[\]|~$^]|(?<![^\W_])_|_(?![^\W_]))")
MARKUP_AT_START = re.compile(r"\A(\s*\d*)([#+\-=>.)])(?=[\s#+\-=>]|\Z)")
SPAN = re.compile(r"`([^`\n]+)`")
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def clean(text: str) -> str:
    """Put text on one line that a terminal and a page show as it is.

    Terminal control sequences are dropped; line ends and tabs become spaces; what would stay invisible or turn the
    reading direction (control, format and surrogate characters) becomes its visible escape, such as `\\u202e`.
    """
    text = ANSI.sub("", text)
    text = re.sub(r"[\t\r\n]+", " ", text)
    return "".join(_visible(character) for character in text)


def cut(text: str, limit: int = 240) -> str:
    """Shorten to about `limit` characters, saying how many are missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()} … ({len(text) - limit:,} more characters)"


def name(text: str, limit: int = 120) -> str:
    """Put a foreign name (stage, table, run) between backticks inside our own prose."""
    return f"`{cut(clean(text).replace('`', chr(39)), limit) or ' '}`"


def spans(text: str) -> tuple[tuple[str, bool], ...]:
    """Split prose at its backticked names: (text, is_name) in order; an unpaired backtick stays text."""
    parts: list[tuple[str, bool]] = []
    position = 0
    for match in SPAN.finditer(text):
        if match.start() > position:
            parts.append((text[position : match.start()], False))
        parts.append((match.group(1), True))
        position = match.end()
    if position < len(text):
        parts.append((text[position:], False))
    return tuple(parts)


def markdown_code(text: str) -> str:
    """Show text verbatim as a Markdown code span, whatever backticks it holds."""
    text = clean(text)
    if not text.strip():
        return "(blank)"
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def markdown_prose(text: str) -> str:
    """Show prose in Markdown: backticked names as code, everything else as plain text (no HTML, link or emphasis)."""
    parts = [markdown_code(part) if is_name else _plain(part) for part, is_name in spans(clean(text))]
    return MARKUP_AT_START.sub(r"\1\\\2", "".join(parts))


def _plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = ALWAYS_MARKUP.sub(r"\\\1", text)
    # A bare address would become a link that a data value chose.
    return text.replace("://", ":\\//").replace("www.", "www\\.")


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in INVISIBLE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
