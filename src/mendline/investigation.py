"""What a model is asked about one incident beyond the log's words: with diagnostics as tools, between plans, for the story.

It only ever gives opinions: an answer with verbatim quotes, the number of a plan that code offered, sentences with
references that code checks. Whatever it cannot say, the incident goes on without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from mendline.classify import examples
from mendline.classify.model import LanguageModel, Tool
from mendline.classify.prompt import (
    NoAnswer,
    Prompt,
    classification_prompt,
    fenced,
    json_object_in,
    parse_answer,
    shown_lines,
)
from mendline.evidence import is_unsure
from mendline.incident import (
    Advice,
    Classification,
    Diagnosis,
    Finding,
    LogExcerpt,
    ModelUse,
    Outcome,
    OutcomeKind,
    Plan,
    Sentence,
)
from mendline.playbook import Playbook
from mendline.stores.base import Store

NARRATED_LOG_CHARACTERS = 8_000
SENTENCE_COUNT = 6
SENTENCE_CHARACTERS = 320
OWN_EXAMPLES = 200  # the team's newest incidents that are looked through
_PROMPTS = Path(__file__).with_name("prompts")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A diagnostic that a model may call for, by the tool's name: about one of `datasets`, or about all of them."""

    name: str
    description: str
    datasets: tuple[str, ...]
    run: Callable[[str | None], tuple[Finding, ...]]


@dataclass(frozen=True, kw_only=True)
class Investigator:
    """One model at work on incidents. No method raises for the model's sake; each asks again when called again."""

    model: LanguageModel
    playbook: Playbook
    store: Store

    def second_opinion(self, incident_id: str, log: LogExcerpt, read: Classification) -> Advice:
        """The model's own verdict on the log, where the rules are unsure of theirs."""
        if not is_unsure(read, self.model.settings.ask_below):
            return Advice()
        return self._advice(incident_id, self._question(log, read), log, ())

    def investigate(self, incident_id: str, diagnosis: Diagnosis, probes: Sequence[Probe]) -> Advice:
        """The model's verdict once it has looked for itself, where the evidence left doubt or contradicts the log."""
        settled, believed = diagnosis.settled, diagnosis.believed
        is_contradicted = settled.type is not believed.type
        if not is_contradicted and settled.confidence >= self.model.settings.ask_below:
            return Advice()
        question = self._question(diagnosis.log, believed)
        findings = fenced("findings", "\n".join(_numbered_findings(diagnosis.findings)) or "none yet")
        prompt = Prompt(system=f"{question.system}\n\n{_text('investigate')}", user=f"{question.user}\n\n{findings}")
        return self._advice(incident_id, prompt, diagnosis.log, probes)

    def choose(self, incident_id: str, diagnosis: Diagnosis, plans: Sequence[Plan]) -> int:
        """The place of the plan to try first; 0, the playbook's own order, when the model has no usable preference."""
        offered = "\n".join(f"{place}: {plan.repair}: {plan.summary}" for place, plan in enumerate(plans))
        parts = (_cause(diagnosis.settled), *_numbered_findings(diagnosis.findings), "Plans:", offered)
        try:
            said = json_object_in(
                self.model.ask(incident_id, Prompt(system=_text("choose"), user=fenced("incident", "\n".join(parts))))
            )
        except NoAnswer:
            return 0
        chosen = said.get("plan") if isinstance(said, dict) else None
        return chosen if type(chosen) is int and 0 <= chosen < len(plans) else 0

    def narrate(self, incident_id: str, log: LogExcerpt, outcome: Outcome) -> tuple[Sentence, ...]:
        """The story of an incident; () where the configuration wants none. Every sentence rests on something that exists.

        Raises: `NoAnswer`.
        """
        wanted = self.model.settings.narrate
        if wanted == "never" or (wanted == "escalated" and outcome.kind is not OutcomeKind.ESCALATED):
            return ()
        prompt = Prompt(system=_text("narrate"), user="\n\n".join(_material(log, outcome)))
        return sentences(self.model.ask(incident_id, prompt), log, outcome)

    def use(self, incident_id: str, remarks: Sequence[str]) -> ModelUse:
        """What was asked for an incident so far, and what it cost."""
        spent = self.model.purse.spent_on(incident_id)
        return ModelUse(
            name=self.model.settings.id,
            request_count=spent.request_count,
            input_token_count=spent.input_token_count,
            output_token_count=spent.output_token_count,
            cost=round(spent.cost, 6) if self.model.settings.prices else None,
            remarks=tuple(dict.fromkeys(remark for remark in remarks if remark)),
        )

    def _question(self, log: LogExcerpt, read: Classification) -> Prompt:
        own = examples.from_incidents(self.store.incidents(limit=OWN_EXAMPLES))
        alike = examples.most_alike(log.text, (*own, *examples.from_corpus()))
        return classification_prompt(log, alike, read)

    def _advice(self, incident_id: str, prompt: Prompt, log: LogExcerpt, probes: Sequence[Probe]) -> Advice:
        bench = _Bench(probes)
        try:
            text = self.model.ask(incident_id, prompt, bench.tools())
            return Advice(answer=parse_answer(text, log, self.playbook), findings=tuple(bench.found))
        except NoAnswer as error:
            return Advice(findings=tuple(bench.found), remark=error.reason)


