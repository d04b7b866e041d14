"""From a failed run to a settled cause: its log, what the log says, what the world says of that, and the weighing of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mendline.errors import Unavailable
from mendline.evidence import Hypothesis, heard, hypotheses, weigh, with_findings
from mendline.incident import Classification, Diagnosis, FailureType, Finding, LogExcerpt, RunRef
from mendline.life import Life


def diagnose(life: Life, *, number: int) -> Diagnosis:
    """Read the latest run's log, classify it, and test every cause it allows against the world. Reads only.

    Where a model is configured it is heard twice at most: on a log that the rules are unsure of, and, with diagnostics
    as its tools, where the evidence left doubt.
    """
    hands, incident = life.hands, life.incident
    life.is_patient = True
    with life.watch.phase("logs"):
        run = life.patiently(f"latest_run:{number}", lambda: hands.latest_run(incident), RunRef)
        log = life.patiently(f"retrieve_logs:{number}", lambda: hands.retrieve_logs(incident, run), LogExcerpt)
    with life.watch.phase("classify"):
        read = life.steps.run(f"classify:{number}", lambda: hands.classify(incident, log), Classification)
        opinion = life.advice(f"second_opinion:{number}", lambda: hands.second_opinion(incident, log, read))
    believed = heard(read, opinion.answer)
    with life.watch.phase("diagnose"):
        diagnosis, tested = _weighed(life, log, believed, number)
        advice = life.advice(f"investigate:{number}", lambda: hands.investigate(incident, diagnosis, number))
        if advice.answer is not None or advice.findings:
            believed = heard(read, advice.answer or opinion.answer)
            diagnosis, _ = _weighed(life, log, believed, number, tested, advice.findings)
    return diagnosis


def _weighed(
    life: Life,
    log: LogExcerpt,
    believed: Classification,
    number: int,
    known: Sequence[Hypothesis] = (),
    found: Sequence[Finding] = (),
) -> tuple[Diagnosis, Sequence[Hypothesis]]:
    """Test every cause that the belief allows and that is not `known` yet; weigh them all, with what else was `found`."""
    before = {hypothesis.type: hypothesis for hypothesis in known}
    tested: dict[FailureType, Hypothesis] = dict(before)
    for hypothesis in hypotheses(believed):
        if hypothesis.type in before:
            tested[hypothesis.type] = replace(hypothesis, findings=before[hypothesis.type].findings)
        else:
            tested[hypothesis.type] = _test(life, hypothesis, believed, log, number)
    weighed = with_findings(tuple(tested.values()), life.hands.playbook.by_type(found))
    findings = tuple(finding for hypothesis in weighed for finding in hypothesis.findings)
    settled = weigh(believed, weighed)
    return Diagnosis(log=log, believed=believed, settled=settled, findings=findings), weighed


def _test(life: Life, hypothesis: Hypothesis, believed: Classification, log: LogExcerpt, number: int) -> Hypothesis:
    belief = replace(believed, type=hypothesis.type, subtype=hypothesis.subtype, confidence=hypothesis.belief)
    found: list[Finding] = []
    for name in life.hands.playbook.page(hypothesis.type).diagnostics:

        def ask(name: str = name, *, is_patient: bool = False) -> tuple[Finding, ...]:
            context = life.hands.context(life.incident, log, belief, number)
            return life.hands.ask(name, replace(context, is_patient=is_patient))

        found.extend(_asked(life, f"{name}:{hypothesis.type}:{number}", ask))
    return replace(hypothesis, findings=tuple(found))


def _asked(life: Life, name: str, ask: Callable[..., tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """What a diagnostic finds, once a warehouse that is away is back; once per diagnosis it is waited for in vain.

    What it then says of the rest of the world counts.
    """
    kind: Any = tuple[Finding, ...]
    if life.is_patient:
        try:
            return life.patiently(name, lambda: ask(is_patient=True), kind)
        except Unavailable:
            life.is_patient = False
    return life.patiently(f"{name}:as it is", ask, kind)
