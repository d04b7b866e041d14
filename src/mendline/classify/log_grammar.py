"""How logs are written: time stamps, levels, tracebacks, chains of causes, retries; the patterns that `log_reader` reads by."""

from __future__ import annotations

import re

HANDLED_LEVELS = frozenset({"DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "TRACE"})

LOUD_LEVELS = frozenset({"ERROR", "FATAL", "CRITICAL", "SEVERE", "PANIC"})


def _words(*words: str) -> str:
    return r"\b(?:" + "|".join(words) + r")\b"


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
STAMP = re.compile(
    r"^[\s\[({|>]*(?:"
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?[.,\d]*\s?(?:Z|UTC|[+-]\d\d:?\d\d)?"
    r"|\d\d:\d\d:\d\d[.,\d]*"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    r"|\d\d/\d\d/\d\d(?:\d\d)? \d\d:\d\d:\d\d)"
)
# Levels as PostgreSQL prints them in its languages. Some are common words: they count only before a colon.
_LEVELS_BEFORE_COLON = {
    "ERROR": "FEL|ПОМИЛКА|오류|HATA|錯誤",
    "FATAL": "FATALE|FATALT|ВАЖНО|ФАТАЛЬНО|치명적오류|致命错误|KATASTROFALNY|ÖLÜMCÜL",
    "PANIC": "PANIK|PANICO|ПАНИКА|ПАНІКА|손상|比致命错误还过分的错误",
    "WARN": "WARNUNG|ATTENTION|ATTENZIONE|ПРЕДУПРЕЖДЕНИЕ|VARNING|ПОПЕРЕДЖЕННЯ|경고|警告|AVISO",
    "NOTICE": "HINWEIS|NOTIFICA|ЗАМЕЧАНИЕ|NOTIS|ПОВІДОМЛЕННЯ|알림|注意",
}
_LEVEL_OF = {
    **{word: level for level, words in _LEVELS_BEFORE_COLON.items() for word in words.split("|")},
    **dict.fromkeys(("ERR", "FEHLER", "ERREUR", "ERRO", "ERRORE", "ОШИБКА", "BŁĄD", "エラー", "错误"), "ERROR"),
    **{"WARNING": "WARN", "CRIT": "CRITICAL", "FAIL": "ERROR", "DBUG": "DEBUG", "INFORMATION": "INFO"},
    **{"10": "TRACE", "20": "DEBUG", "30": "INFO", "40": "WARN", "50": "ERROR", "60": "FATAL"},
    **{"I": "INFO", "W": "WARN", "E": "ERROR", "F": "FATAL"},
}
# The words of a level, in the languages that PostgreSQL prints it in, as a log prefix or as a field of a structured log.
LEVEL = re.compile(
    r"(?<![\w./\"'=-])(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|FATAL|CRITICAL|SEVERE|PANIC|EMERG"
    rf"|FEHLER|ERREUR|ERRO|ERRORE|ОШИБКА|BŁĄD|エラー|错误|(?:{'|'.join(_LEVELS_BEFORE_COLON.values())})(?=\s?:))(?![\w-])"
    r"|[\"']?\b(?:level|severity|levelname|lvl)[\"']?\s*[:=]\s*[\"']?([A-Za-z]+)"
    r"|^\W{0,3}\[?(error|warning|fatal|critical|warn|info|debug)\]?\s*[:|]"
    r"|^(Error|Fatal error)(?: in [^:\n]{1,120})?\s*:"
    r"|[\[<](trace|debug|info|notice|warn(?:ing)?|error|err|fatal|crit(?:ical)?|Trace|Debug|Information|Warning|Error|Fatal)\s*[\]>]"
    r"|^(fail|crit|warn|info|dbug): "
    r"|\"level\":\s?([1-6]0)\b"  # pino and bunyan
    r"|^([IWEF])\d{4} \d\d:\d\d:"  # glog
)
TRACEBACK = re.compile(r"Traceback \(most recent call last\)|^\W*Stack Trace:|stack backtrace:|^Exception in thread")
FRAME = re.compile(
    r"^[\s|+]*(?:File \"[^\"]*\", line \d+|at [\w$.<>/ ]+\(|at [^ ]+ ?\(?[^ ]*:\d+:\d+|\.{3} \d+ more|\d+: 0x|[~^]{2,}\s*$|\+-+"
    r"|(?:throw new|throw|raise) [\w.]+\()"
)
EXPLAINED_BEFORE = re.compile(r"The above exception was the direct cause of the following", re.IGNORECASE)
EXPLAINED_AFTER = re.compile(
    r"was caused by the following exception|occurred during handling of the following exception", re.IGNORECASE
)
DURING = re.compile(r"During handling of the above exception, another exception occurred", re.IGNORECASE)
CAUSED_BY = re.compile(
    r"\bCaused by:? ?|^\s*---> ?|\[cause\]:|^\s*(?:Root cause|Nested exception is):? ", re.IGNORECASE
)
GROUP = re.compile(r"^\s+\| \S")  # the lines of a Python exception group
CONTROL = re.compile(r"(?:\\r)?\\n|\r")
_ENDING = (
    r"(?:Error|Errors|Exception|Interrupt|Timeout|Failure|Violation|Expired|Refused|Fault|Exit|Warning|Unavailable|Exhausted"
    r"|Invalid|NotFound|Denied|Forbidden|Unauthorized|Aborted|Conflict|Cancell?ed|Limited|Mismatch|Failed|Lost)"
)
_PATH = r"(?:[A-Za-z_][\w$]*(?:\.|::))*"
CLASS = re.compile(
    rf"(?<![\w.$/\"'=@-])({_PATH}(?:[A-Z][\w$]*{_ENDING}|(?<=\.)[a-z]*error)"
    r"|(?:\w+(?:\.|::))*(?:errors?|exc|exceptions?|errorfactory|errorcode|PG|Errno|ActiveRecord|Sequel)(?:\.|::)(?:\w+\.)*\w+)"
    r"(?=\s*[:(\[{]|\)\s*$|\s*$|\s+[a-z])"
    r"|(?<=\*\* \()([A-Z][\w.]*)(?=\))"  # Elixir
)
_CLASS_MARKS = (
    "rror",
    "xc",
    "Interrupt",
    "imeout",
    "ailure",
    "iolation",
    "xpired",
    "efused",
    "ault",
    "Exit",
    "arning",
    "available",
    *("PG", "Errno::", "ActiveRecord::", "Sequel::", "** ("),
    *(
        "xhausted",
        "Invalid",
        "NotFound",
        "Denied",
        "Forbidden",
        "Unauth",
        "Abort",
        "Conflict",
        "Cancel",
        "Limited",
        "Mismatch",
    ),
    *("Failed", "Lost"),
)
REMARKS = frozenset({"note", "hint", "help", "tip", "detail"})  # words before a colon that name no exception
# An exception in a traceback that somebody indented: no line of code looks like this.
INDENTED_CLASS = re.compile(r"^\s+(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Timeout|Interrupt|Warning): \S")
PLAIN_CLASS = re.compile(r"^[\s|]*((?:[A-Za-z_][\w$]*\.)*[A-Za-z_][\w$]*)(?::\s|:?$)")
# What follows an error of PostgreSQL, in its languages: detail, hint, context, statement, query, line.
_DETAIL_WORDS = (
    "DÉTAIL|DETALLE|DETTAGLI|DETALJ|DETALHE|SZCZEGÓŁY|AYRINTI|ПОДРОБНОСТИ|ВІДОМОСТІ|ДЕТАЛІ|詳細|상세정보|描述|详细信息"
    "|TIPP?|ASTUCE|SUGERENCIA|SUGGERIMENTO|TIPS|DICA|PODPOWIEDŹ|İPUCU|DOPORUČENÍ|ПОДСКАЗКА|ПІДКАЗКА|УКАЗІВКА|ヒント|힌트|提示"
    "|KONTEXT|ZUSAMMENHANG|CONTEXTO|CONTEXTE|CONTESTO|KONTEKST|КОНТЕКСТ|文脈|구문|내용|上下文|背景"
    "|ANWEISUNG|SENTENCIA|INSTRUCTION|ISTRUZIONE|SATS|COMANDO|WYRAŻENIE|ОПЕРАТОР|ІНСТРУКЦІЯ|文|명령 구문|语句"
    "|ANFRAGE|CONSULTA|REQUÊTE|FRÅGA|ZAPYTANIE|DOTAZ|ЗАПРОС|ЗАПИТ|問い合わせ|쿼리|查询"
    r"|(?:ZEILE|LÍNEA|LIGNE|RIGA|RAD|LINHA|LINIA|SATIR|ŘÁDKA|СТРОКА|РЯДОК|行|줄) \d+|第\d+行"
)
DETAIL = re.compile(
    r"^\W{0,3}(?:DETAIL|HINT|CONTEXT|LINE \d+|WHERE|QUERY|STATEMENT|SQL|\[SQL|\[parameters|Candidate bindings|Did you mean"
    rf"|DÉTAIL|ASTUCE|DETALLE|TIPP|ПОДРОБНОСТИ)\b|^\W{{0,3}}(?:{_DETAIL_WORDS})\s?[:：]",
    re.IGNORECASE,
)
_TROUBLE = _words(
    *(
        "error",
        "fatal",
        "critical",
        "panic",
        "exception",
        "failed",
        "failure",
        "cannot",
        "could not",
        "unable to",
        "denied",
    ),
    *(
        "refused",
        "timed out",
        "timeout",
        "aborted",
        "killed",
        "terminated",
        "crashed",
        r"violat\w*",
        "rejected",
        "exceeded",
    ),
    *(
        "exhausted",
        "evicted",
        "oomkilled",
        r"oom-kill\w*",
        "mismatch",
        "missing",
        "invalid",
        r"corrupt\w*",
        r"quota (?:exceeded|exhausted|reached)",
    ),
    *(
        "panicked",
        "segmentation fault",
        "no space left",
        "out of memory",
        "unavailable",
        "expired",
        "wrong number",
        "does not exist",
        "no such",
    ),
)
ERRORISH = re.compile(
    rf"(?i:{_TROUBLE})|\bSIG(?:KILL|TERM|SEGV|ABRT|XCPU)\b"
    r"|(?i:(?:exit(?:ed)?|return)(?: with)?(?: exit)?[ _](?:code|status)[ :=]*(?:-?[1-9]|Negsignal))|\b[45]\d\d (?:[A-Z][a-z]+ ?)+"
)
NOT_ERROR = re.compile(
    r"(?i:(?<![#\w.:])(?:0|no|zero|without(?: any)?) (?:\w+ )?"
    r"(?:errors?|failures?|failed|rejected|invalid|missing|evicted|dropped|skipped|exceptions?|violations?)\b"
    r"|(?:errors?|missing|unexpected|invalid|violations|failures)[\"']?\s*[:=]\s*(?:0\b|null|none|false|\[\]|\{\})"
    r"|failed?[\"']?\s*[:=]\s*0\b"
    r"|unauthori[sz]ed (?:access|use)[^\n]{0,60}(?:prohibited|forbidden|prosecuted)|\[passed\]"
    r"|(?:fields|lines|columns) terminated by)"
)
_AGAIN = _words(
    *(r"re-?try(?:ing)?", "retries", r"will (?:try|retry)", "trying again", r"attempt \d+", "backing off", "sleeping"),
    *(r"ignor(?:ed|ing)", r"suppress\w*", r"skipp(?:ed|ing)", "falling back", "fallback", "using default", "non-fatal"),
    *("continuing", "recovered", r"reconnect\w*", "UP_FOR_RETRY"),
)
RETRIED = re.compile(rf"(?i:{_AGAIN})")
GAVE_UP = re.compile(
    r"(?i:giv(?:ing|en) up|gave up|retries exhausted|limit for retries|retry limit|max(?:imum)?[ _]retries|no more retries|exhausted"
    r"|attempts? (?:failed|exceeded)|last attempt|after \d+ (?:attempts|retries|tries))"
)
SUCCEEDED = re.compile(
    r"(?i:\b(?:succeeded|recovered|succeeds|successful(?:ly)?) (?:on|after|at|in)\b.{0,30}\b(?:attempt|retr|tr(?:y|ies))"
    r"|\bretry (?:was )?success|\bretry succeeded|\breconnected\b|\battempt \d+ (?:succeeded|ok)|\bok after \d+ (?:attempt|retr))"
)
ENDED_WELL = re.compile(
    r"(?i:\b(?:(?:RUN|PIPELINE)_SUCCESS|completed successfully|finished successfully|all done|exit code 0|status=success"
    r"|state SUCCESS)\b|\bDone\. PASS)"
)
IGNORED = re.compile(r"Exception ignored in|^\S*:\d+: \w*Warning: ")
UNHANDLED = re.compile(r"(?i)\bunhandled exception\b")
LONG_VALUE = re.compile(r"'[^'\n]{40,}'|\"[^\"\n]{40,}\"")
LONE_WORDS = frozenset({"Killed", "Terminated", "Aborted"})


def class_in(text: str) -> str:
    """Give the first exception class that `text` names; "" when it names none."""
    if not any(mark in text for mark in _CLASS_MARKS):  # the pattern is dear, and most lines have none of them
        return ""
    match = CLASS.search(text[:600])
    return (match.group(1) or match.group(2)) if match else ""


def reports_healing(text: str) -> bool:
    """Say whether a line reports success after a retry."""
    return any(mark in text for mark in ("ucce", "ecover", "econnect", "ok after", "ok")) and bool(
        SUCCEEDED.search(text)
    )


def level_of(text: str) -> str:
    """Give the level of a line in upper case, one word per level; "" when it names none."""
    match = LEVEL.search(text[:160])
    if match is None:
        return ""
    word = next(group for group in match.groups() if group).upper()
    return _LEVEL_OF.get(word, word)


def is_error_line(text: str, level: str) -> bool:
    """Say whether a line that names no exception class tells of trouble."""
    if level and level not in HANDLED_LEVELS:
        return True
    if text.strip() in LONE_WORDS:
        return True
    return bool(ERRORISH.search(text)) and not NOT_ERROR.search(text)


def is_handled(text: str, level: str) -> bool:
    """Say whether a line tells of trouble that the program went on from; what a long quoted value says does not count."""
    text = LONG_VALUE.sub("''", text)
    if UNHANDLED.search(text):
        return False
    if IGNORED.search(text):
        return True
    if GAVE_UP.search(text) and not (level in HANDLED_LEVELS and RETRIED.search(text)):
        return False
    return level in HANDLED_LEVELS or bool(RETRIED.search(text))
