"""What a team would have without Mendline: three simple judges to compare with. Nothing here is used outside evaluations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from mendline.errors import NotSupported
from mendline.incident import FailureType

Labelled = tuple[str, FailureType]  # a redacted log and its type
Opinion = Callable[[str], tuple[FailureType, float]]
Maker = Callable[[Sequence[Labelled]], Opinion]

# First match wins: what names its cause stands before what only names a place or a symptom.
KEYWORDS: tuple[tuple[FailureType, str], ...] = (
    (
        FailureType.RESOURCE,
        r"out of memory|outofmemory|oom.?kill|memoryerror|cannot allocate memory|java heap space|gc overhead limit"
        r"|memory limit exceeded|no space left on device|disk full|database or disk is full|disk quota exceeded"
        r"|too many open files|too many connections|too many clients|remaining connection slots|max_connections"
        r"|sigkill|signal 9\b|exit (?:code|status) 137|\bevicted\b|statement timeout|file too large|\bkilled$",
    ),
    (
        FailureType.UNKNOWN,
        r"permission denied|access denied|insufficient privilege|not authorized to perform|deadlock|could not serialize"
        r"|lock wait timeout|database is locked|keyboardinterrupt|modulenotfounderror|no module named|syntaxerror"
        r"|indentationerror|unboundlocalerror|nameerror",
    ),
    (
        FailureType.API_FAILURE,
        r"rate limit|too many requests|\b429\b|service unavailable|bad gateway|gateway time-?out|internal server error"
        r"|\b50[0234]\b (?:server|service|bad|gateway|internal)|connection refused|connection reset|connection aborted"
        r"|remote end closed|broken pipe|read timed out|connect(?:ion)? timed out|timeouterror|readtimeout"
        r"|name or service not known|temporary failure in name resolution|could not resolve host|getaddrinfo"
        r"|certificate verify failed|certificate has expired|ssl(?:error|:)|unauthorized|\b401\b|\b403\b|forbidden"
        r"|(?:token|credentials?) (?:has |have )?expired|invalid (?:api key|token|credentials)|authentication failed"
        r"|404 (?:client error|not found)|\b410\b gone|econnrefused|econnreset|etimedout",
    ),
    (
        FailureType.DATA_QUALITY,
        r"null value in column|not[- ]null constraint|cannot be null|duplicate key|duplicate entry|unique constraint"
        r"|foreign key constraint|violates check constraint|check constraint|invalid input syntax|invalid literal for"
        r"|could not convert|cannot convert|could not parse|unable to parse|does not match format|unicodedecodeerror"
        r"|invalid byte sequence|codec can't decode|error tokenizing data|malformed|jsondecodeerror|out of range"
        r"|value too long|data too long|division by zero|incorrect \w+ value|unparseable|conversion error|date/time field"
        r"|expectation failed|data ?quality|invalid utf-?8|truncated",
    ),
    (
        FailureType.SCHEMA_CHANGE,
        r"column .{0,80}does not exist|no such column|unknown column|has no column|no column named|columnnotfound"
        r"|column .{0,80}not found|missing column|columns? .{0,40}missing|unexpected column|extra column|not in index"
        r"|undefinedcolumn|unresolved_column|cannot resolve|no such table|relation .{0,80}does not exist"
        r"|table .{0,80}(?:doesn't|does not) exist|schema ?mismatch|schemaerror|schema change|type mismatch"
        r"|incompatible type|datatype|columns? passed|expected \d+ (?:columns|fields)|keyerror|field required",
    ),
    (FailureType.UNKNOWN, r"typeerror|attributeerror|zerodivisionerror|filenotfounderror|no such file|assertionerror"),
)
_KEYWORDS = tuple((kind, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for kind, pattern in KEYWORDS)


def majority(train: Sequence[Labelled]) -> Opinion:
    """The type that training has most of, as sure as it is frequent there; the first by name among equals."""
    counts = Counter(kind for _, kind in train)
    if not counts:
        raise NotSupported("there is no training case")
    kind = max(sorted(counts), key=lambda each: counts[each])
    return lambda _: (kind, counts[kind] / counts.total())


def keywords(train: Sequence[Labelled]) -> Opinion:
    """The first pattern of the list that is in the log, as sure as its type was right on training; else `UNKNOWN`."""
    said = [(first_keyword(log), kind) for log, kind in train]
    belief = {kind: _precision([truth is kind for believed, truth in said if believed is kind]) for kind in FailureType}

    def judge(log: str) -> tuple[FailureType, float]:
        kind = first_keyword(log)
        return kind, belief[kind]

    return judge


def first_keyword(log: str) -> FailureType:
    """The type of the first pattern of the list that is anywhere in the log."""
    return next((kind for kind, pattern in _KEYWORDS if pattern.search(log)), FailureType.UNKNOWN)


def tfidf(train: Sequence[Labelled]) -> Opinion:
    """TF-IDF of words and pairs of words, and a logistic regression, as scikit-learn's own examples put them together.

    Raises: `NotSupported` without scikit-learn, or without two types to tell apart.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - a development extra
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    except ImportError as error:
        raise NotSupported("scikit-learn is not installed; `pip install 'mendline[dev]'` brings it") from error
    if len({kind for _, kind in train}) < 2:
        raise NotSupported("training has fewer than two types")
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2),
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000),
    )
    model.fit([log for log, _ in train], [kind.value for _, kind in train])

    def judge(log: str) -> tuple[FailureType, float]:
        (shares,) = model.predict_proba([log])
        best = int(shares.argmax())
        return FailureType(model.classes_[best]), float(shares[best])

    return judge


MAKERS: Mapping[str, Maker] = {"majority": majority, "keyword list": keywords, "TF-IDF + regression": tfidf}


def _precision(hits: Sequence[bool]) -> float:
    return (sum(hits) + 1) / (len(hits) + 2)
