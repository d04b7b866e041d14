"""What the reader finds in logs: roots, handled errors, repetitions, lines that matter."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendline.classify import log_grammar, log_reader, skim
from mendline.errors import InputError


def provoke(code: str) -> list[str]:
    """The log that Python itself writes for an uncaught error."""
    import traceback  # noqa: PLC0415

    try:
        exec(compile(code, "stage.py", "exec"), {})
    except Exception:  # noqa: BLE001
        return traceback.format_exc().splitlines()
    raise AssertionError("nothing was raised")


def roots(lines: list[str]) -> list[str]:
    return [error.class_name for error in log_reader.read(lines).fatal if error.is_root]


def test_the_cause_of_a_chain_is_its_root_not_the_wrapper():
    lines = provoke(
        "try:\n    int('x')\nexcept ValueError as error:\n    raise RuntimeError('stage failed') from error\n"
    )
    assert roots(lines) == ["ValueError"]


def test_a_chain_that_names_the_cause_after_the_wrapper_is_read_the_other_way():
    lines = [
        'pipeline.StepExecutionError: Error occurred while executing op "load":',
        "Stack Trace:",
        '  File "plan.py", line 56, in run',
        "    yield",
        "The above exception was caused by the following exception:",
        'db.BinderException: Binder Error: Referenced column "amount" not found',
    ]
    assert roots(lines) == ["db.BinderException"]


def test_the_last_caused_by_of_a_java_stack_is_the_root():
    lines = [
        'Exception in thread "main" java.lang.RuntimeException: Job failed',
        "\tat App.main(App.java:15)",
        "Caused by: java.lang.IllegalStateException: task 3 failed",
        "\t... 1 more",
        "Caused by: java.net.ConnectException: Connection refused",
        "\tat java.base/java.net.Socket.connect(Socket.java:1)",
    ]
    assert roots(lines) == ["java.net.ConnectException"]


def test_a_traceback_after_an_information_line_is_not_handled():
    lines = ["2026-01-01 10:00:00 INFO loading", *provoke("int('x')")]
    assert [error.is_handled for error in log_reader.read(lines).errors] == [False]


def test_a_warned_traceback_is_handled_when_the_log_goes_on():
    warned = ["2026-01-01 10:00:00 WARNING no cache", *provoke("int('x')")]
    assert [error.is_handled for error in log_reader.read([*warned, "2026-01-01 10:00:09 INFO done"]).errors][-1]


def test_a_retry_that_succeeded_is_handled():
    lines = [
        "10:00:01 ERROR 503 Service Unavailable",
        "10:00:02 INFO succeeded on attempt 2",
        "10:00:03 ERROR bad value",
    ]
    assert [error.message for error in log_reader.read(lines).fatal] == ["10:00:03 ERROR bad value"]


def test_the_same_words_again_are_folded_and_counted():
    reading = log_reader.read(f"10:00:{second:02d} ERROR row {second} rejected" for second in range(50))
    assert [(error.line, error.count) for error in reading.errors] == [(1, 50)]


def test_escaped_line_ends_inside_a_line_are_read_as_lines():
    lines = ['{"msg": "Traceback (most recent call last):\\n  File \\"a.py\\", line 1\\nValueError: 3 bad rows"}']
    assert [error.class_name for error in log_reader.read(lines).errors] == ["ValueError"]


@pytest.mark.parametrize(
    ("content", "is_empty", "is_binary"),
    [(b"", True, False), (b"\n \n", True, False), (bytes(range(256)) * 20, False, True), (b"INFO ok\n", False, False)],
)
def test_an_empty_log_and_a_binary_one_are_known(content: bytes, is_empty: bool, is_binary: bool):
    reading = log_reader.read_file(io.BytesIO(content))
    assert (reading.is_empty, reading.is_binary) == (is_empty, is_binary)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        log_reader.read_file(tmp_path / "none.log")


def test_a_large_log_keeps_its_line_numbers_in_little_memory():
    calm = b"2026-01-01 10:00:00 INFO worker loaded batch %d of many, nothing to see\n"
    content = b"".join(calm % number for number in range(150_000))
    middle = len(content) // 2
    middle = content.rfind(b"\n", 0, middle) + 1
    content = content[:middle] + b"db.UndefinedColumn: no\nValueError: 17 rows are bad\n" + content[middle:]
    expected = content[:middle].count(b"\n") + 2
    stream = io.BytesIO(content)
    tracemalloc.start()
    reading = log_reader.read_file(stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ("ValueError", expected) in [(error.class_name, error.line) for error in reading.errors]
    assert reading.excerpt.total_count == 150_002
    assert peak < 60_000_000


def test_a_traceback_across_two_blocks_of_a_large_log_is_read_whole():
    calm = b"2026-01-01 10:00:00 INFO worker loaded batch, nothing to see here at all\n"
    trace = "\n".join(
        provoke("try:\n    int('x')\nexcept ValueError as error:\n    raise RuntimeError('stage failed') from error\n")
    )
    count = (skim.WHOLE_BYTES + skim.CHUNK_BYTES) // len(calm)
    for shift in (-1, 0, 1):
        content = calm * (count + shift) + trace.encode() + b"\n" + calm * count
        reading = log_reader.read_file(io.BytesIO(content))
        assert [error.class_name for error in reading.fatal if error.is_root] == ["ValueError"]


def test_one_real_error_is_found_in_a_flood_of_warnings():
    flood = [f"10:00:00 WARN attempt {number} failed, retrying" for number in range(20_000)]
    lines = [*flood[:9_000], "10:00:00 ERROR ValueError: 3 duplicate keys", *flood[9_000:]]
    assert [error.line for error in log_reader.read(lines).fatal] == [9_001]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("load.rb:10:in 'block in <main>': undefined method 'strip' for nil (NoMethodError)", "NoMethodError"),
        (
            "load.rb:3:in 'execute': UNIQUE constraint failed: t.id (SQLite3::ConstraintException)",
            "SQLite3::ConstraintException",
        ),
        (
            "load.rb:5:in 'initialize': Failed to open TCP connection to api:80 (Errno::ECONNREFUSED)",
            "Errno::ECONNREFUSED",
        ),
        ("load.rb:7:in 'exec': duplicate key value (ActiveRecord::RecordNotUnique)", "ActiveRecord::RecordNotUnique"),
        ("** (DBConnection.ConnectionError) tcp connect (db:5432): refused", "DBConnection.ConnectionError"),
        ("called `Result::unwrap()` on an `Err` value: ParseIntError { kind: InvalidDigit }", "ParseIntError"),
        ("PHP Fatal error:  Uncaught PDOException: SQLSTATE[42S22]: Column not found", "PDOException"),
        ("TypeError [ERR_INVALID_ARG_TYPE]: The argument must be of type string", "TypeError"),
        ("a calm line (see the RuntimeErrorGuide) and no more", ""),
        ("read the page (Errors) twice", ""),
    ],
)
def test_the_class_of_an_error_is_read_as_each_language_prints_it(line: str, name: str):
    assert log_grammar.class_in(line) == name


def test_a_panic_of_rust_is_an_error():
    reading = log_reader.read(["thread 'main' panicked at src/main.rs:5:10:", "explicit stop"])
    assert [error.line for error in reading.fatal] == [1]


def test_the_class_that_ruby_repeats_after_a_logger_named_it_opens_no_second_error():
    reading = log_reader.read(
        ["10:00:00 ERROR stopped: KeyError", 'load.rb:107:in `fetch\': key not found: "BIDS_URL" (KeyError)']
    )
    assert [len(error.lines) for error in reading.errors] == [2]


TEXT = st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\n"), max_size=60)
PIECES = st.sampled_from(
    [
        "Traceback (most recent call last):",
        '  File "a.py", line 1',
        "ValueError: bad",
        "10:00:00 ERROR no",
        "Caused by: a.BError: x",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(TEXT, PIECES), max_size=40))
def test_every_line_of_an_excerpt_and_of_an_error_stands_in_the_log(lines: list[str]):
    reading = log_reader.read(lines)
    for line in reading.excerpt.lines:
        assert lines[line.number - 1].startswith(line.text.rstrip("\r")) or line.text == lines[line.number - 1].rstrip(
            "\r\n"
        )
    for error in reading.errors:
        for line in error.lines:
            assert line.text in lines[line.number - 1] or "\x1b" in lines[line.number - 1]
