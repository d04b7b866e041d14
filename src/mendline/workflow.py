"""READ FIRST: the life of one incident, in order.

    logs -> classify -> diagnose -> plan -> policy -> wait -> apply -> verify -> (undo, try again) -> report -> record

Every line that touches the world is a durable step: after a kill -9 the finished steps are not repeated, and the one that
was cut off is repeated against tools that bear it. No tool calls another; they meet only here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mendline.approvals import TOPIC, digest, sentence
from mendline.errors import MendlineError, Unavailable
from mendline.evidence import Hypothesis, heard, hypotheses, weigh, with_findings
from mendline.hands import NOTHING_KNOWN, Hands
from mendline.incident import (
    Advice,
    Answer,
    Attempt,
    Check,
    Classification,
    Declined,
    Diagnosis,
    FailureType,
    Finding,
    Incident,
    LogExcerpt,
    Outcome,
    OutcomeKind,
    Plan,
    Receipt,
    RunRef,
    Verification,
    VerificationState,
)
from mendline.phases import Stopwatch
from mendline.playbook import WITH_LOGGING
from mendline.policy import Ruling
from mendline.steps import Steps
from mendline.stores.base import Approval

T = TypeVar("T")
LOG = logging.getLogger("mendline")
LEASE_POLL_SECONDS, LEASE_POLL_MOST_SECONDS = 0.5, 2.0
APPROVAL_POLL_SECONDS, APPROVAL_POLL_MOST_SECONDS = 60.0, 900.0
MOST_TURNS = 3  # how often a plan may be asked for anew because the world changed while it waited
PATIENCE = (1.0, 5.0, 30.0, 120.0)  # seconds between tries of a step whose counterpart is away


def handle_incident(incident_id: str, steps: Steps, hands: Hands) -> None:
    """Take one incident from its first log line to its recorded outcome. Safe to run again from any point."""
    incident = patiently(steps, "open", lambda: hands.incident(incident_id), Incident)
    life = Life(incident, steps, hands)
    try:
        life.live()
    except MendlineError as error:
        reason, attempts = str(error), tuple(life.attempts)
        patiently(steps, "give_up", lambda: hands.give_up(incident, reason, attempts), None)


def patiently(steps: Steps, name: str, function: Callable[[], T], returns: Any, *, but_for: str = "") -> T:
    """A step that waits (durably) for a counterpart that is away, and gives up with its error in the end.

    For the system `but_for` it does not wait.
    """
    for pause in PATIENCE:
        try:
            return steps.run(name, function, returns)
        except Unavailable as error:
            if error.system is not None and error.system == but_for:
                raise
            steps.sleep(pause)
    return steps.run(name, function, returns)


class Life:
    """One incident on its way. Holds nothing that a replay of the steps would not bring back."""

    def __init__(self, incident: Incident, steps: Steps, hands: Hands) -> None:
        self.incident, self.steps, self.hands = incident, steps, hands
        self.watch = Stopwatch(steps)
        self.attempts: list[Attempt] = []
        self.remarks: list[str] = []  # what a model, where one is configured, could not be heard on
        self.diagnosis = NOTHING_KNOWN
        self.has_recovered = False
        self.is_patient = True  # until a diagnosis has waited for a warehouse in vain
        self.question_count = 0

    def live(self) -> None:
        """Repair if that can be done; whatever ends in a call for a person, an error of ours too, is taken back first."""
        kind, trouble = OutcomeKind.ESCALATED, ""
        try:
            kind = self.repair()
        except Exception as error:  # a bug must not leave a half repair behind; it ends in the report
            trouble = str(error) if isinstance(error, MendlineError) else f"{type(error).__name__}: {error}"
            LOG.warning("incident %s could not be handled to its end", self.incident.id, exc_info=error)
        if kind is OutcomeKind.ESCALATED:
            for position in range(len(self.attempts), 0, -1):
                self.take_back(position)
        self.end(kind, trouble)

    def repair(self) -> OutcomeKind:
        """Diagnose and repair, again and again, until the stage is well or nothing (more) may be done."""
        self.diagnosis = self.diagnose(number=1)
        if self._has_recovered("recovered"):
            return OutcomeKind.RECOVERED
        number, limit = 1, self.hands.max_attempts
        while number <= limit:
            attempt = self.try_repair(number)
            if self.has_recovered:
                return OutcomeKind.RECOVERED
            if attempt is not None and _state(attempt) is VerificationState.FIXED:
                return OutcomeKind.RESOLVED
            if attempt is None or not _was_allowed(attempt) or _state(attempt) is VerificationState.WORSE:
                break
            number += 1
            limit = max(limit, attempt.plan.max_attempts if attempt.plan else 0)
            if attempt.receipt is not None:  # the stage ran again: its new log may tell another story
                before, self.diagnosis = self.diagnosis, self.diagnose(number=number)
                if _same_cause(before, self.diagnosis):
                    self.take_back(len(self.attempts))
        return OutcomeKind.ESCALATED

    def diagnose(self, *, number: int) -> Diagnosis:
        """Read the latest run's log, classify it, and test every cause it allows against the world. Reads only.

        Where a model is configured it is heard twice at most: on a log that the rules are unsure of, and, with diagnostics
        as its tools, where the evidence left doubt.
        """
        hands, incident = self.hands, self.incident
        self.is_patient = True
        with self.watch.phase("logs"):
            run = self._patiently(f"latest_run:{number}", lambda: hands.latest_run(incident), RunRef)
            log = self._patiently(f"retrieve_logs:{number}", lambda: hands.retrieve_logs(incident, run), LogExcerpt)
        with self.watch.phase("classify"):
            read = self.steps.run(f"classify:{number}", lambda: hands.classify(incident, log), Classification)
            opinion = self._advice(f"second_opinion:{number}", lambda: hands.second_opinion(incident, log, read))
        believed = heard(read, opinion.answer)
        with self.watch.phase("diagnose"):
            diagnosis, tested = self._weighed(log, believed, number)
            advice = self._advice(f"investigate:{number}", lambda: hands.investigate(incident, diagnosis, number))
            if advice.answer is not None or advice.findings:
                believed = heard(read, advice.answer or opinion.answer)
                diagnosis, _ = self._weighed(log, believed, number, tested, advice.findings)
        return diagnosis

    def _weighed(
        self,
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
                tested[hypothesis.type] = self._test(hypothesis, believed, log, number)
        weighed = with_findings(tuple(tested.values()), self.hands.playbook.by_type(found))
        findings = tuple(finding for hypothesis in weighed for finding in hypothesis.findings)
        settled = weigh(believed, weighed)
        return Diagnosis(log=log, believed=believed, settled=settled, findings=findings), weighed

    def _test(self, hypothesis: Hypothesis, believed: Classification, log: LogExcerpt, number: int) -> Hypothesis:
        belief = replace(believed, type=hypothesis.type, subtype=hypothesis.subtype, confidence=hypothesis.belief)
        found: list[Finding] = []
        for name in self.hands.playbook.page(hypothesis.type).diagnostics:

            def ask(name: str = name, *, is_patient: bool = False) -> tuple[Finding, ...]:
                context = self.hands.context(self.incident, log, belief, number)
                return self.hands.ask(name, replace(context, is_patient=is_patient))

            found.extend(self._asked(f"{name}:{hypothesis.type}:{number}", ask))
        return replace(hypothesis, findings=tuple(found))

    def _asked(self, name: str, ask: Callable[..., tuple[Finding, ...]]) -> tuple[Finding, ...]:
        """What a diagnostic finds, once a warehouse that is away is back; once per diagnosis it is waited for in vain.

        What it then says of the rest of the world counts.
        """
        kind: Any = tuple[Finding, ...]
        if self.is_patient:
            try:
                return self._patiently(name, lambda: ask(is_patient=True), kind)
            except Unavailable:
                self.is_patient = False
        return self._patiently(f"{name}:as it is", ask, kind)

    def try_repair(self, number: int) -> Attempt | None:
        """Plan one repair and carry it out if the gate lets it; None when the playbook has nothing (more) to offer."""
        diagnosis = self.diagnosis
        page = self.hands.playbook.page(diagnosis.settled.type)
        tried = {attempt.receipt.key for attempt in self.attempts if attempt.receipt is not None}
        declined: Attempt | None = None
        offered: list[Plan] = []
        for name in page.repairs:
            plan = self._planned(name, number)
            if isinstance(plan, Declined):
                declined = Attempt(repair=name, decision="declined", reason=plan.reason, needed=plan.needed)
            elif plan.key not in tried:
                offered.append(plan)
        if offered:
            return self.act(self._first(offered, number), page.verifier, number)
        if declined is not None:
            self.attempts.append(declined)
        return declined

    def _planned(self, repair: str, number: int) -> Plan | Declined:
        incident, diagnosis = self.incident, self.diagnosis

        def make() -> Plan | Declined:
            return self.hands.plan(incident, diagnosis, repair, number)

        with self.watch.phase("repair"):
            plan: Plan | Declined = self._patiently(f"plan:{repair}:{number}", make, Plan | Declined)
        return plan

    def _first(self, offered: list[Plan], number: int) -> Plan:
        """The plan to try first: the playbook's order, unless a model that may choose among them prefers another."""
        if len(offered) == 1:
            return offered[0]
        incident, diagnosis = self.incident, self.diagnosis
        place = self._tried(f"choose:{number}", lambda: self.hands.choose(incident, diagnosis, offered), int)
        return offered[0 if isinstance(place, str) else place]

    def act(self, plan: Plan, verifier: str, number: int) -> Attempt:
        """Carry out one plan: the gate, the wait, the effect once, the proof. A repair that fails is an answer too.

        A plan that waited, for its time or for the pipeline, meets the gate again; only the last word counts.
        """
        self.attempts.append(Attempt(repair=plan.repair, decision="off", reason="", plan=plan))
        for _ in range(MOST_TURNS):
            permitted = self._permitted(plan, number)
            if permitted is None or self._carried_out(permitted, verifier, number):
                break
            plan = permitted
        return self.attempts[-1]

    def _permitted(self, plan: Plan, number: int) -> Plan | None:
        """The plan that may run: as policy lets it, or as a person approved it; None when neither.

        What was approved is what runs. When planning again gives another plan, that one is asked for anew.
        """
        for _ in range(MOST_TURNS):
            ruling = self._ruling(plan, number)
            self._rule(plan, ruling)
            if ruling.decision != "ask":
                return plan if ruling.decision == "auto" else None
            if not self._is_approved(plan, number):
                return None
            again = self._planned(plan.repair, number)
            if isinstance(again, Declined):
                reason, needed = again.reason, again.needed
                self.attempts[-1] = replace(self.attempts[-1], decision="declined", reason=reason, needed=needed)
                return None
            if digest(again) == digest(plan):
                return plan
            plan = again
        self.attempts[-1] = replace(self.attempts[-1], plan=plan, answer=None)
        self._note(f"not applied: the plan was another one {MOST_TURNS} times when it was approved")
        return None

    def _ruling(self, plan: Plan, number: int) -> Ruling:
        incident, belief, now = self.incident, self.diagnosis.settled, self.steps.now()
        return self._patiently(f"policy:{number}", lambda: self.hands.rule_on(incident, plan, belief, now), Ruling)

    def _rule(self, plan: Plan, ruling: Ruling) -> None:
        """Put the gate's word on record; an answer to an earlier plan is none to this one."""
        self.attempts[-1] = Attempt(
            repair=plan.repair, decision=ruling.decision, reason=ruling.reason, plan=plan, shadowed=ruling.shadowed
        )

    def _is_approved(self, plan: Plan, number: int) -> bool:
        """Ask a person and wait, holding neither a worker nor the pipeline, until there is an answer or no more time."""
        incident, diagnosis, hands, now = self.incident, self.diagnosis, self.hands, self.steps.now()
        self.question_count += 1
        count, reason = self.question_count, self.attempts[-1].reason
        asked = self._patiently(f"ask:{number}", lambda: hands.ask_person(incident, plan, reason, count, now), Approval)
        if asked.answer is None:
            attempts, seconds = tuple(self.attempts), dict(self.watch.seconds)
            self._patiently(
                f"announce:{number}", lambda: hands.announce(incident, diagnosis, asked, attempts, seconds), None
            )
        answer = self._answer_to(asked)
        self.attempts[-1] = replace(self.attempts[-1], answer=answer)
        if answer.decision != "approved":
            self._note(sentence(answer))
        return answer.decision == "approved"

    def _answer_to(self, asked: Approval) -> Answer:
        """Look for the answer when woken, and now and then: a message that was lost must not cost the night."""
        pause = APPROVAL_POLL_SECONDS
        while asked.answer is None:
            left_s = (asked.expires_at - self.steps.now()).total_seconds()
            self.steps.wait(TOPIC, min(pause, left_s) if left_s > 0 else pause)
            pause = min(2 * pause, APPROVAL_POLL_MOST_SECONDS)
            asked = self._looked_at(asked)
        return asked.answer

    def _looked_at(self, asked: Approval) -> Approval:
        """The question as it stands; withdrawn when nobody has answered and the stages have passed without us.

        What is away now may be back before the time is over.
        """
        hands, incident, now = self.hands, self.incident, self.steps.now()
        standing = self._tried("answer", lambda: hands.answer_to(asked, now), Approval)
        if isinstance(standing, str) or standing.answer is not None:
            return asked if isinstance(standing, str) else standing
        found = self._tried("passed while waiting", lambda: hands.recovered_by(incident), RunRef | None)
        if not isinstance(found, RunRef):
            return asked
        self.has_recovered = True
        return self._patiently("withdraw", lambda: hands.withdraw(asked, now), Approval)

    def _carried_out(self, plan: Plan, verifier: str, number: int) -> bool:
        """Wait, have the effect and prove it; False when the gate has changed its mind meanwhile, and nothing was done."""
        hands, incident, steps = self.hands, self.incident, self.steps
        if plan.wait_seconds:
            phase = f"waiting {plan.wait_seconds:.0f} s"
            self._patiently(f"waiting:{number}", lambda: hands.set_phase(incident, phase), None)
            steps.sleep(plan.wait_seconds)
        self._take_lease(f"hold:{number}")
        try:
            if self._has_recovered(f"passed:{number}"):  # somebody else may have been quicker
                return True
            if not self._is_still_allowed(plan, number):
                return False
            self._apply(plan, number)
            if self.attempts[-1].receipt is not None:
                self._verify(self.attempts[-1].receipt, plan, verifier, number)
        finally:
            self._tried_patiently(f"let_go:{number}", lambda: hands.let_go(incident), None)
        return True

    def _is_still_allowed(self, plan: Plan, number: int) -> bool:
        """Whether the gate lets it pass also now, under the pipeline's lease: the day's budget is counted right here."""
        ruling = self._ruling(plan, number)
        return ruling.decision == "auto" or (ruling.decision == "ask" and _is_approved(self.attempts[-1]))

    def _apply(self, plan: Plan, number: int) -> None:
        """Have the effect, once. What failed may have taken effect all the same, so the world is asked before it is believed.

        A warehouse is waited for; a source that is still unwell is the next attempt's matter.
        """
        hands, incident, diagnosis = self.hands, self.incident, self.diagnosis
        tried = self._tried if plan.dataset is None else self._tried_patiently
        with self.watch.phase("repair"):
            answer = tried(f"apply:{number}", lambda: hands.apply(incident, diagnosis, plan, number), Receipt)
            receipt = None if isinstance(answer, str) else answer
            if receipt is None:
                self._note(f"not applied: {answer}")
                receipt = self._patiently(
                    f"landed:{number}", lambda: hands.landed(incident, diagnosis, plan, number), Receipt | None
                )
        self.attempts[-1] = replace(self.attempts[-1], receipt=receipt)

    def _verify(self, receipt: Receipt, plan: Plan, verifier: str, number: int) -> None:
        hands, incident, diagnosis = self.hands, self.incident, self.diagnosis
        with self.watch.phase("verify"):
            verified = self._tried_patiently(
                f"verify:{number}",
                lambda: hands.verify(incident, diagnosis, plan, receipt, verifier, number),
                Verification,
                but_for=incident.engine,  # which has had the whole time of a re-run
            )
        if isinstance(verified, str):
            verified = Verification(
                state=VerificationState.NOT_FIXED,
                checks=(Check(name="the stage could be re-run", passed=False, detail=verified),),
            )
        self.attempts[-1] = replace(self.attempts[-1], verification=verified)
        if verifier == WITH_LOGGING and verified.run_id is not None:
            self._keep_log(verified.run_id, number)

    def _keep_log(self, run_id: str, number: int) -> None:
        """Keep the log that the re-run was made for; the repair is none the worse where that cannot be done."""
        hands, incident = self.hands, self.incident
        try:
            kept = self._patiently(f"keep_log:{number}", lambda: hands.keep_log(incident, run_id), str)
        except MendlineError as error:
            self._note(f"the log of the re-run was not kept: {error}")
        else:
            self.attempts[-1] = replace(self.attempts[-1], kept_log=kept)

    def take_back(self, position: int) -> None:
        """Undo the effect of the attempt at `position` (from 1), if it has one that is still there."""
        attempt, hands, incident, diagnosis = self.attempts[position - 1], self.hands, self.incident, self.diagnosis
        if attempt.receipt is None or attempt.plan is None or attempt.undone or not attempt.plan.is_reversible:
            return
        receipt = attempt.receipt
        try:
            self._take_lease(f"hold undo:{position}")
            self._patiently(f"undo:{position}", lambda: hands.undo(incident, diagnosis, receipt, position), None)
            self.attempts[position - 1] = replace(attempt, undone=True)
        except MendlineError as error:
            self.attempts[position - 1] = replace(attempt, reason=f"{attempt.reason}; could not be undone: {error}")
        finally:
            self._tried_patiently(f"let_go undo:{position}", lambda: hands.let_go(incident), None)

    def end(self, kind: OutcomeKind, trouble: str) -> None:
        """Remember what is good now, put the outcome together, report it, record it."""
        hands, incident, attempts, seconds = self.hands, self.incident, tuple(self.attempts), dict(self.watch.seconds)
        diagnosis = self.diagnosis
        if kind is OutcomeKind.RESOLVED:
            self._tried_patiently("remember_good", lambda: hands.remember_good(incident), None)
        outcome = self._patiently(
            "outcome", lambda: hands.outcome(incident, kind, diagnosis, attempts, seconds, trouble), Outcome
        )
        remarks = tuple(self.remarks)
        told = self._tried("narrate", lambda: hands.narrate(incident, diagnosis, outcome, remarks), Outcome)
        final = outcome if isinstance(told, str) else told
        self._patiently("conclude", lambda: hands.conclude(incident, diagnosis.log, final), None)

    def _advice(self, name: str, function: Callable[[], Advice]) -> Advice:
        """What a model has to say; the incident goes on without what it cannot."""
        answer = self._tried(name, function, Advice)
        advice = Advice(remark=answer) if isinstance(answer, str) else answer
        self.remarks.append(advice.remark)
        return advice

    def _note(self, words: str) -> None:
        self.attempts[-1] = replace(self.attempts[-1], reason=f"{self.attempts[-1].reason}; {words}")

    def _has_recovered(self, name: str) -> bool:
        """Whether the failed stages have passed since in a run that somebody else started."""
        found = self._patiently(name, lambda: self.hands.recovered_by(self.incident), RunRef | None)
        self.has_recovered = found is not None
        if found is not None and self.attempts:
            self._note(f"not applied: the stages have passed meanwhile in run `{found.run_id}`")
        return self.has_recovered

    def _patiently(self, name: str, function: Callable[[], T], returns: Any) -> T:
        return patiently(self.steps, name, function, returns)

    def _tried_patiently(self, name: str, function: Callable[[], T], returns: Any, *, but_for: str = "") -> T | str:
        """A patient step whose failure is an answer in the end: the error's message."""
        try:
            return patiently(self.steps, name, function, returns, but_for=but_for)
        except MendlineError as error:
            return str(error)

    def _take_lease(self, name: str) -> None:
        """Take the pipeline's lease, sleeping durably while another incident holds it."""
        pause = LEASE_POLL_SECONDS
        while not self._patiently(name, lambda: self.hands.hold(self.incident), bool):
            self.steps.sleep(pause)
            pause = min(2 * pause, LEASE_POLL_MOST_SECONDS)

    def _tried(self, name: str, function: Callable[[], T], returns: Any) -> T | str:
        """A step whose failure is an answer: the error's message."""
        try:
            return self.steps.run(name, function, returns)
        except MendlineError as error:
            return str(error)


def _state(attempt: Attempt) -> VerificationState | None:
    return attempt.verification.state if attempt.verification else None


def _is_approved(attempt: Attempt) -> bool:
    return attempt.answer is not None and attempt.answer.decision == "approved"


def _was_allowed(attempt: Attempt) -> bool:
    return attempt.decision == "auto" or (attempt.decision == "ask" and _is_approved(attempt))


def _same_cause(before: Diagnosis, after: Diagnosis) -> bool:
    was, now = before.settled, after.settled
    return was.type is now.type and was.subtype == now.subtype and was.entities == now.entities
