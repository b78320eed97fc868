"""Where the store is: the state directory and the database's URL.

Makes the directory (0700) and the SQLite file (0600) when a new site is made, and refuses a file that others can read:
the private keys of the site are in it. A URL with a password comes from a file or from the environment, never from the
command line, and is never shown.
"""

import codecs
import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import attrs
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from smartproxy.backend.errors import StoreUnavailable
from smartproxy.backend.sealing import KeyPlace
from smartproxy.policy.places import DATABASE_VARIABLE, STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE

_SECRETS = frozenset({"password", "sslpassword"})
"""Parameters of a URL that are never shown."""
_URL_OCTETS_MOST = 4096


@attrs.frozen
class Location:
    """A state directory, a database URL as SQLAlchemy takes it, and where the keys of the store's secrets are."""

    directory: Path
    url: str = attrs.field(repr=False)
    key: KeyPlace = attrs.field()

    @key.default
    def _key(self) -> KeyPlace:
        return KeyPlace.of(self.directory, {})

    @classmethod
    def of(
        cls, directory: str | None = None, database: str | None = None, environment: Mapping[str, str] | None = None
    ) -> "Location":
        """What the command line says, else what the environment says, else the defaults.

        :param database: a URL, or the path of a file that holds one: it begins with ``/``.
        :raises StoreUnavailable: when that file cannot be used, or a URL on the command line has a password in it.
        """
        told = os.environ if environment is None else environment
        state = Path(directory or told.get(STATE_DIRECTORY_VARIABLE) or STATE_DIRECTORY).absolute()
        url = database or told.get(DATABASE_VARIABLE) or f"sqlite:///{state / 'smartproxy.db'}"
        key = KeyPlace.of(state, told)
        if url.startswith("/"):
            return cls(state, _with_driver(_read(Path(url))), key)
        found = cls(state, _with_driver(url), key)
        if database and found.secrets:
            raise StoreUnavailable(
                "everybody on this machine can read a password in --database; put the URL into a file that only the "
                "backend's user can read, and give the file's path: --database /etc/smartproxy/database"
            )
        return found

    @property
    def kind(self) -> str:
        """The kind of database, such as ``postgresql``; never anything else of the URL."""
        return self.url.partition(":")[0].partition("+")[0]

    @property
    def is_postgresql(self) -> bool:
        """Whether a PostgreSQL server holds the store."""
        return self.kind == "postgresql"

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the URL says behind its question mark."""
        url = self._parsed()
        return {} if url is None else url.query

    @property
    def secrets(self) -> frozenset[str]:
        """What in the URL must not be shown."""
        url = self._parsed()
        if url is None:
            return frozenset()
        found = {str(url.password or ""), *(str(value) for name, value in url.query.items() if name in _SECRETS)}
        return frozenset(found - {""})

    @property
    def shown(self) -> str:
        """The store for people: its file, or the database and its server, without user, password and parameters."""
        url = self._parsed()
        if self.file is not None or url is None:
            return str(self.file or self.kind)
        host = url.host or url.query.get("host") or "this machine"
        return f"{url.database or self.kind} at {host}{f':{url.port}' if url.port else ''}"

    def _parsed(self) -> URL | None:
        """The URL in its parts; ``None`` if it is not one."""
        try:
            return make_url(self.url)
        except (ArgumentError, ValueError):
            return None

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


def _with_driver(url: str) -> str:
    """The URL with the driver that SmartProxy brings, where it names none."""
    for begin in ("postgresql://", "postgres://"):
        if url.startswith(begin):
            return f"postgresql+psycopg://{url.removeprefix(begin)}"
    return url


def _read(file: Path) -> str:
    """The URL in a file: its first line.

    :raises StoreUnavailable: when the file cannot be read, or everybody can read it.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            octets = opened.read(_URL_OCTETS_MOST)
    except OSError as error:
        raise StoreUnavailable(f"cannot read the database's URL in {file}: {error.strerror}") from error
    if mode & 0o007:
        raise StoreUnavailable(
            f"everybody can read {file} (mode {stat.S_IMODE(mode):04o}), and a password may be in it; "
            f"run: chmod o= {file}"
        )
    url = octets.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0].decode("utf-8", "replace").strip()
    if not url or url.startswith("/"):
        raise StoreUnavailable(f"the first line of {file} is no URL of a database")
    return url
