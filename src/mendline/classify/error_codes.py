"""The field's own error codes and messages as knowledge: tables of data and the few grammars that find their entries.

`codes.jsonl` and `codes_more.jsonl` have one row per code of a family (SQLSTATE, HTTP, errno, ORA-, exception class ...);
`messages.jsonl` has one row per message text, written as a pattern with slots (`{column}`, `{table}`, `{n}`, `{any}` ...), `messages_systems.jsonl` the
texts of single products, `messages_translated.jsonl` those of other languages. Every row names its source;
`words` are what every match of its pattern must hold one of, kept so that they need not be worked out at each start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources

from ahocorasick_rs import AhoCorasick

from mendline.incident import FailureType

CODE = "code"
MESSAGE = "message"
CLASS = "class"
CONTEXT = "context"

_CODE_TABLES = ("codes.jsonl", "codes_more.jsonl")
MESSAGE_TABLES = ("messages.jsonl", "messages_translated.jsonl", "messages_systems.jsonl")


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What one code or message means when it is the root error.

    `weight` is the belief in `type` in [0, 1]; `alternatives` the belief in other types (the rest is not known).
    """

    family: str
    code: str
    type: FailureType
    subtype: str
    weight: float
    source: str
    alternatives: Mapping[FailureType, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One meaning found in a text: where (`start`, `end` offsets), how (`kind`) and what its slots hold."""

    meaning: Meaning
    kind: str
    start: int
    end: int
    slots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Template:
    rank: int
    meaning: Meaning
    words: tuple[str, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return _compile(self.meaning.code)  # compiled when a text holds its words: most never are


def _identifier(slot: str) -> str:
    quoted = r"""["'`«»„“”‘’\[]+\s?(?P<{0}_q>[^"'`«»„“”‘’\]\n]{{1,120}}?)\s?["'`«»„“”‘’\]]+"""
    return rf"(?:{quoted}|(?P<{{0}}>[\w$.-]+[\w$]))".format(slot)


_SLOTS = {
    "any": r"[^\n]{0,160}?",
    "n": r"\d[\d,._]*",
    "status": r"(?P<status>[1-5]\d\d)",
    "host": r"(?P<host>[\w.-]+)",
    "file": r"""["']?(?P<file>[^\s"']+)""",
    "column": _identifier("column"),
    "table": _identifier("table"),
}


def _rows(name: str) -> Iterator[dict[str, object]]:
    text = resources.files("mendline.classify").joinpath(name).read_text(encoding="utf-8")
    for line in text.splitlines():
        yield json.loads(line)


def _meaning(row: Mapping[str, object], family: str, code: str) -> Meaning:
    alternatives = row.get("alternatives", {})
    assert isinstance(alternatives, dict)
    return Meaning(
        family=family,
        code=code,
        type=FailureType(str(row["type"])),
        subtype=str(row["subtype"]),
        weight=float(str(row["weight"])),
        source=str(row["source"]),
        alternatives={FailureType(kind): float(share) for kind, share in alternatives.items()},
    )


@cache
def codes() -> Mapping[str, Mapping[str, Meaning]]:
    """The table of codes: family -> code -> meaning. An errno stands under its number and its name."""
    table: dict[str, dict[str, Meaning]] = {}
    for row in (row for name in _CODE_TABLES for row in _rows(name)):
        family = str(row["family"])
        for code in str(row["code"]).split(":") if family == "errno" else [str(row["code"])]:
            table.setdefault(family, {})[code] = _meaning(row, family, code)
    return table


@cache
def _templates() -> tuple[_Template, ...]:
    found: list[_Template] = []
    for row in (row for name in MESSAGE_TABLES for row in _rows(name)):
        text = str(row["message"])
        kept = row.get("words")
        words = tuple(map(str, kept)) if isinstance(kept, list) else words_of(text)
        found.append(_Template(len(found), _meaning(row, MESSAGE, text), words))
    return tuple(found)


@cache
def _words_of_templates() -> tuple[AhoCorasick, Mapping[int, tuple[_Template, ...]]]:
    """One automaton over a word that every match of a template must hold, and the templates of each such word."""
    by_word: dict[str, list[_Template]] = {}
    for template in _templates():
        for word in template.words:
            by_word.setdefault(word, []).append(template)
    words = sorted(by_word)
    return AhoCorasick(words), {place: tuple(by_word[word]) for place, word in enumerate(words)}


def _candidates(lowered: str) -> list[_Template]:
    """The templates whose words are all in the text, in table order."""
    finder, templates = _words_of_templates()
    places = {place for place, _, _ in finder.find_matches_as_indexes(lowered, overlapping=True)}
    found = {template.rank: template for place in places for template in templates[place]}
    found.update((template.rank, template) for template in _wordless())
    return [found[rank] for rank in sorted(found)]


@cache
def _wordless() -> tuple[_Template, ...]:
    """The templates that no single word stands for: they are tried on every text."""
    return tuple(template for template in _templates() if not template.words)


def _compile(text: str) -> re.Pattern[str]:
    body = text.replace(" ", r"\s+")
    for slot, pattern in _SLOTS.items():
        body = body.replace("{" + slot + "}", pattern)
    lead = r"(?<!\w)" if all(re.match(r"[(a-z0-9]", choice, re.IGNORECASE) for choice in _choices(text)) else ""
    return re.compile(f"{lead}(?:{body})", re.IGNORECASE)


def _choices(text: str) -> list[str]:
    """Split a pattern at its outermost bars; a group around the whole is opened first."""
    if text.startswith("(") and _group_end(text, 0) == len(text) - 1 and not text.startswith("(?"):
        return _choices(text[1:-1])
    found, depth, start = [], 0, 0
    for place, char in enumerate(text):
        escaped = place > 0 and text[place - 1] == "\\"
        depth += (char == "(") * (not escaped) - (char == ")") * (not escaped)
        if char == "|" and depth == 0 and not escaped:
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def _group_end(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        if text[place - 1] == "\\" and place > 0:
            continue
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place
    return -1


def words_of(text: str) -> tuple[str, ...]:
    """Give words of which every match must contain one, lower case: a cheap test before the pattern. Empty: none is known."""
    found: list[str] = []
    for choice in _choices(text):
        words = (literal,) if (literal := _longest_literal(choice)) else _words_of_group(choice)
        if not words:
            return ()
        found.extend(words)
    return tuple(found)


def _words_of_group(text: str) -> tuple[str, ...]:
    """The words of the first group that every match must pass and of whose choices each has a word."""
    for place, char in enumerate(text):
        if char != "(" or text[place - 1 : place] == "\\" or text[place + 1 : place + 2] == "?":
            continue
        end = _group_end(text, place)
        if text[end + 1 : end + 2] not in ("?", "*") and (words := words_of(text[place + 1 : end])):
            return words
    return ()


def _longest_literal(text: str) -> str:
    flat = re.sub(r"\{\w+\}|\[[^\]]*\][?*+]?", "\0", text.replace("\\b", "\0"))
    while "(" in re.sub(r"\\.", "", flat):
        reduced = re.sub(r"(?<!\\)\((?:\\.|[^()\\])*\)[?*+]?(?:\{[\d,]+\})?", "\0", flat)
        if reduced == flat:
            break
        flat = reduced
    flat = re.sub(r"\\[A-Za-z]|.[?*]|.\{[\d,]+\}[?*+]?|(?<!\\)[+.^$]", "\0", flat)
    flat = re.sub(r"\\(.)", r"\1", flat)
    words = [word.strip() for word in re.split(r"[\0\s]+", flat)]
    return max((word.lower() for word in words if len(word.encode()) > 2), key=len, default="")


def all_meanings() -> list[Meaning]:
    """Every meaning of every table."""
    return [*(each for family in codes().values() for each in family.values()), *(one.meaning for one in _templates())]


def messages_in(text: str, subtype: str | None = None) -> list[Hit]:
    """Find every known message in `text` (the error line with its details), in table order; with `subtype` only its own.

    A message that lies within a longer known message is part of it and is not given.
    """
    found = []
    for template in _candidates(text.lower()):
        if subtype is not None and template.meaning.subtype != subtype:
            continue
        match = template.pattern.search(text)
        if match is not None:
            slots = {name.removesuffix("_q"): value for name, value in match.groupdict().items() if value}
            found.append(Hit(meaning=template.meaning, kind=MESSAGE, start=match.start(), end=match.end(), slots=slots))
    return [hit for hit in found if not any(_covers(other, hit) for other in found)]


def _covers(longer: Hit, hit: Hit) -> bool:
    within = longer.start <= hit.start and hit.end <= longer.end
    return (
        within and len(longer.meaning.code) > len(hit.meaning.code) and longer.end - longer.start > hit.end - hit.start
    )


_REASONS = (
    r"Client Error|Server Error|Bad Request|Unauthorized|Payment Required|Forbidden|Not Found|Method Not Allowed|Request Time-?out"
    r"|Conflict|Gone|Unprocessable|Too Many Requests|Internal Server Error|Bad Gateway|Service (?:Temporarily )?Unavailable|Gateway Time-?out"
)
_GRAMMARS: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (family, hint, re.compile(pattern))
    for family, hint, pattern in (
        ("sqlstate", "qlstate", r"(?i:sqlstate)[\s:=\[(\"']*([0-9A-Z]{5})\b"),
        ("sqlstate", "pgcode", r"pgcode[\s:='\"]*([0-9A-Z]{5})\b"),
        ("sqlstate", ":", r"\b(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5}):"),
        ("sqlstate", "(", r"\b\d{4,6} \(([0-9A-Z]{5})\)"),
        ("sqlstate", "('", r"\('([0-9A-Z]{5})', "),
        (
            "http",
            "http",
            r"(?i:\bhttp)(?:/\d(?:\.\d)?)?[\s\"':]+(?:(?i:error|status|code|response|get|returned)[\s:=]+){0,3}([45]\d\d)\b",
        ),
        (
            "http",
            "status",
            r"(?i:\bstatus(?:[ _-]?code)?)[\"']?\s*(?:[:=]|of|is|was|with)?\s*[\"'(]?(?:<HttpStatus\.)?([45]\d\d)\b",
        ),
        ("http", "cod", r"[\"'](?:cod|code|status_?[cC]ode|http_?[cC]ode)[\"']\s?:\s?[\"']?([45]\d\d)\b"),
        ("http", "", rf"\b([45]\d\d):? (?i:{_REASONS})\b"),
        ("http", "respon", r"(?i:respon\w+)(?: was| with| code| status| a| an|[:=\s])* ?\[?([45]\d\d)\]?\b"),
        ("http", "answered", r"(?i:\banswered)(?: with)?(?: an?)? (?:HTTP )?([45]\d\d)\b"),
        ("http", "returned", r"(?i:\breturned)(?: with)?(?: an?)? (?:HTTP )?([45]\d\d)\b"),
        ("http", "code", r"(?i:\bHttpError|googleapiclient\S*|APIError|ApiException)\W+([45]\d\d)\b"),
        ("grpc", "statuscode.", r"StatusCode\.([A-Z_]+)"),
        ("grpc_camel", "code =", r"\bcode = ([A-Z][A-Za-z]+)"),
        (
            "exit",
            "exit",
            r"(?i:\bexit(?:ed)?(?: with)?(?: non-zero)?(?: exit)?(?:[ _]?(?:code|status))?)[\"'\s:=(]+(-?\d{1,3})\b",
        ),
        ("exit", "exit", r"(?i:\bexit(?:ed)? (?:codes?|status(?:es)?)[^\n]{0,80}?[ =])(1[2-5]\d)\b"),
        ("exit", "return", r"(?i:\breturn(?:ed)?[ _]?code)[\s:=]+(-?\d{1,3})\b"),
        ("exit", "status=", r"\bcode=\w+, status=(\d{1,3})\b"),
        ("exit", "terminated", r"(?i:terminated|error|returned|\*\*\*.*Error)\D{0,24} (137|139|143)\b"),
        ("signal", "sig", r"\b(SIG(?:KILL|TERM|SEGV|ABRT|BUS|XCPU|XFSZ|INT))\b"),
        ("errno", "err", r"(?i:\[?\berr(?:no|code|or code)?\s?[:=\s]?\s?)(-?\d{1,3})\]"),
        ("errno", "errno", r"(?i:\berrno)[\s:=\"']+(-?\d{1,3})\b"),
        ("errno", "os error", r"\(os error (\d{1,3})\)"),
        ("oracle", "ora-", r"\b(ORA-\d{5})\b"),
        ("oracle", "-", r"\b((?:TNS|KUP|DPY|DPI)-\d{4,5})\b"),
        ("mysql", "error", r"\bERROR (\d{4}) \([0-9A-Z]{5}\)"),
        ("mysql", "(", r"(?i:mysql|maria|Error|Warning)[^\n]{0,60}?[( ]\(?(\d{4}), [\"']"),
        ("mssql", "msg", r"\bMsg (\d{3,5}), Level"),
        (  # as sqlcmd prints it in the server's languages
            "mssql",
            "",
            r"(?:\b(?:Meldung|Mensaje|Messaggio|Mensagem|Msg\.?|Komunikat)|Сообщение|メッセージ|消息|訊息|메시지) ?(\d{3,5})[,，、]",
        ),
        ("mssql", "sql server", r"\[SQL Server\][^\n]{0,600}?\((\d{3,5})\)"),
        ("snowflake", "(", r"\b(\d{6}) \([0-9A-Z]{5}\)"),
        ("snowflake", "", r"(?i:snowflake)[^\n]{0,80}?\b(\d{6})\b"),
        ("bigquery", "reason", r"[\"']?\breason[\"']?\s*[:=]\s*[\"']?([a-z][A-Za-z]+)"),
        ("storage", "an error occurred", r"An error occurred \((?:AWS\.\w+\.)?([\w.]+)\)"),
        ("storage", "<code>", r"<Code>(\w+)</Code>"),
        ("storage", "code", r"(?i:\berror[ _]?code)[\"']?\s*[:=]\s*[\"']?([A-Z]\w{5,})"),
        ("storage", "code", r"[\"']code[\"']\s?:\s?[\"']([A-Z]\w{5,})[\"']"),
        ("exit", "rc", r"\brc[\"']?\s?[=:]\s?(-?\d{1,3})\b"),
        ("clickhouse", "code:", r"\bCode: (\d{1,4})\. DB::"),
        ("grpc", "status", r"Status(?:Runtime)?Exception: ([A-Z_]+)\b"),
        ("grpc", "status", r"[\"']status[\"']: ?[\"']([A-Z_]+)[\"']"),
        ("grpc", "error: ", r"\bError: \d{1,2} ([A-Z_]{6,}): "),
        ("prisma", "p", r"(?:\b[Cc]ode:? ?[\"'`]?|Error: |\berror code )(P[12]\d{3})\b"),
        ("mongo", "codename", r"[\"']?codeName[\"']? ?: ?[\"'](\w+)"),
        ("aadsts", "aadsts", r"\b(AADSTS\d{5,7})\b"),
        ("curl", "curl: (", r"\bcurl: \((\d{1,2})\)"),
        ("curl", "curl error", r"(?i:\bcurl error) (\d{1,2})\b"),
        ("winerror", "winerror", r"\[WinError (\d{1,5})\]"),
        ("winerror", "win32exception", r"Win32Exception \((\d{1,5})\)"),
        ("rsync", "rsync error", r"\brsync error: [^\n]{0,160}\(code (\d{1,2})\)"),
        ("db2", "sqlcode", r"\bSQLCODE[=:\s]+(-\d{3,5})\b"),
        ("db2_message", "sql", r"\bSQL(\d{4,5})N\b"),
        ("teradata", "teradata", r"(?i:teradata)[^\n]{0,160}\[Error (\d{4})\]"),
        ("teradata", "failure", r"\*\*\* Failure (\d{4})\b"),
        ("hana", "sap dbtech", r"SAP DBTech JDBC: \[(-?\d{1,5})\]"),
        ("hana", "hdbcli", r"hdbcli\.dbapi\.\w+: \((-?\d{1,5}),"),
        ("token", "<error/", r"<error/(?:\w+:::)?(\w+)>"),
    )
)
_TOKEN_FAMILIES = ("spark", "kafka", "token", "errno_name", "errno", "storage")
_TOKEN = re.compile(
    r"(?<![\w./-])(_?[A-Z][A-Z0-9]*(?:[_.][A-Z0-9]+)+|E[A-Z]{3,}|[A-Z][a-z]+(?:[A-Z]+[a-z]*)+|[a-z]+(?:_[a-z]+)+|E11000|NOAUTH|WRONGTYPE|WRONGPASS|NOPERM|CLUSTERDOWN|MISCONF|OOMKilled|Evicted)(?![\w-])"
)
_CLASS = re.compile(r"(?<![\w.$/@-])((?:[A-Za-z_][\w$]*(?:\.|::))*[A-Za-z_][\w$]*)")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def codes_in(text: str) -> list[Hit]:
    """Find every code that stands in the grammar of its family (never a bare number)."""
    lowered = text.lower()
    found = []
    for family, hint, pattern in _GRAMMARS:
        if hint and hint not in lowered:
            continue
        for match in pattern.finditer(text):
            meaning = _lookup(family, match.group(1))
            if meaning is not None:
                found.append(
                    Hit(meaning=meaning, kind=CODE, start=match.start(), end=match.end(), slots=_slots(meaning))
                )
    for match in _TOKEN.finditer(text):
        meaning = _token(match.group(1))
        if meaning is not None:
            found.append(Hit(meaning=meaning, kind=CODE, start=match.start(1), end=match.end(1)))
    return found


