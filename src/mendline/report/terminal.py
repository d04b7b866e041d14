"""The diagnostic report on a terminal, with Rich; the same fields in the same order as the Markdown."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mendline.incident import LogExcerpt
from mendline.report.escape import clean, spans
from mendline.report.page import Code, Field, Quote, Step, page
from mendline.stores.base import IncidentRecord


def render(record: IncidentRecord, log: LogExcerpt | None = None) -> RenderableType:
    """Lay out the report of one incident; foreign text is never read as Rich markup or as a terminal sequence."""
    built = page(record, log)
    parts: list[RenderableType] = [prose(built.headline, style="bold"), Text("")]
    for field in built.fields:
        is_runbook = field is built.fields[-1] and built.runbook
        line = Text(f"{field.label}: ", style="bold cyan")
        line.append_text(Text(clean(built.runbook or "")) if is_runbook else prose(field.text))
        parts.append(line)
        parts += _items(field)
    return Group(*parts)


def prose(text: str, style: str = "") -> Text:
    """Turn prose with backticked names into styled text; nothing in it is interpreted."""
    line = Text(style=style)
    for part, is_name in spans(clean(text)):
        line.append(part, style="green" if is_name else "")
    return line


def _items(field: Field) -> list[RenderableType]:
    parts: list[RenderableType] = []
    number = 0
    for item in field.items:
        if isinstance(item, Step):
            number += 1
            parts.append(Padding(Text(f"{number}. ", end="").append_text(prose(item.text)), (0, 0, 0, 2)))
            parts += [Padding(_detail(detail), (0, 0, 0, 5)) for detail in item.details]
        else:
            parts.append(Padding(_detail(item), (0, 0, 0, 2)))
    return parts


def _detail(item: Quote | Code) -> Text:
    if isinstance(item, Quote):
        return Text(f"{clean(item.where)}: ", style="dim").append(item.text, style="yellow")
    more = [f"-- … {item.left_out_count} more lines"] if item.left_out_count else []
    return Text("\n".join([*item.lines, *more]), style="magenta")
