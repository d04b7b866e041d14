"""Any model, measured offline: the questions as a batch file, and what came back scored like our own verdicts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mendline.classify import log_reader
from mendline.classify.examples import EXAMPLE_COUNT, Example, most_alike
from mendline.classify.prompt import NoAnswer, classification_prompt, parse_answer
from mendline.classify.verdict import classify_text
from mendline.config import Model
from mendline.errors import InputError
from mendline.evaluation.acting import Gate
from mendline.evaluation.cases import Case, Choice, Corpus, Part
from mendline.evaluation.measure import Measures, measure
from mendline.evaluation.run import Miss, judged, misses, redacted_lines
from mendline.evidence import heard, is_unsure
from mendline.incident import Classification, FailureType, LogExcerpt, ModelAnswer

# Where examples may come from; nobody asked about a part is shown the answers of that part, nor ever those of the test.
EXAMPLES_FROM: Mapping[Choice, Part | None] = {
    "test": "train",
    "validation": "train",
    "train": "validation",
    "all": None,
}
EXAMPLE_CHARACTERS = 1500
HTTP_OK = 200
ASK_BELOW: float = Model.model_fields["ask_below"].default
SILENCE = Classification(
    type=FailureType.UNKNOWN, subtype="", confidence=0.0, evidence=(), recommended_next_step="escalate"
)
ANSWER_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "subtype", "confidence", "evidence", "recommended_next_step"],
    "properties": {
        "type": {"type": "string", "enum": [kind.value for kind in FailureType]},
        "subtype": {"type": "string"},
        "confidence": {"type": "number"},
        "evidence": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["line", "quote"],
                "properties": {"line": {"type": "integer"}, "quote": {"type": "string"}},
            },
        },
        "recommended_next_step": {"type": "string"},
    },
}


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message = _Message()


class _Body(BaseModel):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | str | None = None


class _Response(BaseModel):
    status_code: int = HTTP_OK
    body: _Body = _Body()


class _ResultLine(BaseModel):
    """One line of a result file as it comes; what it holds beside this is passed over."""

    custom_id: str
    response: _Response | None = None
    error: dict[str, Any] | str | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How the questions are put: to which model, with how many examples, and whether our own verdict is shown."""

    model: str
    example_count: int = EXAMPLE_COUNT
    with_verdict: bool = False


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One line of a result file: the model's text, or why there is none; `tokens` by the names of `usage`."""

    custom_id: str
    text: str = ""
    error: str = ""
    tokens: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a model's answers are worth.

    `answered` scores the answers that counted (None when none did); `everything` every case of the part, with `UNKNOWN`
    at confidence 0 where no answer counted; `combined` what an incident would have believed: our own verdict, weighed with
    the answer where it is unsure (below `ask_below`'s default) and there is one. `discarded` maps the reason to the ids of the cases, `missing` are cases with
    no line at all, `foreign_count` lines that belong to no case of the part (or to a log that has changed since).
    `dropped_quote_count`: quotes that were not in the log, in answers that counted all the same.
    """

    part: Choice
    case_count: int
    counted: int
    answered: Measures | None
    everything: Measures
    combined: Measures
    misses: tuple[Miss, ...]
    discarded: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    foreign_count: int
    repeated_count: int
    dropped_quote_count: int
    tokens: Mapping[str, int]


def batch_id(case: Case) -> str:
    """A name that says neither system nor cause, and changes with the log."""
    return "case-" + hashlib.sha256(f"{case.id}\n{case.log}".encode("utf-8", "backslashreplace")).hexdigest()[:20]


def requests(corpus: Corpus, part: Choice, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """One request per case of the part, in the order of their ids (which is not that of the cases).

    Source: the batch format of the OpenAI API reference, `/v1/chat/completions`, November 2026.
    """
    source = EXAMPLES_FROM[part]
    examples = [_example(case) for case in corpus.part(source)] if source and wanted.example_count else []
    for case in sorted(corpus.part(part), key=batch_id):
        yield {
            "custom_id": batch_id(case),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": _body(case, examples, wanted),
        }


def read_replies(file: Path) -> Iterator[Reply]:
    """The lines of a result file. Raises: `InputError` that names the line when it is no result."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{file}` cannot be read: {error}; give the result file of the batch") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _reply(line, f"`{file}` line {number}")


