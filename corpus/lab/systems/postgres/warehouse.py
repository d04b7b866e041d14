"""The library's tables, as the stages know them, and the way to them."""

import logging
import os
import sys

import sqlalchemy as sa

metadata = sa.MetaData(schema=os.environ["WAREHOUSE_SCHEMA"])
loan = sa.Table(
    "loan",
    metadata,
    sa.Column("loan_id", sa.BigInteger, primary_key=True),
    sa.Column("branch", sa.String(4), nullable=False),
    sa.Column("item_no", sa.String(12), nullable=False),
    sa.Column("reader_no", sa.Integer, nullable=False),
    sa.Column("lent_on", sa.Date, nullable=False),
    sa.Column("due_on", sa.Date, nullable=False),
    sa.Column("fee_cents", sa.Integer),
)
reader = sa.Table(
    "reader",
    metadata,
    sa.Column("reader_no", sa.Integer, primary_key=True),
    sa.Column("email", sa.String(80)),
    sa.Column("category", sa.String(12)),
)

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"),
    stream=sys.stdout,
    format="%(asctime)s,%(process)d,%(name)s,%(levelname)s: %(message)s",
)


def engine() -> sa.Engine:
    url = sa.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
    made = sa.create_engine(url, pool_size=2, hide_parameters=False, connect_args={"connect_timeout": 2})
    logging.getLogger("warehouse").info("using %r", made.url)
    return made


def check_schema(connection: sa.Connection) -> None:
    """Compare the tables of the warehouse with the ones above."""
    inspector = sa.inspect(connection)
    for table in metadata.sorted_tables:
        found = {each["name"]: each["type"] for each in inspector.get_columns(table.name, schema=table.schema)}
        wanted = {each.name: each.type for each in table.columns}
        kinds = {name: kind._type_affinity.__name__ for name, kind in found.items()}
        expected = {name: kind._type_affinity.__name__ for name, kind in wanted.items()}
        if kinds != expected:
            raise RuntimeError(f"{table.fullname} differs from its definition: found {kinds}, defined {expected}")
