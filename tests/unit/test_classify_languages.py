"""What PostgreSQL, its client library and the C library print in other languages is understood like their English."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from importlib import resources

import pytest

from mendline.classify import error_codes, log_grammar

_FILLED = {
    "{column}": '"order_total"',
    "{table}": "«sales.orders»",
    r"[^\w\n]*{host}[^\w\n]*": ' "db.example.com" ',
    "{any}": "xyz",
    "{n}": "17",
}


def _rows() -> dict[str, list[dict[str, str]]]:
    text = resources.files("mendline.classify").joinpath("messages_translated.jsonl").read_text(encoding="utf-8")
    found = defaultdict(list)
    for line in text.splitlines():
        row = json.loads(line)
        found[row["language"]].append(row)
    return found


ROWS = _rows()


def printed(template: str) -> str:
    """Write a message as its program prints it: slots filled, the first of several wordings, the optional words left in."""
    text = template
    for slot, value in _FILLED.items():
        text = text.replace(slot, value)
    text = re.sub(r"(?<!\\)\(((?:[^()|\\]|\\.)*)(?:\|[^()]*)?\)\??", r"\1", text)
    return re.sub(r"\\(.)", r"\1", text.replace("['’]", "'"))


@pytest.mark.parametrize("language", sorted(ROWS))
def test_every_row_of_a_language_is_found_in_its_own_text_and_gives_its_type(language: str):
    wrong = []
    for row in ROWS[language]:
        hits = error_codes.messages_in(f"2026-11-22 07:14:05 etl: {printed(row['message'])} ...")
        if (row["type"], row["subtype"]) not in {(hit.meaning.type.value, hit.meaning.subtype) for hit in hits}:
            wrong.append(row["message"])
    assert not wrong


@pytest.mark.parametrize("language", sorted(ROWS))
def test_no_row_of_a_language_reads_another_meaning_into_the_message_of_another(language: str):
    """A short message may lie within a longer one of the same language; the longer one then stands alone."""
    own = {row["message"] for row in ROWS[language]}
    confused = []
    for row in ROWS[language]:
        hits = [hit for hit in error_codes.messages_in(printed(row["message"])) if hit.meaning.code in own]
        kinds = {hit.meaning.type.value for hit in hits}
        if row["type"] not in kinds or len(kinds) > 1:
            confused.append((row["message"], [hit.meaning.code for hit in hits]))
    assert not confused


def test_the_server_and_the_c_library_are_known_in_the_languages_they_speak():
    assert {language for language, rows in ROWS.items() if len(rows) >= 150} == {
        *("de", "es", "fr", "it", "ja", "ko", "ru", "sv", "uk", "zh_CN")
    }
    assert {"cs", "pl", "pt_BR", "tr", "zh_TW"} <= set(ROWS)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("FEHLER:  Spalte »price« von Relation »orders« existiert nicht", {"column": "price", "table": "orders"}),
        (
            "ERREUR:  la colonne « price » de la relation « orders » n'existe pas",
            {"column": "price", "table": "orders"},
        ),
        ('ОШИБКА:  столбец "price" в таблице "orders" не существует', {"column": "price", "table": "orders"}),
        ('오류:  "price" 칼럼은 "orders" 릴레이션(relation)에 없음', {"column": "price", "table": "orders"}),
        ('错误:  关系 "orders" 不存在', {"table": "orders"}),
    ],
)
def test_the_names_in_a_message_are_read_in_every_language(text: str, slots: dict[str, str]):
    best = max(error_codes.messages_in(text), key=lambda hit: len(hit.slots))
    assert best.slots == slots


@pytest.mark.parametrize(
    ("line", "level"),
    [
        *(("FEHLER:  x", "ERROR"), ("ERREUR:  x", "ERROR"), ("ERRORE:  x", "ERROR"), ("ERRO:  x", "ERROR")),
        *(("FEL:  x", "ERROR"), ("ОШИБКА:  x", "ERROR"), ("ПОМИЛКА:  x", "ERROR"), ("오류:  x", "ERROR")),
        *(("错误:  x", "ERROR"), ("BŁĄD:  x", "ERROR"), ("HATA:  x", "ERROR")),
        *(("ВАЖНО:  x", "FATAL"), ("치명적오류:  x", "FATAL"), ("致命错误:  x", "FATAL"), ("FATALE:  x", "FATAL")),
        *(("PANIK:  x", "PANIC"), ("ПАНИКА:  x", "PANIC"), ("比致命错误还过分的错误:  x", "PANIC")),
        *(("WARNUNG:  x", "WARN"), ("ATTENTION :  x", "WARN"), ("ПРЕДУПРЕЖДЕНИЕ:  x", "WARN")),
        *(("HINWEIS:  x", "NOTICE"), ("ЗАМЕЧАНИЕ:  x", "NOTICE")),
        *(("PANIK im Lager", ""), ("ВАЖНО проверить", "")),
    ],
)
def test_the_levels_of_the_server_are_read_in_its_languages_and_only_before_a_colon(line: str, level: str):
    assert log_grammar.level_of(line) == level


@pytest.mark.parametrize(
    "line",
    [
        *("DÉTAIL : La clé", "DETALLE:  La llave", "TIPP:  Sie", "KONTEXT:  COPY", "ЗАПРОС: SELECT", "詳細:  キー"),
        *(
            "상세정보:  (id)",
            "描述:  键值",
            "SZCZEGÓŁY:  Klucz",
            "Подробности: Ключ",
            "ZEILE 3: SELECT",
            "第1行: SELECT",
        ),
    ],
)
def test_a_line_that_explains_an_error_is_known_in_the_languages_of_the_server(line: str):
    assert log_grammar.DETAIL.match(line)


def test_a_line_that_only_begins_with_such_a_word_explains_nothing():
    assert not log_grammar.DETAIL.match("Kontext und Rahmen der Lieferung")
