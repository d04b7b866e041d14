"""What a model is asked about a log, and what of its answer counts. Touches no network: any client may send it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mendline.classify import log_reader
from mendline.classify.examples import Example
from mendline.errors import MendlineError
from mendline.incident import Classification, Evidence, FailureType, LogExcerpt, LogLine, ModelAnswer
from mendline.playbook import Playbook, load_playbook
from mendline.redaction import Redactor

LOG_CHARACTERS = 16_000  # about 5,000 tokens
LINE_CHARACTERS = 700
EXAMPLE_CHARACTERS = 900
SURROUNDING_COUNT = 6
QUOTE_COUNT = 4
QUOTE_CHARACTERS = 320
SHORTEST_QUOTE = 6  # what is shorter stands in any log, unless it is a whole line

_TEMPLATE = Path(__file__).with_name("prompt.md")
_NUMBER_IN_FRONT = re.compile(r"^\s*\d+\| ?")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")


class NoAnswer(MendlineError):
    """What a model said cannot be used; `reason` says why, in a few words of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One question: what the model is (the same for every log), and what it is asked."""

    system: str
    user: str


def classification_prompt(
    log: LogExcerpt, examples: Sequence[Example], verdict: Classification | None = None
) -> Prompt:
    """Ask for the cause of one log. `verdict` is what the rules say of it, shown as one opinion among others.

    Secrets are taken out here as well, so that a prompt is fit to leave the process whatever it was made from.
    """
    parts = [*_examples(examples), *_opinion(verdict), fenced("log", "\n".join(shown_lines(log)))]
    parts.append("Which of the five types is the root cause of this failure? Answer with the JSON object alone.")
    return Prompt(system=_system(), user="\n\n".join(parts))


def parse_answer(text: str, log: LogExcerpt, playbook: Playbook | None = None) -> ModelAnswer:
    """Read a model's answer to `classification_prompt`; what it says beside its JSON object is passed over.

    Raises: `NoAnswer` when there is no valid object, a type or tool that does not exist, or no quote that is in the log.
    """
    said = _said(text)
    allowed = tools_of(said.type, playbook)
    if said.recommended_next_step not in allowed:
        raise NoAnswer(f"it recommends a tool that does not serve {said.type}")
    found = [quote for item in said.evidence for quote in _verbatim(item, log)]
    evidence = tuple(dict.fromkeys(quote for quote in found if quote is not None))[:QUOTE_COUNT]
    if not evidence:
        raise NoAnswer("none of its quotes is in the log")
    return ModelAnswer(
        type=said.type,
        subtype=said.subtype,
        confidence=said.confidence,
        evidence=evidence,
        recommended_next_step=said.recommended_next_step,
        dropped_count=found.count(None),
    )


def tools_of(kind: FailureType, playbook: Playbook | None = None) -> tuple[str, ...]:
    """The tools that an answer of one type may recommend; `escalate` is always one of them."""
    page = (playbook or _built_in()).page(kind)
    verifier = (page.verifier,) if page.repairs else ()
    return (*page.diagnostics, *page.repairs, *verifier, "escalate")


def shown_lines(log: LogExcerpt, limit: int = LOG_CHARACTERS) -> Iterator[str]:
    """The log as a model sees it: numbered, redacted, at most about `limit` characters, gaps counted.

    The root errors and what stands around them come first when not everything has room, then other errors, then the end.
    """
    kept = _within(log, limit)
    clean = Redactor().redact_lines(line.text.replace("\n", " ").replace("\r", " ") for line in kept)
    before = 0
    for line, text in zip(kept, clean, strict=True):
        if line.number > before + 1:
            yield f"... ({line.number - before - 1} lines left out)"
        yield f"{line.number}| {_cut(text)}"
        before = line.number
    if log.total_count > before:
        yield f"... ({log.total_count - before} lines left out)"


def _mark_of(text: str) -> str:
    """A mark that `text` cannot hold, the same for the same text."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]


class _Quote(BaseModel):
    line: int = 0
    quote: str


