"""The diagnostic report as Markdown that is safe to post: foreign text cannot become markup."""

from __future__ import annotations

import re

from mendline.incident import LogExcerpt
from mendline.report.escape import markdown_code, markdown_prose
from mendline.report.page import Code, Field, Quote, Step, page
from mendline.stores.base import IncidentRecord

LINK = re.compile(r"https?://[^\s<>\"'`\\]+")


def render(record: IncidentRecord, log: LogExcerpt | None = None) -> str:
    """Write the report of one incident: one page, the headline first, then the fields in the agreed order.

    Evidence is quoted word for word with its line number; a quote that is not in `log` is left out and counted. Long
    things are cut with the count of what was cut.
    """
    built = page(record, log)
    lines = [f"# {markdown_prose(built.headline)}", ""]
    for field in built.fields:
        is_runbook = field is built.fields[-1] and built.runbook
        text = _link(built.runbook or "") if is_runbook else markdown_prose(field.text)
        lines.append(f"- **{field.label}:** {text}".rstrip())
        lines += _items(field)
    return "\n".join(lines) + "\n"


def _items(field: Field) -> list[str]:
    lines: list[str] = []
    number = 0
    for item in field.items:
        if isinstance(item, Step):
            number += 1
            lines.append(f"  {number}. {markdown_prose(item.text)}")
            for detail in item.details:
                lines += _detail(detail, "     ")
        else:
            lines += _detail(item, "  ")
    return lines


def _detail(item: Quote | Code, indent: str) -> list[str]:
    if isinstance(item, Quote):
        return [f"{indent}- {markdown_prose(item.where)}: {markdown_code(item.text)}"]
    fence = "`" * max(3, *(len(run) + 1 for line in item.lines for run in re.findall("`+", line)), 3)
    more = [f"-- … {item.left_out_count} more lines"] if item.left_out_count else []
    return [indent + line for line in (f"{fence}sql", *item.lines, *more, fence)]


def _link(address: str) -> str:
    """A link as the team wrote it; anything that is not a plain web address is shown as text."""
    return f"<{address}>" if LINK.fullmatch(address) else markdown_code(address)
