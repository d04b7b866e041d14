"""PostgreSQL: the data's shape is not the one that the stage was built for."""

from __future__ import annotations

from corpus.lab.bench import Bench
from corpus.lab.services import web
from corpus.lab.services.postgres import Server
from corpus.lab.systems.postgres.worlds import (
    CLINICS,
    DESK,
    FREIGHTS,
    LOANS,
    METERS,
    both,
    case,
    edit,
    page_of,
    sql,
    ticket,
)


def _nested_priority(bench: Bench, server: Server) -> None:
    changed = [ticket(n) | {"priority": {"level": 1 + n % 4, "label": "P" + str(1 + n % 4)}} for n in range(40)]
    web.running(bench).set("/v2/tickets", page_of, page_of, web.Reply(200, {"tickets": changed, "next_page": None}))


def _items(bench: Bench, server: Server) -> None:
    web.running(bench).set(
        "/v2/tickets", web.Reply(200, {"items": [ticket(n) for n in range(8)], "paging": {"next": None}})
    )


def _without_quality(bench: Bench, server: Server) -> None:
    path = bench.path("readings_2026-11-21.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(line.rpartition(",")[0] + "\n" for line in lines), encoding="utf-8")


def _with_tenant(bench: Bench, server: Server) -> None:
    path = bench.path("readings_2026-11-21.csv")
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header + ",grid_area", *(line + ",10YDE-1" for line in lines)]) + "\n", encoding="utf-8")


CASES = (
    case(
        "appointment_note_renamed",
        "renamed",
        "appointment.note became remark",
        CLINICS,
        sql("ALTER TABLE appointment RENAME note TO remark"),
        language="de",
    ),
    case(
        "appointments_header_renamed",
        "renamed",
        "the practices' software calls patient_no insured_no now",
        CLINICS,
        edit("appointments.csv", "patient_no", "insured_no"),
        trap="a null violation; only the logged header tells that the column has another name",
        subtype="column_missing",
    ),
    case(
        "workload_open_minutes_split",
        "removed",
        "practice.open_minutes was split into opens_at and closes_at",
        CLINICS,
        sql(
            "ALTER TABLE practice DROP open_minutes, ADD opens_at time DEFAULT '08:00', ADD closes_at time DEFAULT '16:00'"
        ),
        language="ja",
    ),
    case(
        "shipment_customs_added",
        "added",
        "the shipment table demands a customs office since this morning",
        FREIGHTS,
        sql("ALTER TABLE shipment ADD customs_office varchar(8) NOT NULL"),
        trap="surfaces as a null violation, of a column that the statement does not name",
        subtype="column_added",
    ),
    case(
        "shipment_moved",
        "table_gone",
        "the table shipment was moved into the schema archive_2026",
        FREIGHTS,
        sql("CREATE SCHEMA archive_2026; ALTER TABLE shipment SET SCHEMA archive_2026"),
        language="es",
    ),
    case(
        "carrier_uuid",
        "retyped",
        "carriers are known by uuid now",
        FREIGHTS,
        sql(
            "ALTER TABLE shipment DROP CONSTRAINT shipment_carrier_id_fkey;"
            "ALTER TABLE carrier ALTER carrier_id TYPE uuid USING gen_random_uuid();"
            "ALTER TABLE shipment ALTER carrier_id TYPE uuid USING NULL"
        ),
    ),
    case(
        "delivery_without_quality",
        "column_count",
        "the meter operator delivers four columns instead of five",
        METERS,
        _without_quality,
        trap="reads like one truncated line",
        subtype="column_missing",
        language="ru",
    ),
    case(
        "delivery_with_grid_area",
        "added",
        "the meter operator delivers a sixth column",
        METERS,
        _with_tenant,
        language="fr",
    ),
    case(
        "tariff_price_range",
        "retyped",
        "a tariff's price became a range",
        METERS,
        sql("ALTER TABLE core.tariff ALTER eur_per_kwh TYPE numrange USING numrange(eur_per_kwh, NULL)"),
        trap="complains of an operator",
        language="es",
    ),
    case(
        "priority_nested",
        "nested",
        "the desk's priority is an object since its second page",
        DESK,
        _nested_priority,
        trap="surfaces as an integer that cannot be read, among hundreds of debug lines",
    ),
    case(
        "tickets_called_items",
        "renamed",
        "the desk's list is under items instead of tickets",
        DESK,
        _items,
        trap="a KeyError of our own line, after a reply of status 200",
    ),
    case(
        "loan_fee_numeric",
        "contract",
        "the fee became text with its currency",
        LOANS,
        sql("ALTER TABLE lending.loan ALTER fee_cents TYPE text USING fee_cents || ' EUR'"),
    ),
    case(
        "reader_email_moved",
        "table_gone",
        "the readers are in the membership system's own schema now; only a view without them is left",
        LOANS,
        both(sql("DROP TABLE lending.reader CASCADE")),
        trap="the inspector of the framework, not the server, misses it, in the log's own format",
    ),
)
