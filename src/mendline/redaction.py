"""Take secrets and personal data out of text; what stays is what a diagnosis needs (codes, names, times, ids, line breaks)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mendline.errors import ConfigError

_Replace = Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class _Rule:
    """One kind of secret: a cheap test on the lower-cased line, a linear pattern, and what takes its place."""

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    replace: _Replace


def _marker(kind: str) -> str:
    return f"[secret:{kind}]"


def _whole(kind: str) -> _Replace:
    marker = _marker(kind)

    def replace(_: re.Match[str]) -> str:
        return marker

    return replace


def _keep_lead(kind: str) -> _Replace:
    """Replace the group `secret` and keep what stands around it (the key that names it, its quotes)."""

    def replace(match: re.Match[str]) -> str:
        start, end = match.span("secret")
        if match.group("secret").startswith("[secret:"):
            return match.group()
        return match.string[match.start() : start] + _marker(kind) + match.string[end : match.end()]

    return replace


_NAMES_A_RECORD = re.compile(
    r"(?i)(?:\bid|_id|\border|invoice|\brun|batch|\bjob|event|offset|shipment|sku|timestamp)"
    r"(?:[ _-]?(?:id|no|nr|number|key))?[\"')]*\s{0,2}[=:#]?\s{0,2}[\"'(]?$"
)


def _card(match: re.Match[str]) -> str:
    if _NAMES_A_RECORD.search(match.string[max(0, match.start() - 32) : match.start()]):
        return match.group()  # one number in ten passes the check digit
    digits = re.sub(r"\D", "", match.group())
    return _marker("card_number") if 13 <= len(digits) <= 19 and _passes_luhn(digits) else match.group()


def _passes_luhn(digits: str) -> bool:
    """Source: ISO/IEC 7812-1 annex B."""
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = int(char)
        if index % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


# Words that name a secret when they stand before `=` or `:`; the end of a longer name too (`db_password`, `X-Api-Key`).
_NAMES_A_VALUE = (
    r"(?:password|passwd|passphrase|pwd|secret|api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|secret[_-]?key|private[_-]?key|account[_-]?key"
    r"|shared[_-]?access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|id[_-]?token|session[_-]?token|security[_-]?token|bearer[_-]?token"
    r"|client[_-]?secret|x-amz-security-token|x-amz-signature|sas[_-]?token|routing[_-]?key|integration[_-]?key|webhook[_-]?token|credential)"
)
_NAME_LEAD = r"(?:[A-Za-z0-9]{1,40}[_.-]){0,6}(?:PG|MYSQL_?|pg|db|DB)?"


def _named_secret(match: re.Match[str]) -> str:
    group = "quoted" if match.group("quoted") is not None else "bare"
    start, end = match.span(group)
    if match.group(group).startswith("[secret:"):
        return match.group()
    return match.string[match.start() : start] + _marker("password") + match.string[end : match.end()]


def _phone(match: re.Match[str]) -> str:
    return _keep_lead("phone")(match) if match.group("secret") else _marker("phone")


def _rule(kind: str, hints: str, pattern: str, replace: _Replace | None = None) -> _Rule:
    compiled = re.compile(pattern)
    chosen = replace or (_keep_lead(kind) if "secret" in compiled.groupindex else _whole(kind))
    return _Rule(kind, tuple(hints.split("|")) if hints else (), compiled, chosen)


_RULES: tuple[_Rule, ...] = (
    _rule(
        "private_key",
        "private key-----",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.{0,20000}?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|$)",
    ),
    _rule("jwt", "eyj", r"\beyJ[A-Za-z0-9_-]{5,2000}+\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"),
    _rule(
        "bearer_token",
        "bearer",
        r"(?i:\bbearer)[ :=]+[\"']?(?P<secret>(?=[A-Za-z0-9._~+/=-]*[0-9._~+/=-])[A-Za-z0-9._~+/=-]{8,})",
    ),
    _rule(
        "authorization",
        "authorization",
        r"(?i:\bauthorization)[\"']?\s*[:=]\s*[\"']?(?i:basic|token|digest|apikey|aws4-hmac-sha256|key)\s+(?P<secret>[^\s\"',}]+(?:, ?\w+=[^\s\"',}]+)*)",
    ),
    _rule(
        "cookie",
        "cookie",
        r"(?i:\b(?:set-)?cookie)[\"']?\s*[:=]\s*[\"']?(?P<secret>[^\s\"';=]+=[^\s\"',}]{6,}(?:; ?[^\s\"',}]+)*)",
    ),
    _rule(
        "dsn_password",
        "://",
        r"\b[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s:/@\"'<>?#]{0,200}:(?P<secret>[^\s\"'<>]{1,200})(?=@[\w.\[-])",
    ),
    _rule("aws_access_key", "akia|asia|aroa|agpa|aida", r"\b(?:AKIA|ASIA|AROA|AGPA|AIDA)[A-Z0-9]{16}\b"),
    _rule("google_api_key", "aiza", r"\bAIza[A-Za-z0-9_-]{35}"),
    _rule("google_oauth_token", "ya29.", r"\bya29\.[A-Za-z0-9_-]{16,}"),
    _rule("github_token", "gh|github_pat_", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255})\b"),
    _rule("gitlab_token", "glpat-", r"\bglpat-[A-Za-z0-9_-]{16,}"),
    _rule(
        "slack_token",
        "xox|xapp-|hooks.slack.com",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}|(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}",
    ),
    _rule(
        "api_key",
        "sk-|sk_|pk_|rk_|whsec_|dapi|sg.|npm_|pypi-|dop_v1_|hf_|shpat_|ntn_",
        r"\b(?:sk|pk|rk)[-_](?:live[-_]|test[-_]|proj-|ant-[a-z0-9]+-)?(?=[A-Za-z_-]{0,60}\d)[A-Za-z0-9_-]{16,}|\bwhsec_[A-Za-z0-9]{16,}|\bdapi[a-f0-9]{32}(?:-\d)?|\bSG\.[\w-]{16,}\.[\w-]{16,}|\b(?:npm_|hf_|ntn_)[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{40,}|\bdop_v1_[a-f0-9]{40,}|\bshpat_[a-f0-9]{32}",
    ),
    _rule(
        "azure_key",
        "accountkey|sharedaccess|sig=",
        r"(?i:\b(?:AccountKey|SharedAccessKey|SharedAccessSignature))=(?P<secret>[A-Za-z0-9+/=%&_-]{8,})",
    ),
    _rule(
        "query_secret",
        "=",
        r"(?i:[?&;](?:sig|signature|token|key|api_?key|auth|code|secret|password|pwd|access_token|x-amz-[a-z-]*(?:signature|token|credential)|x-goog-(?:signature|credential)|awsaccesskeyid))=(?P<secret>[^&\s\"'<>;#\[\]]+)",
    ),
    _rule(
        "password",
        "pass|pwd|secret|key|token|credential",
        rf"(?i:(?<![A-Za-z0-9\[]){_NAME_LEAD}{_NAMES_A_VALUE})[\"']?\s{{0,3}}(?:=>|[=:])\s{{0,3}}(?:[bruf]?\\?[\"'](?P<quoted>[^\"'\n]{{1,400}})|(?P<bare>(?!(?i:null|none|true|false|yes|no|missing|invalid|expired|required|not|is|was|has|and|the|str|string|varchar|text|int|integer)\b)[^\s\"',;&)\]}}<>\[]{{3,400}}))",
        _named_secret,
    ),
    _rule(
        "token",
        "token",
        rf"(?i:(?<![A-Za-z0-9\[]){_NAME_LEAD}token)[\"']?\s?[=:]\s?[\"']?(?P<secret>(?=[A-Za-z_~+/-]*\d)[A-Za-z0-9._~+/=-]{{8,}})",
    ),
    _rule(
        "password",
        "identified by|password",
        r"(?:\bIDENTIFIED BY |(?i:\buser \S{1,80} identified by |\bpassword ))'(?P<secret>[^'\n]{1,200})'",
    ),
    _rule("password", "</", rf"(?i:<{_NAME_LEAD}{_NAMES_A_VALUE}>)(?P<secret>[^<\n]{{1,400}})</"),
    _rule(
        "password",
        "--",
        rf"(?i:(?<![\w-])--{_NAME_LEAD}(?:{_NAMES_A_VALUE}|token))\s{{1,3}}[\"']?(?P<secret>(?![-<$])[^\s\"']{{3,400}})",
    ),
    _rule("password", " -p", r"(?<=mysql)(?:\w*)(?: [^\s|;]{1,80}){0,8}? -p(?P<secret>[^\s-][^\s]{2,200})"),
    _rule(
        "password",
        " -u| --user",
        r"(?:(?<= -u )|(?<= --user )|(?<= --user=))[\"']?[^\s:\"'/]{1,100}:(?P<secret>[^\s\"']{3,200})",
    ),
    _rule("email", "@", r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b"),
    _rule(
        "card_number",
        "",
        r"(?<![\w.:/-])(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}|\d{4}[ -]\d{6}[ -]\d{5}|[3-6]\d{12,18})(?![\w-]|\.\d)",
        _card,
    ),
    _rule(
        "phone",
        "+|phone|tel|mobile|(",
        r"(?<![\w.:+])\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?![\w:.]|-\d)"
        r"|(?<![\w(])\(\d{3}\) ?\d{3}-\d{4}(?!\w)"
        r"|(?i:(?<=phone)|(?<=tel)|(?<=mobile))(?i:[_ ]?(?:number|no)?)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<secret>\(?\d[\d ().-]{6,18}\d)",
        _phone,
    ),
    _rule("phone", "-", r"(?<![\w.:/-])[2-9]\d{2}-\d{3}-\d{4}(?![\w-])"),
)


LONGEST_LINE = 10_000  # characters; what matters of an error stands at its beginning


def tame(text: str) -> str:
    """Foreign text that can be written and searched: no half characters (lone surrogates), no endless line."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= LONGEST_LINE:
        return text
    return "\n".join(
        line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ... ({len(line) - LONGEST_LINE} more characters)"
        for line in text.split("\n")
    )


