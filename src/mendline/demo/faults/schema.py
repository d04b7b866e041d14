"""Faults of the schema: a source changes its shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import duckdb

from mendline.demo.faults.base import Fault, Injection, Site
from mendline.demo.faults.sources import (
    ABOVE,
    BELOW,
    add_orders,
    change_orders,
    change_payments,
    count_orders,
    retype_orders_column,
    rewrite_parquet,
    share,
)
from mendline.demo.oracle import BadRows, EndState
from mendline.incident import FailureType

READERS_OF_ORDERS = ("stage_orders", "stage_web_events", "stage_payments", "stage_shipments", "dim_customer")
WIDE_WEIGHT_G = 3_000_000_000
HEAVY_PRODUCT_COUNT = 3


def _orders(*statements: str) -> Callable[[Site], Injection]:
    def inject(site: Site) -> Injection:
        change_orders(site.world, *statements)
        return Injection()

    return inject


def _products(query: str) -> Callable[[Site], Injection]:
    def inject(site: Site) -> Injection:
        rewrite_parquet(site.world.products_file(site.day), query)
        return Injection()

    return inject


def _customers(query: str) -> Callable[[Site], Injection]:
    def inject(site: Site) -> Injection:
        rewrite_parquet(site.world.customers_file(site.day), query)
        return Injection()

    return inject


def _shipments(query: str) -> Callable[[Site], Injection]:
    def inject(site: Site) -> Injection:
        rewrite_parquet(site.world.shipments_file(site.day), query)
        return Injection()

    return inject


def _without_gift_notes(site: Site) -> None:
    change_orders(site.world, f"UPDATE orders SET gift_note = NULL WHERE substr(ordered_at, 1, 10) = '{site.day}'")


def _widened(site: Site) -> Injection:
    heavy = f"row_number() OVER (ORDER BY sku) <= {HEAVY_PRODUCT_COUNT}"
    weight = f"CASE WHEN {heavy} THEN {WIDE_WEIGHT_G} ELSE weight_g END::BIGINT AS weight_g"
    return _products(f"SELECT * REPLACE ({weight}) FROM old")(site)


def _widened_with_wide_targets(site: Site) -> None:
    _widened(site)
    with duckdb.connect(str(site.world.warehouse)) as db:
        db.execute("ALTER TABLE core.dim_product ALTER weight_g TYPE BIGINT")


def _prices_as_text(site: Site, expression: str, *, bad_share: float = 0.0) -> Injection:
    retype_orders_column(site.world, "unit_price", "TEXT", expression)
    if not bad_share:
        return Injection()
    count = share(count_orders(site.world, site.day), bad_share)
    ids = add_orders(site.world, site.day, count, {"unit_price": "'on request'"})
    return Injection(bad_rows=(BadRows(table="landing.orders", key="order_id", values=ids),))


def _rewritten_header(site: Site, change: Callable[[list[bytes], list[bytes]], list[bytes]]) -> Injection:
    change_payments(site.world, site.day, lambda header, lines: (change(header, lines), len(lines)))
    return Injection()


def _reordered(header: list[bytes], lines: list[bytes]) -> list[bytes]:
    order = [len(header) - 1, *range(len(header) - 1)]
    rows = (line.split(b";") for line in (b";".join(header), *lines))
    return [b";".join(row[index] for index in order) for row in rows]


def _upper_case(header: list[bytes], lines: list[bytes]) -> list[bytes]:
    return [b";".join(header).upper(), *lines]


def _resolved(
    name: str,
    summary: str,
    inject: Callable[[Site], Injection],
    *failing_stages: str,
    reference: Callable[[Site], None] | None = None,
    end_state: EndState = EndState.HEALTHY,
    lasting: Callable[[Site], Injection] | None = None,
) -> Fault:
    return Fault(
        name=name,
        summary=summary,
        inject=inject,
        expected_type=FailureType.SCHEMA_CHANGE,
        expected_outcomes=("resolved",),
        end_state=end_state,
        failing_stages=failing_stages,
        reference=reference,
        lasting=lasting or inject,
    )


def _escalated(name: str, summary: str, inject: Callable[[Site], Injection], *failing_stages: str) -> Fault:
    return Fault(
        name=name,
        summary=summary,
        inject=inject,
        expected_type=FailureType.SCHEMA_CHANGE,
        expected_outcomes=("escalated",),
        end_state=EndState.UNTOUCHED,
        failing_stages=failing_stages,
    )


def _harmless(name: str, summary: str, inject: Callable[[Site], Injection]) -> Fault:
    return Fault(
        name=name,
        summary=summary,
        inject=inject,
        expected_type=None,
        expected_outcomes=("none",),
        end_state=EndState.HEALTHY,
        lasting=inject,
    )


FAULTS = (
    _resolved(
        "orders_column_renamed",
        "orders.customer_id is called client_id",
        _orders("ALTER TABLE orders RENAME COLUMN customer_id TO client_id"),
        *READERS_OF_ORDERS,
    ),
    _resolved(
        "products_column_renamed",
        "products.weight_g is called weight_grams",
        _products("SELECT * RENAME (weight_g AS weight_grams) FROM old"),
        "stage_orders",
        "dim_product",
    ),
    _harmless(
        "orders_column_added",
        "orders has a new optional column, loyalty_code",
        _orders(
            "ALTER TABLE orders ADD COLUMN loyalty_code TEXT", "UPDATE orders SET loyalty_code = 'L' || customer_id"
        ),
    ),
    _resolved(
        "customers_column_added",
        "the CRM sends a new field, preferred_language, in front of the others",
        _customers("SELECT 'en' AS preferred_language, * FROM old"),
        "dim_customer",
    ),
    _resolved(
        "optional_column_removed",
        "orders no longer has gift_note, which was optional",
        _orders("ALTER TABLE orders DROP COLUMN gift_note"),
        *READERS_OF_ORDERS,
        reference=_without_gift_notes,
    ),
    _escalated(
        "required_column_removed",
        "orders no longer has unit_price",
        _orders("ALTER TABLE orders DROP COLUMN unit_price"),
        *READERS_OF_ORDERS,
    ),
    _resolved(
        "integer_widened",
        "products.weight_g is 64 bits wide and some values need it",
        _widened,
        "dim_product",
        reference=_widened_with_wide_targets,
    ),
    _resolved(
        "amount_retyped_to_text",
        "orders.unit_price is text, all of it numbers",
        partial(_prices_as_text, expression="printf('%.2f', unit_price)"),
        "stage_orders",
    ),
    _resolved(
        "amount_retyped_some_uncastable",
        "orders.unit_price is text, and 1 % of the rows have no number in it",
        partial(_prices_as_text, expression="printf('%.2f', unit_price)", bad_share=BELOW),
        "stage_orders",
        end_state=EndState.MINUS_BAD_ROWS,
        lasting=partial(_prices_as_text, expression="printf('%.2f', unit_price)"),
    ),
    _escalated(
        "amount_retyped_mostly_uncastable",
        "orders.unit_price is text with a currency in most rows",
        partial(_prices_as_text, expression="'EUR ' || printf('%.2f', unit_price)", bad_share=ABOVE),
        "stage_orders",
    ),
    _resolved(
        "api_field_renamed",
        "the carrier calls tracking.number tracking.tracking_no",
        _shipments(
            "SELECT * REPLACE (struct_pack(tracking_no := tracking.number, carrier := tracking.carrier) AS tracking) FROM old"
        ),
        "stage_shipments",
    ),
    _resolved(
        "api_field_nested_deeper",
        "the carrier moved delivery.address.city to delivery.address.location.city",
        _shipments(
            "SELECT * REPLACE (struct_pack(address := struct_pack(country := delivery.address.country, location := "
            "struct_pack(city := delivery.address.city), postcode := delivery.address.postcode), promised_on := "
            "delivery.promised_on, delivered_at := delivery.delivered_at) AS delivery) FROM old"
        ),
        "stage_shipments",
    ),
    _harmless(
        "csv_columns_reordered",
        "the payments file has its columns in another order",
        partial(_rewritten_header, change=_reordered),
    ),
    _harmless(
        "csv_header_case_changed",
        "the payments file has its header in upper case",
        partial(_rewritten_header, change=_upper_case),
    ),
)
