"""The diagnostic report: its order, its length, its evidence, and that hostile text stays text."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from mendline.incident import (
    Alternative,
    Attempt,
    Check,
    Classification,
    Evidence,
    Failure,
    FailureKind,
    FailureType,
    Finding,
    FindingVerdict,
    Incident,
    LogExcerpt,
    LogLine,
    Outcome,
    OutcomeKind,
    Plan,
    Receipt,
    RunRef,
    Verification,
    VerificationState,
)
from mendline.report import markdown, terminal
from mendline.report.escape import clean, cut, markdown_code, markdown_prose
from mendline.report.page import duration, percent
from mendline.stores.base import IncidentRecord

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
LABELS = [
    "Stage",
    "Failure time",
    "Error",
    "Diagnostic steps taken",
    "Failure classification",
    "Remediation attempted",
    "Outcome",
    "Recommended resolution",
    "Relevant runbook",
]
MESSAGE = 'Binder Error: Referenced column "fare" not found'
LOG = LogExcerpt(
    source="log",
    lines=(LogLine(number=41, text="INFO loading"), LogLine(number=42, text=f"ERROR {MESSAGE} in FROM clause")),
    total_count=310,
    folded_count=308,
)


def record(*, message: str = MESSAGE, quote: str = MESSAGE, outcome: Outcome | None = None) -> IncidentRecord:
    run = RunRef(engine="main", pipeline="trips", run_id="r-1")
    failure = Failure(
        run=run,
        root_run_id="r-1",
        stage="load_trips",
        kind=FailureKind.STAGE_FAILED,
        failed_at=AT,
        error_class="BinderException",
        message=message,
    )
    incident = Incident(id="7", fingerprint="f", engine="main", pipeline="trips", failures=(failure,), opened_at=AT)
    return IncidentRecord(
        incident=incident, phase="closed", updated_at=AT, outcome=outcome or resolved(quote=quote, text=message)
    )


def resolved(*, quote: str = MESSAGE, text: str = "the column is now called price") -> Outcome:
    plan = Plan(
        repair="apply_schema_migration",
        key="k",
        summary=text,
        dataset="trips",
        statements=("CREATE OR REPLACE VIEW v AS\nSELECT price AS fare FROM t",),
    )
    return Outcome(
        kind=OutcomeKind.RESOLVED,
        headline="`load_trips` failed because `fare` was renamed; the view maps it; nothing to do",
        classification=Classification(
            type=FailureType.SCHEMA_CHANGE,
            subtype="column_missing",
            confidence=0.93,
            evidence=(Evidence(line=42, quote=quote),),
            recommended_next_step="inspect_schema_diff",
            alternatives=(Alternative(type=FailureType.DATA_QUALITY, confidence=0.05),),
        ),
        findings=(Finding(tool="inspect_schema_diff", verdict=FindingVerdict.SUPPORTS, summary=text, dataset="trips"),),
        attempts=(
            Attempt(
                repair="apply_schema_migration",
                decision="auto",
                reason="rule 1",
                plan=plan,
                receipt=Receipt(repair="apply_schema_migration", key="k", applied_at=AT, summary=text),
                verification=Verification(
                    state=VerificationState.FIXED, checks=(Check(name="stage passes", passed=True),)
                ),
            ),
        ),
        recommended=text,
        runbook="https://runbooks.example/trips",
        ended_at=AT + timedelta(seconds=200),
        seconds={"classify": 0.4, "repair": 75},
    )


def many(outcome: Outcome, count: int) -> Outcome:
    evidence = tuple(Evidence(line=42, quote=MESSAGE) for _ in range(count))
    return replace(
        outcome,
        classification=replace(outcome.classification, evidence=evidence),
        findings=outcome.findings * count,
        attempts=outcome.attempts * count,
    )


def html(text: str) -> str:
    rendered: str = MarkdownIt("commonmark", {"html": True}).enable("strikethrough").enable("table").render(text)
    return rendered


def printed(value: IncidentRecord, log: LogExcerpt | None = LOG) -> str:
    out = io.StringIO()
    Console(file=out, width=400, force_terminal=False).print(terminal.render(value, log))
    return out.getvalue()


def test_the_headline_comes_first_and_the_fields_in_the_agreed_order() -> None:
    text = markdown.render(record(), LOG)
    assert text.startswith("# `load_trips` failed because `fare` was renamed; the view maps it; nothing to do\n")
    assert re.findall(r"^- \*\*(.+?):\*\*", text, re.MULTILINE) == LABELS
    assert [label for label in LABELS if re.search(rf"^{label}: ", printed(record()), re.MULTILINE)] == LABELS


def test_every_field_says_what_the_record_says() -> None:
    text = markdown.render(record(), LOG)
    assert "**Stage:** `load_trips` (pipeline `trips`, engine `main`, run `r-1`; incident `7`)" in text
    assert "**Failure time:** 2026-11-22 03:00:00 UTC" in text
    assert f"- log line 42: `{MESSAGE}`" in text
    assert "2. `inspect_schema_diff` on `trips`: supports it: " in text
    assert "SCHEMA_CHANGE / column_missing (confidence 93%); also possible: DATA_QUALITY 5%" in text
    assert "**Remediation attempted:** yes" in text
    assert "     SELECT price AS fare FROM t;" in text
    assert "**Outcome:** resolved, 3 min 20 s after the failure (classify 0.4 s, repair 1 min 15 s)" in text
    assert "**Relevant runbook:** <https://runbooks.example/trips>" in text


def test_the_error_keeps_its_line_number_where_only_the_record_is_at_hand() -> None:
    assert f"log line 42: {MESSAGE}" in printed(record(), None).split("Failure classification")[0]
    assert f"- recorded by the engine: `{MESSAGE}`" in markdown.render(record(quote="another line"), None)


@pytest.mark.parametrize("log", [replace(LOG, source="main:r-1"), None])
def test_the_failed_run_s_own_log_is_called_the_log(log: LogExcerpt | None) -> None:
    belief = resolved().classification
    own = Evidence(line=42, quote=MESSAGE, source="main:r-1")
    other = Evidence(line=3, quote="refused", source="server.log")
    outcome = replace(resolved(), classification=replace(belief, evidence=(own, other)))
    text = markdown.render(record(outcome=outcome), log)
    assert text.count(f"- log line 42: `{MESSAGE}`") == 2
    assert "- server.log, line 3: `refused`" in text


def test_a_quote_that_is_not_on_its_line_is_left_out_and_counted() -> None:
    text = markdown.render(record(quote="the disk is full"), LOG)
    assert "the disk is full" not in text
    assert "left out because it is not in the log: 1 quote; no line of the log bears it out" in text


def test_an_open_incident_has_the_same_fields_and_claims_nothing() -> None:
    text = markdown.render(replace(record(), outcome=None, phase="diagnose"), LOG)
    assert re.findall(r"^- \*\*(.+?):\*\*", text, re.MULTILINE) == LABELS
    assert "(step: diagnose)" in text.splitlines()[0]
    assert "not yet known" in text


def test_a_declined_repair_is_no_remediation_and_says_why() -> None:
    outcome = replace(
        resolved(),
        kind=OutcomeKind.ESCALATED,
        attempts=(Attempt(repair="apply_quality_filter", decision="declined", reason="12 of 100 rows fail"),),
        recommended="",
        runbook=None,
    )
    text = markdown.render(record(outcome=outcome), LOG)
    assert "**Remediation attempted:** no" in text
    assert "`apply_quality_filter`: declined; 12 of 100 rows fail" in text
    assert "Mendline found nothing to recommend" in text
    assert "none is configured" in text


@pytest.mark.parametrize("count", [1, 40, 400])
def test_the_page_stays_one_page_however_much_happened(count: int) -> None:
    text = markdown.render(record(outcome=many(resolved(text="long " * 500), count)), LOG)
    assert len(text.splitlines()) <= 60
    assert max(len(line) for line in text.splitlines()) < 1_400
    if count > 10:
        assert f"… and {count - 5} more quotes" in text
        assert f"… and {count - 8} more findings; all of them: `mendline show 7 --json`" in text


def test_what_is_cut_is_counted() -> None:
    assert cut("x" * 250, 240) == "x" * 240 + " … (10 more characters)"
    assert cut("short", 240) == "short"


HOSTILE = [
    "<script>alert(1)</script>",
    "[click](http://evil.example) ![x](http://evil.example/p.png)",
    "**bold** _em_ ~~gone~~ | a | b |",
    "# heading\n- item\n> quote\n---\n```\nfence\n```",
    "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe \x00",
    "[bold red]markup[/bold red] [link=http://evil.example]x[/link]",
    "`tick` ``two`` unpaired `",
    "&lt;b&gt; &amp; http://evil.example www.evil.example",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_neither_markup_nor_terminal_control(text: str) -> None:
    log = LogExcerpt(source="log", lines=(LogLine(number=42, text=text),), total_count=1)
    hostile = record(message=text, quote=text)
    page = html(markdown.render(hostile, log))
    assert re.findall(r"<(?!/?(?:h1|ul|ol|li|strong|code|pre|p)\b|code class)([^>]*)>", page) == [
        'a href="https://runbooks.example/trips"',
        "/a",
    ]
    assert page.count("<h1>") == 1
    assert page.count("<strong>") == len(LABELS)
    shown = printed(hostile, log)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", shown)


def test_rich_markup_in_a_log_is_shown_as_it_is() -> None:
    assert "[bold red]markup[/bold red]" in printed(record(message="[bold red]markup[/bold red]"))


FOREIGN = st.text() | st.text("`*_#<>[]()!\\~|&;:/.-+=1w \n\t\x1bab", max_size=40)


@given(FOREIGN)
def test_a_code_span_shows_exactly_the_cleaned_text(text: str) -> None:
    shown = clean(text)
    if not shown.strip():
        assert markdown_code(text) == "(blank)"
        return
    tokens = MarkdownIt("commonmark").parseInline(f"x {markdown_code(text)} y")[0].children or []
    assert [(token.type, token.content) for token in tokens if token.type != "text"] == [("code_inline", shown)]


@given(FOREIGN)
def test_prose_never_becomes_a_tag_a_link_or_emphasis(text: str) -> None:
    tokens = MarkdownIt("commonmark").enable("strikethrough").parse(f"- **L:** {markdown_prose(text)}")
    kinds = {child.type for token in tokens for child in (token.children or [])}
    assert kinds <= {"text", "strong_open", "strong_close", "code_inline", "softbreak", "text_special"}
    assert sum(token.type == "list_item_open" for token in tokens) == 1


@given(FOREIGN)
def test_cleaned_text_is_one_line_of_visible_characters_and_stays_so(text: str) -> None:
    once = clean(text)
    assert len(once.splitlines()) <= 1
    assert clean(once) == once


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_said_the_short_way(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_only_certainty_is_a_hundred_percent() -> None:
    assert [percent(share) for share in (0.0, 0.934, 0.999, 1.0)] == ["0%", "93%", "99%", "100%"]