def _slots(meaning: Meaning) -> dict[str, str]:
    return {"status": meaning.code} if meaning.family == "http" else {}


def _lookup(family: str, code: str) -> Meaning | None:
    table = codes()
    if family == "grpc_camel":
        return table["grpc"].get(_CAMEL.sub("_", code).upper())
    if family == "db2_message":
        return table["db2"].get(f"-{int(code)}")
    meaning = table[family].get(code)
    if meaning is None and family == "sqlstate":
        return table["sqlstate_class"].get(code[:2])
    if meaning is None and family == "http":
        return table["http"].get(code[0] + "00")
    return meaning


def _token(token: str) -> Meaning | None:
    table = codes()
    for family in _TOKEN_FAMILIES:
        meaning = table[family].get(token)
        if meaning is None and family == "spark" and "." in token:
            meaning = table[family].get(token.split(".", maxsplit=1)[0])
        if meaning is not None:
            return meaning
    return None


def class_meaning(name: str) -> Meaning | None:
    """Look an exception class up: its full dotted name, its last two parts, its last part; None when not known."""
    table = codes()["exception"]
    parts = re.split(r"\.|\$|(?<=:):", name.replace("::", "."))
    for length in (len(parts), 2, 1):
        meaning = table.get(".".join(parts[-length:])) or table.get("::".join(parts[-length:]))
        if meaning is not None:
            return meaning
    return None


