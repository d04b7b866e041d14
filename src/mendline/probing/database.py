"""A source database: the way to it, then whether it lets us in and answers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from mendline.config import DatabaseSource
from mendline.probing.answers import shown
from mendline.probing.connection import connect, resolve
from mendline.probing.deadline import Deadline, Facts, Stopped
from mendline.redaction import Redactor

if TYPE_CHECKING:
    import sqlalchemy

PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}
TAKE_CONNECT_TIMEOUT = ("psycopg", "psycopg2", "pymysql", "mysqldb")  # drivers, by their parameters of that name
TAKE_ADDRESS = ("psycopg", "psycopg2")
# The words of PostgreSQL (postmaster and auth.c) and MySQL (share/messages_to_clients.txt, errors 1044, 1045 and 1049).
REFUSES_US = re.compile(
    r"password authentication failed|no pg_hba\.conf entry|role \".*?\" does not exist|Access denied for user"
)
HAS_NO_SUCH = re.compile(r"database \".*?\" does not exist|Unknown database")


def probe_database(source: DatabaseSource, facts: Facts) -> str:
    """Reach it, connect and `SELECT 1`; gives what it did. Raises: `Stopped`."""
    import sqlalchemy  # noqa: PLC0415 (only needed for this kind of source)

    deadline = Deadline.after(source.timeout_seconds)
    try:
        url = sqlalchemy.make_url(source.url.get_secret_value())
        arguments = _reached(url, deadline, facts)
        deadline.call(lambda: _select(url, arguments, deadline))
    except TimeoutError as error:
        message = f"the database took the connection and did not answer within {source.timeout_seconds:g} s"
        raise Stopped("database", message, "it is overloaded or hangs; it may pass") from error
    except (ImportError, sqlalchemy.exc.NoSuchModuleError, sqlalchemy.exc.ArgumentError) as error:
        message = "the database cannot be asked: its driver is not installed here, or `url` is no SQLAlchemy URL"
        raise Stopped("database", message, "correct it in `sources`", was_asked=False) from error
    except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError, TypeError) as error:  # drivers raise what they like
        raise _refused(str(getattr(error, "orig", None) or error), url) from error
    return "the database answers"


def _reached(url: sqlalchemy.URL, deadline: Deadline, facts: Facts) -> dict[str, Any]:
    """See that there is a way, where the URL names a host; gives what the driver is to be told about it."""
    driver = url.get_driver_name()
    port = url.port or PORTS.get(url.get_backend_name())
    if not url.host or not port:
        return {}
    facts |= {"host": url.host, "port": port}
    connect(resolve(url.host, port, deadline, facts), deadline, facts).close()
    arguments: dict[str, Any] = {}
    if driver in TAKE_CONNECT_TIMEOUT:
        arguments["connect_timeout"] = max(2, math.ceil(deadline.left_s()))
    if driver in TAKE_ADDRESS:
        arguments["hostaddr"] = facts["address"]  # what was resolved, not what a second look-up would give
    return arguments


def _select(url: sqlalchemy.URL, arguments: dict[str, Any], deadline: Deadline) -> None:
    import sqlalchemy  # noqa: PLC0415 (only needed for this kind of source)

    if url.get_backend_name() == "sqlite" and url.database:  # a plain connect would create the missing file
        url = url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=arguments)
    with engine.connect() as connection:
        if url.get_backend_name() == "postgresql":
            connection.execute(sqlalchemy.text(f"SET statement_timeout = {math.ceil(deadline.left_s() * 1000)}"))
        connection.execute(sqlalchemy.text("SELECT 1"))


def _refused(said: str, url: sqlalchemy.URL) -> Stopped:
    found = without_secrets(said, url)
    if REFUSES_US.search(said):
        advice = "no retry heals it: look at the credentials in `sources`, and whether the stage uses the same"
        return Stopped("database", found, advice, needed="credentials that the database accepts")
    if HAS_NO_SUCH.search(said):
        advice = "no retry heals it: look at the name, and at whether somebody has dropped it"
        return Stopped("database", found, advice, needed="a database of that name")
    return Stopped("database", found, "it may pass")


def without_secrets(text: str, url: sqlalchemy.URL) -> str:
    """The first line of a driver's error that says something, without the URL's password however it is written."""
    query = [part for value in url.query.values() for part in ([value] if isinstance(value, str) else value)]
    for secret in filter(None, (str(url.password or ""), *query)):
        for written in {secret, quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(written, "***")
    return shown(Redactor().redact(next((line for line in text.splitlines() if line.strip()), "")), 240)
