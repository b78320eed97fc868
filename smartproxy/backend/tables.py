"""All tables of the store, whichever module declares them.

Who goes through the whole store (a backup, another key, the migrations) asks here: a module of tables that was not
imported would be left out without a word.
"""

from collections.abc import Sequence

from sqlalchemy import MetaData, Table

from smartproxy.backend import (
    access_tables,
    alert_tables,
    schema,
    session_tables,
    sighting_tables,
    trail_tables,
    trust_tables,
    user_tables,
    watch_tables,
)

MODULES = (
    schema,
    alert_tables,
    access_tables,
    session_tables,
    sighting_tables,
    trail_tables,
    trust_tables,
    user_tables,
    watch_tables,
)
"""The modules that declare tables; a test finds one that is missing."""

METADATA: MetaData = schema.Base.metadata
"""What the modules declare."""


def all_tables() -> Sequence[Table]:
    """All tables, each after those that it refers to."""
    return METADATA.sorted_tables
