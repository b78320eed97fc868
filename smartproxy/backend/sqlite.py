"""What SQLite needs to be told: write-ahead log, foreign keys, patience, and honest transactions.

The only module that knows SQLite; another database needs none of this.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event

BUSY_MILLISECONDS = 10_000
"""How long one process waits for another's write."""

WRITES = "smartproxy_writes"
"""Execution option of a connection whose transaction will write: it takes the write lock at once."""


def prepare(engine: Engine) -> None:
    """Set up every connection of an engine; nothing happens for other databases."""
    if engine.dialect.name != "sqlite":
        return
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)


def _set_up(connection: Any, record: object) -> None:
    # The sqlite3 module would begin transactions by itself, and too late; _begin does it instead.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another wrote between; the lock first waits.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
