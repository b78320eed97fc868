"""Where the store is: the state directory and the database's URL.

Makes the directory (0700) and the SQLite file (0600) when a new site is made, and refuses a file that others can read:
the private keys of the site are in it.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import attrs

from smartproxy.backend.errors import StoreUnavailable
from smartproxy.policy.places import DATABASE_VARIABLE, STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE


@attrs.frozen
class Location:
    """A state directory and a database URL as SQLAlchemy takes it."""

    directory: Path
    url: str

    @classmethod
    def of(
        cls, directory: str | None = None, database: str | None = None, environment: Mapping[str, str] | None = None
    ) -> "Location":
        """What the command line says, else what the environment says, else the defaults."""
        told = os.environ if environment is None else environment
        state = Path(directory or told.get(STATE_DIRECTORY_VARIABLE) or STATE_DIRECTORY).absolute()
        url = database or told.get(DATABASE_VARIABLE) or f"sqlite:///{state / 'smartproxy.db'}"
        return cls(state, url)

    @property
    def file(self) -> Path | None:
        """The SQLite file, or nothing when a database server holds the store."""
        prefix = "sqlite:///"
        return Path(self.url.removeprefix(prefix)) if self.url.startswith(prefix) else None

    def make(self) -> None:
        """Make directory and file, readable by their owner only; what is there already stays as it is.

        :raises StoreUnavailable: when the system does not allow it.
        """
        if self.file is None:
            return
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                self._give_to_owner_of_directory(self.file)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot make the store {self.file}: {error.strerror}; run this as the user of smartproxy-backend, or "
                f"name another directory with --state-dir or {STATE_DIRECTORY_VARIABLE}"
            ) from error

    def check(self) -> None:
        """See that the file is there, ours and nobody else's.

        :raises StoreUnavailable: saying which of these it is not.
        """
        if self.file is None:
            return
        try:
            found = self.file.stat().st_mode
            allowed = os.access(self.file, os.R_OK | os.W_OK)
        except FileNotFoundError:
            raise StoreUnavailable(
                f"there is no SmartProxy store at {self.file}; make one with "
                f"'smartproxy authority create --site NAME', or name its directory with --state-dir "
                f"or {STATE_DIRECTORY_VARIABLE}"
            ) from None
        except PermissionError:
            found, allowed = stat.S_IFREG, False
        except OSError as error:
            raise StoreUnavailable(f"cannot open the store {self.file}: {error.strerror}") from error
        if not allowed:
            raise StoreUnavailable(
                f"cannot open the store {self.file}: permission denied; run this as the user of smartproxy-backend"
            )
        if not stat.S_ISREG(found):
            raise StoreUnavailable(
                f"cannot open the store {self.file}: it is no file; name its folder with --state-dir"
            )
        if found & 0o077:
            raise StoreUnavailable(
                f"others may read the store {self.file} (mode {stat.S_IMODE(found):04o}), and private keys are in it; "
                f"run: chmod 600 {self.file}"
            )

    @staticmethod
    def _give_to_owner_of_directory(file: Path) -> None:
        """Root makes the store for the user that the daemon runs as: the owner of the directory."""
        if os.geteuid() == 0:
            owner = file.parent.stat()
            os.chown(file, owner.st_uid, owner.st_gid)