def classes_in(text: str) -> list[Hit]:
    """Find every exception class named in `text` (the class of the record, or of a cause that its message wraps)."""
    found = []
    for match in _CLASS.finditer(text):
        name = match.group(1)
        last = name.rsplit(".", 1)[-1].rsplit("::", 1)[-1]
        if not (last[:1].isupper() or last == "error" or "." in name) or last.isupper():
            continue
        meaning = class_meaning(name)
        follower = text[match.end() : match.end() + 1]
        if meaning is not None and follower in (":", ")", "(", "", "]", ",", " ", "'", '"', "}", ";", "\n", "."):
            found.append(Hit(meaning=meaning, kind=CLASS, start=match.start(1), end=match.end(1)))
    return found


@cache
def _contexts() -> tuple[tuple[frozenset[str], re.Pattern[str], Meaning], ...]:
    return tuple(
        (
            frozenset(str(name) for name in row["classes"]),  # type: ignore[attr-defined]  # a list of the table
            re.compile(str(row["where"])),
            _meaning(row, CONTEXT, str(row["where"])),
        )
        for row in _rows("contexts.jsonl")
    )


def meaning_in_context(class_name: str, surroundings: str) -> Hit | None:
    """Say what an exception class means where it was raised (its traceback); None when the place says nothing."""
    last = class_name.rsplit(".", 1)[-1]
    for classes, where, meaning in _contexts():
        if (class_name in classes or last in classes) and where.search(surroundings):
            return Hit(meaning=meaning, kind=CONTEXT, start=0, end=0)
    return None
