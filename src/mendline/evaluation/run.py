"""One evaluation: every case of a part judged by Mendline and by the baselines, measured alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import process_time

from mendline.classify import verdict
from mendline.errors import InputError, NotSupported
from mendline.evaluation import baselines
from mendline.evaluation.acting import Gate, default_gate, minimum
from mendline.evaluation.cases import Case, Choice, Corpus, missing_systems, split_faults
from mendline.evaluation.measure import Judged, Measures, measure
from mendline.incident import Classification, FailureType
from mendline.redaction import Redactor, tame

Progress = Callable[[int, int], None]
MENDLINE = "mendline"


@dataclass(frozen=True, kw_only=True)
class Miss:
    """A case that was judged wrongly; `acts` says whether the recommended policy would have let a repair run."""

    case_id: str
    is_hard: bool
    truth: FailureType
    true_subtype: str
    believed: FailureType
    subtype: str
    confidence: float
    acts: bool
    quote: str


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one run found.

    `scores` begins with `mendline`, then one per baseline; `left_out` says of a baseline why it has no score. `minimums`
    is the least confidence at which each policy acts. `split_faults`, if any, make the figures worthless. `misses` are
    Mendline's, the surest first; `beliefs` are all its types, by case. `train_count` counts what the baselines learned from,
    `set_aside_count` what no part has.
    """

    part: Choice
    case_count: int
    hard_count: int
    system_count: int
    train_count: int
    set_aside_count: int
    minimums: Mapping[str, float]
    scores: Mapping[str, Measures]
    left_out: Mapping[str, str]
    misses: tuple[Miss, ...]
    beliefs: Mapping[str, FailureType]
    split_faults: tuple[str, ...]
    missing_systems: tuple[str, ...]

    @property
    def own(self) -> Measures:
        """Mendline's figures."""
        return self.scores[MENDLINE]


def evaluate(
    corpus: Corpus,
    part: Choice,
    *,
    gate: Gate | None = None,
    makers: Mapping[str, baselines.Maker] = baselines.MAKERS,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge every case of the part, by Mendline and by the baselines of `makers`.

    Raises: `InputError` when the part has no case.
    """
    cases = corpus.part(part)
    if not cases:
        raise InputError(f"the part `{part}` of `{corpus.path}` has no case: there is nothing to measure")
    gate = gate or default_gate()
    found = judge_all(cases, gate, progress)
    scores, left_out = _baselines(corpus, cases, gate, makers)
    return Evaluation(
        part=part,
        case_count=len(cases),
        hard_count=sum(case.is_hard for case in cases),
        system_count=len({case.system for case in cases}),
        train_count=len(corpus.part("train")),
        set_aside_count=len(corpus.set_aside),
        minimums={name: minimum(policy) for name, policy in gate.policies.items()},
        scores={MENDLINE: measure(found), **scores},
        left_out=left_out,
        misses=misses(found),
        beliefs={each.case_id: each.believed for each in found},
        split_faults=tuple(split_faults(corpus)),
        missing_systems=missing_systems(corpus),
    )


def judge_all(cases: Sequence[Case], gate: Gate, progress: Progress | None = None) -> tuple[Judged, ...]:
    """Mendline's verdict on each case, in order."""
    verdict.classify_text("")  # the tables are read once, and not on the first case's time
    found = []
    for number, case in enumerate(cases, start=1):
        found.append(judge(case, gate))
        if progress is not None:
            progress(number, len(cases))
    return tuple(found)


def judge(case: Case, gate: Gate) -> Judged:
    """Mendline's verdict on one case, from the log alone; the time is the processor's for redaction and verdict together."""
    began = process_time()
    lines = redacted_lines(case.log)
    found = verdict.classify_text(lines)
    milliseconds = (process_time() - began) * 1000
    return judged(case, found, lines, gate, milliseconds)


def judged(
    case: Case,
    said: Classification,
    lines: Sequence[str],
    gate: Gate,
    milliseconds: float | None = None,
) -> Judged:
    """What was said of a case beside the truth; `lines` are those that quotes have to stand in."""
    return Judged(
        case_id=case.id,
        system=case.system,
        is_hard=case.is_hard,
        truth=case.type,
        true_subtype=case.subtype,
        believed=said.type,
        subtype=said.subtype,
        confidence=said.confidence,
        acts=gate.acts(said.type, said.confidence),
        quote=said.evidence[0].quote if said.evidence else "",
        quote_count=len(said.evidence),
        verbatim_count=sum(stands_in(lines, item.line, item.quote) for item in said.evidence),
        milliseconds=milliseconds,
    )


def redacted_lines(log: str) -> list[str]:
    """The lines as the workflow would give them to the classifier."""
    return list(Redactor().redact_lines(map(tame, log.split("\n"))))


def stands_in(lines: Sequence[str], number: int, quote: str) -> bool:
    """Whether the quote is in line `number` (from 1), character by character, and says anything."""
    return 1 <= number <= len(lines) and bool(quote.strip()) and quote in lines[number - 1]


def misses(known: Sequence[Judged]) -> tuple[Miss, ...]:
    """The wrong ones, the surest first."""
    wrong = sorted((each for each in known if not each.is_right), key=lambda each: (-each.confidence, each.case_id))
    return tuple(
        Miss(
            case_id=each.case_id,
            is_hard=each.is_hard,
            truth=each.truth,
            true_subtype=each.true_subtype,
            believed=each.believed,
            subtype=each.subtype,
            confidence=each.confidence,
            acts=next(iter(each.acts.values()), False),
            quote=each.quote,
        )
        for each in wrong
    )


def _baselines(
    corpus: Corpus, cases: Sequence[Case], gate: Gate, makers: Mapping[str, baselines.Maker]
) -> tuple[dict[str, Measures], dict[str, str]]:
    if not makers:
        return {}, {}
    train = [(_redacted(case), case.type) for case in corpus.part("train")]
    texts = [_redacted(case) for case in cases]
    scores, left_out = {}, {}
    for name, make in makers.items():
        try:
            opinion = make(train)
        except NotSupported as error:
            left_out[name] = str(error)
            continue
        said = [_bare(*opinion(text)) for text in texts]
        scores[name] = measure(judged(case, each, (), gate) for case, each in zip(cases, said, strict=True))
    return scores, left_out


def _redacted(case: Case) -> str:
    return "\n".join(redacted_lines(case.log))


def _bare(type_: FailureType, confidence: float) -> Classification:
    """A type and how sure, no subtype and no quote."""
    return Classification(type=type_, subtype="", confidence=confidence, evidence=(), recommended_next_step="escalate")
