"""Weigh what the diagnostics found against what the log suggested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mendline.incident import (
    Alternative,
    Classification,
    Evidence,
    FailureType,
    Finding,
    FindingVerdict,
    ModelAnswer,
)

# How much likelier a finding is when the hypothesis is true than when it is not. A schema difference that touches what
# the log names is rarely a coincidence; rows that break a contract are now and then tolerated ones. Chosen by cost: a
# refutation must outweigh any log, a support must not turn a clear log round by itself unless it is a schema's.
SUPPORT = {FailureType.SCHEMA_CHANGE: 12.0, FailureType.DATA_QUALITY: 5.0, FailureType.API_FAILURE: 6.0}
REFUTE = 0.05
FLOOR = 0.05
UNSURE = 0.6
CEILING = 0.99
TYPE_CHANGES = ("widened", "narrowed", "retyped")
MOVES = ("renamed", "nested", "case_changed")
MODEL_CEILING = 0.95  # a model is taken to be wrong one time in twenty, however sure it says it is
KEPT = 0.5  # of what was believed before it spoke: so that what the diagnostics then support outweighs a wrong model
UNPROVEN = 0.2  # a cause that only a model names which invents quotes: worth a test, no more
READ_BY_TOOLS = (FailureType.SCHEMA_CHANGE, FailureType.DATA_QUALITY)  # tools turn these types' subtypes into checks
ABSTAINED = ("undetermined", "no_error_in_log", "empty_log", "binary_log")
UNSEEN = {FailureType.SCHEMA_CHANGE: 0.2, FailureType.DATA_QUALITY: 0.2, FailureType.API_FAILURE: 0.1}


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One cause to test, with the belief in it before the test and after."""

    type: FailureType
    subtype: str
    belief: float
    findings: tuple[Finding, ...] = ()

    @property
    def weight(self) -> float:
        """The belief times the likelihood of the findings (not normalised)."""
        verdicts = {finding.verdict for finding in self.findings}
        if FindingVerdict.SUPPORTS in verdicts:
            return self.belief * SUPPORT.get(self.type, 1.0)
        if verdicts == {FindingVerdict.REFUTES}:
            return self.belief * REFUTE
        return self.belief


def hypotheses(classification: Classification) -> tuple[Hypothesis, ...]:
    """The causes worth testing, most believed first.

    The log's own belief and its alternatives; when the log says too little (an unsure UNKNOWN), also the causes that
    leave traces outside the log, with a least belief however little the log speaks for them.
    """
    found = {
        classification.type: Hypothesis(
            type=classification.type, subtype=classification.subtype, belief=classification.confidence
        )
    }
    for other in classification.alternatives:
        if other.confidence >= FLOOR:
            found.setdefault(other.type, Hypothesis(type=other.type, subtype=other.subtype, belief=other.confidence))
    if classification.subtype == "null_violation":  # a column that has another name now leaves NULLs under the old one
        found.setdefault(
            FailureType.SCHEMA_CHANGE,
            Hypothesis(type=FailureType.SCHEMA_CHANGE, subtype="column_missing", belief=FLOOR),
        )
    if _abstains(classification):
        for kind, belief in UNSEEN.items():
            named = found.get(kind, Hypothesis(type=kind, subtype="", belief=belief))
            found[kind] = replace(named, belief=max(named.belief, belief))
    return tuple(sorted(found.values(), key=lambda hypothesis: -hypothesis.belief))


def is_unsure(classification: Classification, below: float) -> bool:
    """Whether a verdict is one that a second opinion could mend."""
    return classification.type is FailureType.UNKNOWN or classification.confidence < below