class _Bench:
    """The diagnostics as tools of one conversation; keeps what they found."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = probes
        self.found: list[Finding] = []

    def tools(self) -> tuple[Tool, ...]:
        return tuple(self._tool(probe) for probe in self.probes)

    def _tool(self, probe: Probe) -> Tool:
        def run(arguments: Mapping[str, Any]) -> str:
            return self._answer(probe, arguments.get("dataset"))

        dataset = {"type": "string", "enum": list(probe.datasets), "description": "Default: all that are involved."}
        parameters = {"dataset": dataset} if probe.datasets else {}
        return Tool(name=probe.name, description=probe.description, parameters=parameters, run=run)

    def _answer(self, probe: Probe, dataset: object) -> str:
        if dataset is not None and dataset not in probe.datasets:
            return f"There is no such dataset here; there are: {', '.join(probe.datasets) or 'none'}."
        found = probe.run(None if dataset is None else str(dataset))
        self.found.extend(finding for finding in found if finding not in self.found)
        return "\n".join(_finding(finding) for finding in found)


class _Sentence(BaseModel):
    text: str
    references: list[str] = Field(default_factory=list, max_length=20)


class _Narrative(BaseModel):
    sentences: list[_Sentence] = Field(max_length=50)


def sentences(text: str, log: LogExcerpt, outcome: Outcome) -> tuple[Sentence, ...]:
    """The sentences of a model's narrative that rest on something: one whose references do not all exist is cut.

    Raises: `NoAnswer` when there is no narrative in the text, or nothing of it is left.
    """
    try:
        said = _Narrative.model_validate(json_object_in(text))
    except ValidationError as error:
        raise NoAnswer("its narrative is not in the form asked for") from error
    existing = {f"L{line.number}" for line in log.lines}
    existing |= {f"F{number}" for number in range(1, len(outcome.findings) + 1)}
    existing |= {f"R{number}" for number in range(1, len(outcome.attempts) + 1)}
    kept = tuple(
        Sentence(text=words[:SENTENCE_CHARACTERS], references=tuple(dict.fromkeys(item.references)))
        for item in said.sentences
        if (words := " ".join(item.text.split())) and item.references and existing.issuperset(item.references)
    )
    if not kept:
        raise NoAnswer("no sentence of its narrative refers to the evidence")
    return kept[:SENTENCE_COUNT]


def _material(log: LogExcerpt, outcome: Outcome) -> list[str]:
    """What a narrative may be made of, with the names by which it is referred to."""
    lines = (re.sub(r"^(\d+)\| ", r"L\1| ", line) for line in shown_lines(log, NARRATED_LOG_CHARACTERS))
    repairs = [
        f"R{number}: {attempt.repair}: {attempt.decision}: {attempt.reason}"
        + (f"; planned: {attempt.plan.summary}" if attempt.plan else "")
        + (f"; verification: {attempt.verification.summary}" if attempt.verification else "")
        + ("; undone" if attempt.undone else "")
        for number, attempt in enumerate(outcome.attempts, start=1)
    ]
    told = [f"Outcome: {outcome.kind}", _cause(outcome.classification), f"Recommended: {outcome.recommended}"]
    return [
        fenced("log", "\n".join(lines)),
        fenced("findings", "\n".join(_numbered_findings(outcome.findings)) or "none"),
        fenced("repairs", "\n".join(repairs) or "none was considered"),
        fenced("end", "\n".join(told)),
    ]


def _cause(settled: Classification) -> str:
    subtype = f" ({settled.subtype})" if settled.subtype else ""
    return f"Cause: {settled.type}{subtype}, confidence {settled.confidence:.2f}"


def _numbered_findings(findings: Sequence[Finding]) -> list[str]:
    return [f"F{number}: {_finding(finding)}" for number, finding in enumerate(findings, start=1)]


def _finding(finding: Finding) -> str:
    about = f" on {finding.dataset}" if finding.dataset else ""
    return f"{finding.tool}{about}: {finding.verdict}: {finding.summary}"


@cache
def _text(name: str) -> str:
    return (_PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()
