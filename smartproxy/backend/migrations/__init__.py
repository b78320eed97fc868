"""How the tables came to be, step by step: Alembic's environment and its versions, run by the store when it opens."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from smartproxy._version import __version__
from smartproxy.backend.errors import StoreUnavailable


def configuration() -> Config:
    """Alembic's configuration, without a file: where the versions are."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection, found: str | None) -> None:
    """Bring the tables from the migration ``found`` to the newest, in the connection's transaction.

    :raises StoreUnavailable: when they were made by a newer SmartProxy.
    """
    config = configuration()
    if found is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(found)
        except CommandError:
            raise StoreUnavailable(
                f"the store is of a newer SmartProxy (its tables are at {found}) than this {__version__}; "
                "update smartproxy[backend] on this machine"
            ) from None
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