def heard(read: Classification, answer: ModelAnswer | None) -> Classification:
    """What the rules read in a log, with a model's answer as one more piece of evidence.

    Each type's share is multiplied by how likely that answer is if the type is the cause: its confidence (bounded by
    `MODEL_CEILING`) for the type it names, an equal part of the rest for each other. Four bounds keep it evidence:

    1. With an invented quote it lifts nothing, abstentions least of all: its type is only added to what is tested.
    2. What the world says is weighed afterwards, so a cause that the diagnostics refute stays refuted.
    3. It talks nothing away: each cause keeps half of the belief it had, so it is still tested, and when the two disagree
       neither is sure without a finding. That it sees no cause where the rules see none is no evidence against causes
       that leave no words.
    4. Its subtype is kept only where no tool turns subtypes into checks.
    """
    if answer is None:
        return read
    if answer.dropped_count:
        return _with_unproven(read, answer.type)
    if answer.type is FailureType.UNKNOWN and _abstains(read):
        return replace(read, subtype=_subtypes(read, answer)[read.type], evidence=_joined(answer, read))
    prior = _spread(read)
    sure = min(max(answer.confidence, 1 / len(prior)), MODEL_CEILING)
    others = (1 - sure) / (len(prior) - 1)
    joint = {kind: share * (sure if kind is answer.type else others) for kind, share in prior.items()}
    shares = {kind: value / sum(joint.values()) for kind, value in joint.items()}
    best = max(shares, key=lambda kind: shares[kind])
    subtypes = _subtypes(read, answer)
    agrees = best is answer.type
    return replace(
        read,
        type=best,
        subtype=subtypes.get(best, ""),
        confidence=round(min(CEILING, shares[best]), 3),
        evidence=_joined(answer, read) if agrees else read.evidence,
        recommended_next_step=answer.recommended_next_step if agrees else read.recommended_next_step,
        alternatives=_others(read, shares, best, subtypes),
    )


def _others(
    read: Classification, shares: Mapping[FailureType, float], best: FailureType, subtypes: Mapping[FailureType, str]
) -> tuple[Alternative, ...]:
    before = _before(read)
    rest = {kind: max(share, KEPT * before.get(kind, 0.0)) for kind, share in shares.items() if kind is not best}
    return tuple(
        Alternative(type=kind, confidence=round(share, 3), subtype=subtypes.get(kind, ""))
        for kind, share in sorted(rest.items(), key=lambda item: -item[1])
        if share >= 0.02
    )


def _before(read: Classification) -> dict[FailureType, float]:
    """What is believed without a model, the causes that leave no words included."""
    named = {other.type: other.confidence for other in read.alternatives} | {read.type: read.confidence}
    unseen = UNSEEN if _abstains(read) else {}
    return named | {kind: max(belief, named.get(kind, 0.0)) for kind, belief in unseen.items()}


def _abstains(read: Classification) -> bool:
    return read.type is FailureType.UNKNOWN and read.confidence < UNSURE


def _joined(answer: ModelAnswer, read: Classification) -> tuple[Evidence, ...]:
    return tuple(dict.fromkeys((*answer.evidence, *read.evidence)))


def _with_unproven(read: Classification, kind: FailureType) -> Classification:
    if kind is read.type or any(other.type is kind for other in read.alternatives):
        return read
    return replace(read, alternatives=(*read.alternatives, Alternative(type=kind, confidence=UNPROVEN)))


def _spread(read: Classification) -> dict[FailureType, float]:
    """A share for every type: what the rules say, and for the types they do not name an even part of what is left."""
    named = _before(read)
    left = max(0.05, 1.0 - sum(named.values()))
    missing = [kind for kind in FailureType if kind not in named]
    return named | {kind: left / len(missing) for kind in missing}


def _subtypes(read: Classification, answer: ModelAnswer) -> dict[FailureType, str]:
    known = {other.type: other.subtype for other in read.alternatives} | {read.type: read.subtype}
    if answer.type not in READ_BY_TOOLS and (known.get(answer.type, "") in ("", *ABSTAINED)):
        known[answer.type] = answer.subtype or known.get(answer.type, "")
    return known


