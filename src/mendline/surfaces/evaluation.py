"""`mendline eval`: how good the verdicts are on failures whose cause is known; prints and writes, measures nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from mendline.config import load_config
from mendline.errors import InputError
from mendline.evaluation.acting import Gate, default_gate
from mendline.evaluation.cases import Choice, Corpus, default_path, read_corpus
from mendline.evaluation.page import figure, page, rows_of, type_row
from mendline.evaluation.recorded import is_stale, record, shortfall
from mendline.evaluation.run import Evaluation, Miss, Progress, evaluate
from mendline.incident import to_json
from mendline.report.escape import clean
from mendline.surfaces.output import put_json, screen
from mendline.surfaces.tables import cell


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person wants of one evaluation; `page_file` is where the page about it goes, None for none."""

    part: Choice
    as_json: bool
    show_failures: bool
    do_record: bool
    page_file: Path | None


def run(corpus_path: Path | None, policy_file: Path | None, asked: Asked) -> int:
    """Evaluate and print; 1 when the split is broken or macro-F1 fell short of the record.

    With `policy_file` (a mendline.yaml) its policy is counted in place of the recommended one. Such figures are never put
    on record. Raises: `InputError` when there is nothing to measure.
    """
    corpus = read_corpus(corpus_path or default_path())
    if policy_file is not None and (asked.do_record or asked.page_file):
        raise InputError("`--record` and `--page` are for the recommended policy; leave `--policy` out")
    with _progress() as progress:
        found = evaluate(corpus, asked.part, gate=_gate(policy_file), progress=progress)
    trouble = _trouble(found, corpus, do_record=asked.do_record)
    if asked.as_json:
        put_json({**json.loads(to_json(found)), "trouble": trouble})
    else:
        _show(found, show_failures=asked.show_failures)
    for sentence in trouble:
        _say(sentence)
    if not asked.do_record and is_stale(found, corpus.path):
        _say(
            f"the record of `{found.part}` is of other cases than there are now; `make judgement` brings it up to date"
        )
    if not found.split_faults:
        _write(found, corpus, asked)
    return 1 if trouble else 0


def _gate(policy_file: Path | None) -> Gate:
    gate = default_gate()
    if policy_file is None:
        return gate
    return Gate(policies={clean(policy_file.name): load_config(policy_file).policy}, playbook=gate.playbook)


def _trouble(found: Evaluation, corpus: Corpus, *, do_record: bool) -> list[str]:
    fell = None if do_record else shortfall(found, corpus)
    return [f"the split is broken: {fault}" for fault in found.split_faults] + ([fell] if fell else [])


def _write(found: Evaluation, corpus: Corpus, asked: Asked) -> None:
    if asked.do_record:
        _say(f"recorded in {record(corpus.path, found)}")
    if asked.page_file is not None:
        asked.page_file.write_text(page(found, sorted(corpus.split.families_of_test_only)), encoding="utf-8")
        _say(f"written to {asked.page_file}")


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar on standard error while a person watches; nothing into files and pipes."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("judging", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(found: Evaluation, *, show_failures: bool) -> None:
    parts: list[Any] = [Text(_headline(found)), Text("")]
    parts += [figures({name: rows_of(each, found.minimums) for name, each in found.scores.items()}), Text("")]
    parts += [_types(found), Text(""), _reliability(found)]
    if show_failures:
        parts += [Text(""), failures(found.misses)]
    screen().print(Group(*parts))
    for name, reason in found.left_out.items():
        _say(f"no figures for {name}: {reason}")
    if found.part in ("train", "all"):
        _say("the baselines have learned from training cases: their figures on those say nothing")
    if found.missing_systems:
        _say(f"the split names systems without a case: {', '.join(found.missing_systems)}")


def _headline(found: Evaluation) -> str:
    aside = f"; {found.set_aside_count} of no part set aside" if found.set_aside_count else ""
    return (
        f"{found.case_count} cases of {found.system_count} systems in `{found.part}`, {found.hard_count} hard"
        f" ({found.train_count} to learn from{aside})"
    )


def figures(columns: dict[str, dict[str, str]]) -> Table:
    """One column per judge, one row per figure."""
    table = Table("", *columns, box=None)
    for name in next(iter(columns.values())):
        table.add_row(name, *(column[name] for column in columns.values()))
    return table


def _types(found: Evaluation) -> Table:
    table = Table("Type", "cases", "said", "precision", "recall", "F1", box=None)
    for score in found.own.by_type:
        table.add_row(*type_row(score))
    return table


def _reliability(found: Evaluation) -> Table:
    table = Table("How sure", "cases", "mean confidence", "really right", box=None)
    for each in found.own.reliability:
        bounds = f"{each.lower:.2f} to {each.upper:.2f}"
        table.add_row(bounds, str(each.count), figure(each.mean_confidence), figure(each.accuracy))
    return table


def failures(misses: tuple[Miss, ...]) -> Table:
    """One row per wrong case, the surest first; ACTS where the recommended policy would have let a repair run."""
    table = Table(f"Wrong ({len(misses)})", "truth", "said", "sure", "first quote", box=None)
    for miss in misses:
        name = f"{miss.case_id}{' (hard)' if miss.is_hard else ''}{' ACTS' if miss.acts else ''}"
        truth, said = f"{miss.truth}/{miss.true_subtype}", f"{miss.believed}/{miss.subtype or '-'}"
        table.add_row(cell(name), cell(truth), cell(said), f"{miss.confidence:.2f}", cell(miss.quote, 120))
    return table


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False, emoji=False, markup=False, soft_wrap=True).print(clean(sentence))