class _Said(BaseModel):
    """The answer as it comes over the wire."""

    model_config = ConfigDict(extra="ignore")

    type: FailureType
    subtype: str = ""
    confidence: float = Field(ge=0, le=1, allow_inf_nan=False)
    evidence: list[_Quote] = Field(max_length=50)
    recommended_next_step: str

    @field_validator("evidence", mode="before")
    @classmethod
    def _plain_quotes(cls, value: object) -> object:
        return (
            [{"quote": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
        )

    @field_validator("subtype")
    @classmethod
    def _one_word(cls, value: str) -> str:
        word = re.sub(r"[\s-]+", "_", value.strip().lower())
        return word if _WORD.fullmatch(word) else ""


def _said(text: str) -> _Said:
    try:
        return _Said.model_validate(json_object_in(text))
    except ValidationError as error:
        keys = sorted({str(item["loc"][0]) for item in error.errors() if item["loc"]})
        raise NoAnswer(f"its answer has no valid {', '.join(keys) or 'object'}") from error


def json_object_in(text: str) -> object:
    """The JSON object in a text that may have words or a code fence around it. Raises: `NoAnswer` when there is none."""
    begin, end = text.find("{"), text.rfind("}")
    try:
        return json.loads(text[begin : end + 1])
    except (ValueError, RecursionError) as error:
        raise NoAnswer("its answer is not valid JSON") from error


def _verbatim(item: _Quote, log: LogExcerpt) -> Iterator[Evidence | None]:
    """The quote (one per line of it) with the line where it really stands; None where it stands nowhere."""
    for piece in item.quote.splitlines():
        for words in dict.fromkeys((piece.strip(), _NUMBER_IN_FRONT.sub("", piece).strip())):
            line = _standing(words, item.line, log.lines)
            if line is not None:
                yield Evidence(line=line.number, quote=words[:QUOTE_CHARACTERS], source=log.source)
                break
        else:
            yield None


def _standing(words: str, number: int, lines: Iterable[LogLine]) -> LogLine | None:
    matching = [line for line in lines if words and words in line.text]
    telling = [line for line in matching if len(words) >= SHORTEST_QUOTE or words == line.text.strip()]
    return min(telling, key=lambda line: abs(line.number - number), default=None)


def _within(log: LogExcerpt, limit: int) -> list[LogLine]:
    """The lines that fit, the most telling taken first, in the log's order."""
    kept: set[int] = set()
    room = limit
    for place in _by_weight(log):
        cost = min(len(log.lines[place].text), LINE_CHARACTERS) + 8
        if place not in kept and cost <= room:
            kept.add(place)
            room -= cost
    return [log.lines[place] for place in sorted(kept)]


def _by_weight(log: LogExcerpt) -> Iterator[int]:
    """Places of lines, most telling first: the lines of root errors, around them, other errors, the end, the rest."""
    index = {line.number: place for place, line in enumerate(log.lines)}
    errors = sorted(
        log_reader.read_excerpt(log).errors, key=lambda error: (error.is_handled, not error.is_root, error.line)
    )
    spans = [(index.get(error.line, 0), index.get(error.lines[-1].number, 0)) for error in errors]
    count = len(log.lines)
    for first, last in spans:
        yield from range(first, last + 1)
        yield from range(max(0, first - SURROUNDING_COUNT), min(count, last + 1 + SURROUNDING_COUNT // 2))
    yield from range(count - 1, max(-1, count - 31), -1)
    yield from range(count)


def _cut(text: str) -> str:
    if len(text) <= LINE_CHARACTERS:
        return text
    head, tail = LINE_CHARACTERS * 2 // 3, LINE_CHARACTERS // 3
    return f"{text[:head]} ... ({len(text) - head - tail} characters left out) ... {text[-tail:]}"


def fenced(name: str, text: str) -> str:
    """Foreign text between marks that it cannot forge."""
    mark = _mark_of(text)
    return f"<{name} {mark}>\n{text}\n</{name} {mark}>"


def _examples(examples: Sequence[Example]) -> list[str]:
    if not examples:
        return []
    shown = []
    for example in examples:
        text = Redactor().redact(example.text)[:EXAMPLE_CHARACTERS]
        named = {"type": example.type.value, "subtype": example.subtype}
        shown.append(f"{fenced('example', text)}\nIts cause: {json.dumps(named)}")
    return ["Failures whose cause is known, chosen because they look alike (they may mislead):", *shown]


def _opinion(verdict: Classification | None) -> list[str]:
    if verdict is None:
        return []
    others = "".join(f", {other.type} {other.confidence:.2f}" for other in verdict.alternatives[:3])
    said = f"{verdict.type}{f' ({verdict.subtype})' if verdict.subtype else ''} {verdict.confidence:.2f}{others}"
    return [f"A table of known error messages says: {said}. It reads words, not causes; judge for yourself."]


@cache
def _built_in() -> Playbook:
    return load_playbook()


@cache
def _system() -> str:
    tools = "\n".join(f"  - {kind}: {', '.join(tools_of(kind))}" for kind in FailureType)
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(tools=tools).strip()