_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")


@dataclass(frozen=True)
class Redactor:
    """Replaces secrets by typed markers (`[secret:bearer_token]`); redacting twice is redacting once.

    `patterns` are the user's own regular expressions; what they match (or their group `secret`) becomes `[secret:custom]`.
    Raises `ConfigError` when one of them is no regular expression.
    """

    patterns: tuple[str, ...] = ()
    _custom: tuple[_Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rules = []
        for pattern in self.patterns:
            try:
                rules.append(_rule("custom", "", pattern))
            except re.error as error:
                raise ConfigError(
                    f"the redaction pattern `{pattern}` is not a regular expression: {error}; correct it in the configuration"
                ) from error
        object.__setattr__(self, "_custom", tuple(rules))

    def redact(self, text: str) -> str:
        """Redact a text of one or more lines; the count of lines stays."""
        return "\n".join(self.redact_lines(text.split("\n")))

    def redact_lines(self, lines: Iterable[str]) -> Iterator[str]:
        """Redact lines one by one, in order; a private key may span lines and gives one marker per line."""
        in_key = False
        for line in lines:
            if in_key:
                ended = _KEY_END.search(line)
                in_key = ended is None
                yield _marker("private_key") + (self._clean(line[ended.end() :]) if ended else "")
                continue
            begun = _KEY_BEGIN.search(line)
            in_key = begun is not None and _KEY_END.search(line, begun.end()) is None
            yield self._clean(line)

    def _clean(self, line: str) -> str:
        lowered = line.lower()
        for rule in (*_RULES, *self._custom):
            if not rule.hints or any(hint in lowered for hint in rule.hints):
                line = rule.pattern.sub(rule.replace, line)
        return line