def with_findings(
    tested: Sequence[Hypothesis], found: Mapping[FailureType, Sequence[Finding]]
) -> tuple[Hypothesis, ...]:
    """The hypotheses with further findings, each once; a type that nobody believed in enters with the least belief."""
    known = {hypothesis.type: hypothesis for hypothesis in tested}
    for kind, findings in found.items():
        before = known.get(kind, Hypothesis(type=kind, subtype="", belief=FLOOR))
        new = tuple(finding for finding in findings if finding not in before.findings)
        known[kind] = replace(before, findings=(*before.findings, *new))
    return tuple(known.values())


def weigh(classification: Classification, tested: Sequence[Hypothesis]) -> Classification:
    """The classification after the evidence: the hypothesis with the most weight, its share as the confidence.

    A cause that every diagnostic refuted never wins: then the answer is UNKNOWN, with what is left of the belief.
    """
    tested = _without_symptoms(tested)
    shares = _shares(tested, classification)
    best = max(tested, key=lambda hypothesis: hypothesis.weight)
    if _is_refuted(best):
        return replace(
            classification,
            type=FailureType.UNKNOWN,
            subtype="refuted_by_evidence",
            confidence=min(CEILING, 1.0 - shares[best.type]),
            recommended_next_step="escalate",
            alternatives=_alternatives(tested, shares, FailureType.UNKNOWN),
        )
    return replace(
        classification,
        type=best.type,
        subtype=best.subtype,
        confidence=min(CEILING, shares[best.type]),
        alternatives=_alternatives(tested, shares, best.type),
    )


def _without_symptoms(tested: Sequence[Hypothesis]) -> tuple[Hypothesis, ...]:
    """Rows that fail only in columns whose type the source changed are what that change looks like in the data.

    They do not speak for bad data as a cause of its own, however few they are: setting them aside would drop good rows.
    Where they fail only in columns whose values stand under another name now, they speak against it.
    """
    supporting = [f for h in tested for f in h.findings if f.verdict is FindingVerdict.SUPPORTS]
    retyped = {(f.dataset, column) for f in supporting for column in _columns(f.data.get("changes"), TYPE_CHANGES)}
    moved = {(f.dataset, column) for f in supporting for column in _columns(f.data.get("changes"), MOVES)}

    def seen_again(finding: Finding) -> Finding:
        if _is_symptom(finding, moved):
            return replace(finding, verdict=FindingVerdict.REFUTES)
        return (
            replace(finding, verdict=FindingVerdict.CANNOT_TELL) if _is_symptom(finding, retyped | moved) else finding
        )

    return tuple(replace(one, findings=tuple(map(seen_again, one.findings))) for one in tested)


def _columns(changes: Any, kinds: tuple[str, ...]) -> set[str]:
    told = [change for change in changes or () if change["kind"] in kinds]
    return {str(name).lower() for change in told for name in (change["column"], *change.get("outputs", ()))}


def _is_symptom(finding: Finding, retyped: set[tuple[str | None, str]]) -> bool:
    checks = finding.data.get("checks") or ()
    failing = {(finding.dataset, str(column).lower()) for check in checks for column in check["columns"]}
    return finding.verdict is FindingVerdict.SUPPORTS and bool(failing) and failing <= retyped


def _shares(tested: Sequence[Hypothesis], classification: Classification) -> dict[FailureType, float]:
    listed = sum(hypothesis.belief for hypothesis in tested)
    unlisted = max(0.0, 1.0 - listed) if classification.type is not FailureType.UNKNOWN else 0.0
    total = sum(hypothesis.weight for hypothesis in tested) + unlisted
    return {hypothesis.type: hypothesis.weight / total for hypothesis in tested}


def _is_refuted(hypothesis: Hypothesis) -> bool:
    return bool(hypothesis.findings) and all(f.verdict is FindingVerdict.REFUTES for f in hypothesis.findings)


def _alternatives(
    tested: Iterable[Hypothesis], shares: dict[FailureType, float], winner: FailureType
) -> tuple[Alternative, ...]:
    rest = sorted((h for h in tested if h.type is not winner), key=lambda h: -h.weight)
    return tuple(Alternative(type=h.type, confidence=shares[h.type], subtype=h.subtype) for h in rest)
