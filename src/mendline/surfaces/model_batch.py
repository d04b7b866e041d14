"""`mendline eval export` and `import`: any model's verdicts, asked for and scored offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mendline.errors import InputError
from mendline.evaluation import batch
from mendline.evaluation.acting import default_gate
from mendline.evaluation.cases import Choice, default_path, read_corpus
from mendline.evaluation.page import rows_of
from mendline.incident import to_json
from mendline.report.escape import clean, cut
from mendline.surfaces.evaluation import failures, figures
from mendline.surfaces.output import put, put_json, screen


def write_questions(corpus_path: Path | None, part: Choice, wanted: batch.Wanted, out: Path) -> None:
    """Write the questions about a part as a batch file. Raises: `InputError` when there is none, or no room for them."""
    corpus = read_corpus(corpus_path or default_path())
    lines = [json.dumps(each) for each in batch.requests(corpus, part, wanted)]
    if not lines:
        raise InputError(f"the part `{part}` of `{corpus.path}` has no case: there is nothing to ask")
    try:
        out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise InputError(f"`{out}` cannot be written: {error.strerror}; name another file with `--out`") from error
    characters = sum(map(len, lines))
    put(f"{len(lines)} questions about `{part}` in {out} (about {characters // 4:,} tokens to send)")


def score_answers(corpus_path: Path | None, part: Choice, results: Path, *, as_json: bool, show_failures: bool) -> None:
    """Score the answers of a batch and print; answers that do not count are listed with their reason."""
    corpus = read_corpus(corpus_path or default_path())
    found = batch.score(corpus, part, batch.read_replies(results), default_gate())
    if as_json:
        put_json(json.loads(to_json(found)))
        return
    columns = {"model, all cases": found.everything}
    columns |= {"model, where it counted": found.answered} if found.answered else {}
    columns |= {"rules and model": found.combined}
    minimums = dict.fromkeys(found.everything.actions, 0.0)
    screen().print(figures({name: rows_of(each, minimums) for name, each in columns.items()}))
    put("\n".join(_account(found)))
    if show_failures:
        screen().print(failures(found.misses))


def _account(found: batch.Imported) -> Iterator[str]:
    yield f"{found.counted} of {found.case_count} answers counted; the others are taken for UNKNOWN in `all cases`."
    for reason, ids in found.discarded.items():
        yield cut(clean(f"did not count, {reason}: {len(ids)} ({', '.join(ids)})"), 400)
    if found.missing:
        yield cut(clean(f"no answer: {len(found.missing)} ({', '.join(found.missing)})"), 400)
    if found.foreign_count:
        yield f"{found.foreign_count} lines belong to no case of `{found.part}`, or its log has changed since"
    if found.repeated_count:
        yield f"{found.repeated_count} lines answer a case once more; the first counted"
    if found.dropped_quote_count:
        yield f"{found.dropped_quote_count} quotes were not in the log and were dropped"
    yield "tokens: " + (", ".join(f"{name} {count:,}" for name, count in found.tokens.items()) or "not told")
