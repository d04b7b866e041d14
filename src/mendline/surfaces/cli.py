"""The command line: translates what people type, prints what Mendline answers, decides nothing."""

# Imports stand inside the commands, so that `mendline triage` does not load what only `mendline serve` needs.
# ruff: noqa: PLC0415

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mendline.errors import ConfigError, InputError, MendlineError

app = typer.Typer(
    name="mendline",
    help="The on-call engineer for data pipelines: notices, diagnoses, repairs, proves, or escalates.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEFAULT_CONFIG = Path("mendline.yaml")
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration file; default: $MENDLINE_CONFIG, else ./mendline.yaml."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Part = Annotated[
    Literal["train", "validation", "test", "all"], typer.Option("--part", help="Which part of the corpus.")
]
CorpusDirectory = Annotated[
    Path | None, typer.Option("--corpus", help="The corpus's directory; default: that of Mendline's repository.")
]
Failures = Annotated[bool, typer.Option("--failures", help="List each wrong case.")]
OfDataset = Annotated[str | None, typer.Option(help="Only this dataset of the configuration.")]
IncidentId = Annotated[
    str, typer.Argument(metavar="ID", help="The incident's number, as `mendline incidents` shows it.")
]


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    config: ConfigFile = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Keep what stands before the command's name."""
    if version:
        import mendline

        typer.echo(f"mendline {mendline.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    context.obj = config


def config_path(context: typer.Context, own: Path | None) -> Path:
    """The configuration file: the command's own `--config`, the one before the command, the environment, the default."""
    from_environment = os.environ.get("MENDLINE_CONFIG")
    given: Path | None = own or context.obj or (Path(from_environment) if from_environment else None)
    return given or DEFAULT_CONFIG


@app.command()
def serve(context: typer.Context, config: ConfigFile = None) -> None:
    """Watch the pipelines and handle every incident.

    Runs until Ctrl-C or SIGTERM; what is unfinished then goes on at the next start.
    """
    from mendline.surfaces import service

    raise typer.Exit(service.serve(config_path(context, config)))


@app.command()
def demo(
    faults: Annotated[str, typer.Option(help="`all`, or names of faults with commas between.")] = "all",
    days: Annotated[int | None, typer.Option(help="Days to play, the healthy first one included.")] = None,
    scale: Annotated[float | None, typer.Option(help="1 is two million records a day.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same data.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
) -> None:
    """Watch a 15-stage pipeline break in many ways, and mend."""
    from mendline.surfaces import demonstration

    raise typer.Exit(demonstration.play(faults, days=days, scale=scale, seed=seed, json_file=json_file))


@app.command()
def triage(
    log_file: Annotated[str, typer.Argument(metavar="LOGFILE", help="A log file, or - for standard input.")],
    as_json: AsJson = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help='Read lines of {"id", "log"}; print one JSON object for each.')
    ] = False,
) -> None:
    """Judge one log: cause, evidence, next step."""
    from mendline.surfaces import triage as judge

    if as_jsonl:
        judge.many(log_file)
    else:
        judge.one(log_file, as_json=as_json)


evaluation_app = typer.Typer(name="eval", rich_markup_mode=None)
app.add_typer(evaluation_app)


@evaluation_app.callback(invoke_without_command=True)
def evaluate(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    *,
    part: Part = "test",
    corpus: CorpusDirectory = None,
    as_json: AsJson = False,
    failures: Failures = False,
    record: Annotated[bool, typer.Option("--record", help="Keep these figures as those to hold to.")] = False,
    page: Annotated[Path | None, typer.Option(help="Keep them, and write the page about them to this file.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A mendline.yaml whose policy decides what it would act on.")
    ] = None,
) -> None:
    """Measure the verdicts on failures whose cause is known, beside three baselines.

    Fails when there is no case, when the split is broken, or when macro-F1 is more than 0.02 below the recorded figure.
    """
    if context.invoked_subcommand is not None:
        sources = map(context.get_parameter_source, context.params)
        if any(source is not None and source.name == "COMMANDLINE" for source in sources):
            raise InputError(f"put options behind `{context.invoked_subcommand}`; each command has its own")
        return
    from mendline.surfaces import evaluation

    asked = evaluation.Asked(
        part=part, as_json=as_json, show_failures=failures, do_record=record or page is not None, page_file=page
    )
    raise typer.Exit(evaluation.run(corpus, policy, asked))


@evaluation_app.command("export")
def export_questions(
    out: Annotated[Path, typer.Option(help="The file to write, one question per line.")],
    form: Annotated[Literal["openai-batch"], typer.Option("--format", help="The format.")] = "openai-batch",
    part: Part = "test",
    model: Annotated[str, typer.Option(help="The model's name at its provider.")] = "gpt-5-mini",
    examples: Annotated[int, typer.Option(min=0, help="Similar cases shown with each; never of the same part.")] = 4,
    with_verdict: Annotated[bool, typer.Option("--with-verdict", help="Show the model our own verdict.")] = False,
    corpus: CorpusDirectory = None,
) -> None:
    """Write the questions that a model is asked about a part, to be answered offline."""
    from mendline.evaluation.batch import Wanted
    from mendline.surfaces import model_batch

    wanted = Wanted(model=model, example_count=examples, with_verdict=with_verdict)
    write = {"openai-batch": model_batch.write_questions}[form]
    write(corpus, part, wanted, out)


@evaluation_app.command("import")
def import_answers(
    results: Annotated[Path, typer.Argument(metavar="FILE", help="The batch's results.")],
    part: Part = "test",
    corpus: CorpusDirectory = None,
    as_json: AsJson = False,
    failures: Failures = False,
) -> None:
    """Score a model's answers like our own verdicts."""
    from mendline.surfaces import model_batch

    model_batch.score_answers(corpus, part, results, as_json=as_json, show_failures=failures)


@app.command()
def incidents(
    context: typer.Context,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List the incidents, newest first."""
    from mendline.surfaces import record

    record.incidents(config_path(context, config), only_open=only_open, as_json=as_json)


@app.command()
def show(
    context: typer.Context,
    incident_id: IncidentId,
    diff: Annotated[bool, typer.Option("--diff", help="Every finding's data and every statement in full.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The report as it was sent.")] = False,
    log: Annotated[bool, typer.Option("--log", help="The log of the re-run, where one is kept.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show the diagnostic report of one incident."""
    from mendline.surfaces import record

    if log:
        record.show_log(config_path(context, config), incident_id, as_json=as_json)
        return
    form: record.Form = "json" if as_json else "diff" if diff else "markdown" if markdown else "report"
    record.show(config_path(context, config), incident_id, form)


By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides; default: your user name.")]
Note = Annotated[str, typer.Option("--note", help="Why; it stands in the report.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
PlanDigest = Annotated[
    str | None, typer.Option("--plan", metavar="DIGEST", help="Only if the plan is still this one, as it was shown.")
]


@app.command()
def approve(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    incident_id: IncidentId,
    *,
    by: By = None,
    note: Note = "",
    yes: Yes = False,
    plan: PlanDigest = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show the repair that an incident waits to do, and let it."""
    from mendline.surfaces import approvals

    said = approvals.Decision(word="approved", by=by, note=note, digest=plan, is_sure=yes, as_json=as_json)
    raise typer.Exit(approvals.decide(config_path(context, config), incident_id, said))


@app.command()
def deny(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    incident_id: IncidentId,
    *,
    by: By = None,
    note: Note = "",
    yes: Yes = False,
    plan: PlanDigest = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show the repair that an incident waits to do, and forbid it; the incident is left to a person."""
    from mendline.surfaces import approvals

    said = approvals.Decision(word="denied", by=by, note=note, digest=plan, is_sure=yes, as_json=as_json)
    raise typer.Exit(approvals.decide(config_path(context, config), incident_id, said))


breaker_app = typer.Typer(
    name="breaker", help="What makes repairs ask since something went wrong too often.", rich_markup_mode=None
)
app.add_typer(breaker_app)


@breaker_app.command("list")
def breaker_list(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List the breakers that something speaks for, and which are open."""
    from mendline.surfaces import approvals

    approvals.breaker_list(config_path(context, config), as_json=as_json)


@breaker_app.command("reset")
def breaker_reset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `mendline breaker list` shows it.")],
    by: By = None,
    config: ConfigFile = None,
) -> None:
    """Close a breaker: repairs that policy allows act again without asking."""
    from mendline.surfaces import approvals

    approvals.breaker_reset(config_path(context, config), name, by)


quarantine_app = typer.Typer(name="quarantine", help="Rows that were set aside.", rich_markup_mode=None)
app.add_typer(quarantine_app)


@quarantine_app.command("list")
def quarantine_list(
    context: typer.Context, dataset: OfDataset = None, as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """List what was set aside, per dataset and incident: how many rows, why, and what became of them."""
    from mendline.surfaces import quarantine

    quarantine.listed(config_path(context, config), dataset, as_json=as_json)


@quarantine_app.command("show")
def quarantine_show(
    context: typer.Context,
    about: Annotated[str, typer.Argument(metavar="INCIDENT|DATASET", help="Whose rows.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 20,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show the rows that were set aside, each with its reason."""
    from mendline.surfaces import quarantine

    quarantine.show(config_path(context, config), about, limit, as_json=as_json)


@quarantine_app.command("release")
def quarantine_release(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    incident_id: IncidentId,
    *,
    dataset: OfDataset = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also rows that still fail or are of an earlier batch.")
    ] = False,
    by: By = None,
    note: Annotated[str, typer.Option(help="Why; kept with the rows.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Put rows back into their landing table, once: those that pass the checks now; the others stay."""
    from mendline.surfaces import quarantine

    request = quarantine.Request(
        incident_id=incident_id, dataset=dataset, by=by, note=note, is_forced=force, as_json=as_json
    )
    quarantine.released(config_path(context, config), request)


@quarantine_app.command("discard")
def quarantine_discard(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    incident_id: IncidentId,
    *,
    dataset: OfDataset = None,
    yes: Yes = False,
    by: By = None,
    note: Annotated[str, typer.Option(help="Why; kept with the rows. Needed.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Give rows up: they stay in quarantine for good, with who, when and why."""
    from mendline.surfaces import quarantine

    request = quarantine.Request(
        incident_id=incident_id, dataset=dataset, by=by, note=note, is_yes=yes, as_json=as_json
    )
    raise typer.Exit(quarantine.discarded(config_path(context, config), request))


@app.command()
def undo(
    context: typer.Context,
    incident_id: IncidentId,
    *,
    yes: Yes = False,
    by: By = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Take back what Mendline did for an incident, newest first; say what cannot be taken back, and why."""
    from mendline.surfaces import undo as command

    raise typer.Exit(command.undone(config_path(context, config), incident_id, by, is_yes=yes, as_json=as_json))


@app.command()
def adopt(
    context: typer.Context,
    incident_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As listed.")] = None,
    *,
    adopt_all: Annotated[bool, typer.Option("--all", help="Every incident that stands still.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List the incidents that another version of Mendline left unfinished, or begin some of them anew."""
    from mendline.surfaces import service

    service.adopt(config_path(context, config), incident_ids or (), is_all=adopt_all, as_json=as_json)


@app.command()
def feedback(
    context: typer.Context,
    incident_id: IncidentId,
    type_word: Annotated[
        Literal["right", "wrong"] | None, typer.Option("--type", help="Was the failure type right?")
    ] = None,
    right_type: Annotated[str | None, typer.Option(help="The type it really was.")] = None,
    repair: Annotated[
        Literal["helped", "harmed"] | None, typer.Option(help="What the repair did, seen afterwards.")
    ] = None,
    note: Annotated[str, typer.Option(help="Anything worth remembering.")] = "",
    config: ConfigFile = None,
) -> None:
    """Tell Mendline whether it was right; the scorecard counts it."""
    from mendline.surfaces import record

    said = record.Said(type_word=type_word, right_type=right_type, repair=repair, note=note)
    record.feedback(config_path(context, config), incident_id, said)


@app.command()
def scorecard(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Show how often Mendline was right."""
    from mendline.surfaces import record

    record.scorecard(config_path(context, config), as_json=as_json)


@app.command()
def check(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Try every connection; say what is allowed there."""
    from mendline.surfaces import service

    service.check(config_path(context, config), as_json=as_json)


@app.command()
def tool(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A diagnostic or a repair of the playbook.")],
    incident: Annotated[str | None, typer.Option(metavar="ID", help="The incident it works on.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this dataset of the configuration.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Let a repair act, where the policy says auto.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Run one tool by hand; without --apply it changes nothing.

    A diagnostic answers, a repair shows its plan.
    """
    from mendline.surfaces import service

    request = service.ToolRequest(name=name, incident_id=incident, dataset=dataset, apply=apply)
    service.tool(config_path(context, config), request, as_json=as_json)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit code: the edge at which every error becomes one sentence.

    0 done, 1 not done, 2 a person must correct a file, a setting or the command line, 130 interrupted, 141 the reader of
    our output went away.
    """
    # Nothing that we depend on may report home, whatever its own default is.
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an old locale must not turn an answer into an error
            stream.reconfigure(errors="backslashreplace")
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="mendline", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _say(f"{error.format_message().rstrip('.')}; see `mendline --help`", 2)
    except MendlineError as error:
        return _say(str(error), 2 if isinstance(error, ConfigError | InputError) else 1)
    except (BrokenPipeError, SystemExit):  # Typer ends the process itself when it meets a broken pipe first
        # Python would complain once more when it closes the stream at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return 141
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", 130)
    except Exception as error:  # noqa: BLE001 - the edge of the process: nobody above us would answer
        return _say(_unexpected(error), 1)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception) -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="mendline-", suffix=".traceback", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    return f"unexpected `{type(error).__name__}`, a fault of Mendline itself; report it with the file `{file.name}`"


def _say(sentence: str, code: int) -> int:
    from mendline.report.escape import clean

    typer.echo(f"mendline: {clean(sentence)}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