def score(corpus: Corpus, part: Choice, replies: Iterable[Reply], gate: Gate) -> Imported:
    """Score answers against the part that was asked about. The first line of a case counts.

    Raises: `InputError` when the part has no case, or no line belongs to it.
    """
    cases = {batch_id(case): case for case in corpus.part(part)}
    if not cases:
        raise InputError(f"the part `{part}` of `{corpus.path}` has no case: there is nothing to score")
    given = list(replies)
    first = {reply.custom_id: reply for reply in reversed(given) if reply.custom_id in cases}
    if not first:
        raise InputError(f"no answer belongs to the part `{part}`; was it asked about another part or another corpus?")
    answers, discarded = _answers(cases, first)
    everything, combined = [], []
    for name, case in cases.items():
        answer = answers.get(name)
        alone = SILENCE if answer is None else _as_verdict(answer)
        lines = redacted_lines(case.log)
        own = classify_text(lines)
        asked = answer if is_unsure(own, ASK_BELOW) else None
        everything.append(judged(case, alone, lines, gate))
        combined.append(judged(case, heard(own, asked), lines, gate))
    counted = [each for name, each in zip(cases, everything, strict=True) if name in answers]
    known = [reply for reply in given if reply.custom_id in cases]
    return Imported(
        part=part,
        case_count=len(cases),
        counted=len(counted),
        answered=measure(counted) if counted else None,
        everything=measure(everything),
        combined=measure(combined),
        misses=misses(counted),
        discarded=discarded,
        missing=tuple(sorted(case.id for name, case in cases.items() if name not in first)),
        foreign_count=len(given) - len(known),
        repeated_count=len(known) - len(first),
        dropped_quote_count=sum(answer.dropped_count for answer in answers.values()),
        tokens=_tokens(given),
    )


def excerpt(log: str) -> LogExcerpt:
    """What a model is shown a part of: the lines that matter, redacted."""
    return log_reader.read(redacted_lines(log)).excerpt


def _body(case: Case, examples: Sequence[Example], wanted: Wanted) -> dict[str, Any]:
    log = excerpt(case.log)
    alike = most_alike(log.text, examples, wanted.example_count)
    opinion = classify_text(redacted_lines(case.log)) if wanted.with_verdict else None
    prompt = classification_prompt(log, alike, opinion)
    return {
        "model": wanted.model,
        "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "classification", "strict": True, "schema": ANSWER_SCHEMA},
        },
    }


def _example(case: Case) -> Example:
    """The lines of the case's errors, or else its last ones."""
    reading = log_reader.read(redacted_lines(case.log))
    told = "\n".join(error.text for error in reading.errors if not error.is_handled)
    text = told or "\n".join(line.text for line in reading.excerpt.lines[-15:])
    return Example(type=case.type, subtype=case.subtype, text=text[:EXAMPLE_CHARACTERS])


def _reply(line: str, where: str) -> Reply:
    try:
        raw = _ResultLine.model_validate_json(line)
    except ValidationError as invalid:
        raise InputError(f"{where} is no result of a batch: it needs to be an object with `custom_id`") from invalid
    response = raw.response or _Response()
    text = next((choice.message.content or "" for choice in response.body.choices), "")
    failure = raw.error or response.body.error
    if failure or response.status_code != HTTP_OK:
        error = f"the request failed: {_code(failure) or response.status_code}"
    else:
        error = "" if text else "its answer is empty"
    return Reply(custom_id=raw.custom_id, text=text, error=error, tokens=_usage(response.body.usage))


def _code(error: Mapping[str, Any] | str | None) -> str:
    """The error's code, which is the same for many; its message may hold ids."""
    return str(error.get("code") or error.get("type") or "") if isinstance(error, Mapping) else ""


def _usage(usage: Mapping[str, Any] | None) -> dict[str, int]:
    found = usage or {}
    return {name: count for name, count in found.items() if type(count) is int and name.endswith("_tokens")}


def _tokens(replies: Iterable[Reply]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for reply in replies:
        total.update(reply.tokens)
    return dict(sorted(total.items()))


def _answers(
    cases: Mapping[str, Case], replies: Mapping[str, Reply]
) -> tuple[dict[str, ModelAnswer], dict[str, tuple[str, ...]]]:
    """The answers that count, by batch id, and the cases of the others by the reason."""
    counted: dict[str, ModelAnswer] = {}
    discarded: dict[str, list[str]] = {}
    for name, reply in replies.items():
        try:
            counted[name] = _answer(cases[name], reply)
        except NoAnswer as error:
            discarded.setdefault(error.reason, []).append(cases[name].id)
    return counted, {reason: tuple(sorted(ids)) for reason, ids in sorted(discarded.items())}


def _answer(case: Case, reply: Reply) -> ModelAnswer:
    if reply.error:
        raise NoAnswer(reply.error)
    return parse_answer(reply.text, excerpt(case.log))


def _as_verdict(answer: ModelAnswer) -> Classification:
    return Classification(
        type=answer.type,
        subtype=answer.subtype,
        confidence=answer.confidence,
        evidence=answer.evidence,
        recommended_next_step=answer.recommended_next_step,
    )
