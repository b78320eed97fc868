"""The databases that tests of the store run on: SQLite, and a PostgreSQL server that the test run starts itself.

One server a process, when the first test asks for it: an unprivileged user's, in a temporary folder, on a UNIX socket
there. It ends with the process, however that ends. On both, a test gets a copy of a template that has the tables
already: to make them takes longer than most tests.
"""

import atexit
import ctypes
import enum
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import new_class
from typing import Any, ClassVar

import attrs
from sqlalchemy import create_engine, text

from smartproxy.backend.location import Location
from smartproxy.backend.store import Store
from tests.programs import program

SERVER_USER = "postgres"
"""Whom the server runs as where the tests run as root: Debian's package makes this user."""
TEMPLATE = "made"
STARTING_SECONDS = 720.0
"""How long the server may take to start: many times what it takes on a quiet machine. Its end is seen at once."""
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "timezone": "Europe/Berlin",
    "log_destination": "stderr",
}
"""Quick, for data that nobody keeps; its time zone is not ours, so that a test notices where it is used."""
_PR_SET_PDEATHSIG = 1


class Database(enum.Enum):
    """The kinds of database that a test can have."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@attrs.define
class PostgresServer:
    """A PostgreSQL server of this process.

    :ivar folder: its data, its socket and its log.
    :ivar extra: options beside :data:`OPTIONS`.
    """

    folder: Path = attrs.field(factory=lambda: Path(tempfile.mkdtemp(prefix="smartproxy-pg-")))
    extra: dict[str, str] = attrs.field(factory=dict)
    _process: "subprocess.Popen[bytes] | None" = None
    _engine: Any = None
    _count: int = 0

    def start(self) -> None:
        """Make the server's files, start it, and make the template.

        :raises unittest.SkipTest: if PostgreSQL is missing.
        """
        initdb = program("initdb")
        _give(self.folder)
        data = self.folder / "data"
        command = [initdb, "-D", str(data), "-U", SERVER_USER, "--auth=trust", "--no-sync", "--encoding=UTF8"]
        subprocess.run([*command, "--locale=C"], check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **_user())
        atexit.register(self.remove)
        self.run()
        self.make(TEMPLATE)
        Store.open(Location(self.folder, _with_driver(self.url(TEMPLATE))), make=True).close()

    def run(self) -> None:
        """Run the server, and wait until it answers."""
        settings = {"unix_socket_directories": str(self.folder), **OPTIONS, **self.extra}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [program("postgres"), "-D", str(self.folder / "data"), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            cwd=self.folder,
            preexec_fn=_end_with_parent,
            **_user(),
        )
        ready = [program("pg_isready"), "-q", "-h", str(self.folder), "-U", SERVER_USER]
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline:
            if subprocess.run(ready, check=False).returncode == 0:
                return
            if self._process.poll() is not None:
                break
            # pg_isready asks once; the pause is the server's time to start, not a guess of a test's.
            subprocess.run(["sleep", "0.05"], check=True)
        raise AssertionError(f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()}")

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End the server: at once, or as the signal says."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()

    def remove(self) -> None:
        """End the server and remove its files."""
        if self._engine is not None:
            self._engine.dispose()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make(self, name: str, template: str | None = None) -> str:
        """Make a database; returns its URL."""
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE {template or "template0"}')
        return self.url(name)

    def new(self, *, tables: bool = True) -> str:
        """Make a database, empty or with the tables of a store that is new; returns its URL."""
        self._count += 1
        return self.make(f"store{self._count}", TEMPLATE if tables else None)

    def drop(self, url: str) -> None:
        """Throw a database away, whoever is connected to it."""
        name = url.partition("///")[2].partition("?")[0]
        if self._process is not None:
            self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        """The URL of a database, as an operator writes it."""
        return f"postgresql:///{name}?host={self.folder}&user={SERVER_USER}"

    def _execute(self, statement: str) -> None:
        if self._engine is None:
            url = _with_driver(self.url("postgres"))
            self._engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        with self._engine.connect() as connection:
            connection.execute(text(statement))


class _Shared:
    """What the tests of this process share: the server, and the octets of an SQLite file that has the tables."""

    server: ClassVar[PostgresServer | None] = None
    file: ClassVar[bytes | None] = None


def server() -> PostgresServer:
    """The server that the tests of this process share; started when it is asked for first.

    :raises unittest.SkipTest: if PostgreSQL is missing.
    """
    if _Shared.server is None:
        made = PostgresServer()
        made.start()
        _Shared.server = made
    return _Shared.server


def put_file(location: Location) -> None:
    """Put an SQLite file in its place that has the tables of a store that is new."""
    if _Shared.file is None:
        with tempfile.TemporaryDirectory(prefix="smartproxy-sqlite-") as folder:
            template = Location.of(folder, None, {})
            Store.open(template, make=True).close()
            assert template.file is not None
            _Shared.file = template.file.read_bytes()
    location.make()
    assert location.file is not None
    location.file.write_bytes(_Shared.file)


class OnBothDatabases:
    """A base of test cases: each class with tests has a twin, whose name ends in ``OnPostgresql``, on PostgreSQL.

    :cvar database: what the tests of this class run on.
    :cvar both: whether subclasses get a twin; false where tests are of SQLite itself, or of no database.
    """

    database: ClassVar[Database] = Database.SQLITE
    both: ClassVar[bool] = True

    def __init_subclass__(cls, **given: Any) -> None:
        """Put the twin beside the class, where trial finds it."""
        super().__init_subclass__(**given)
        tested = any(name.startswith("test_") for name in dir(cls))
        if not tested or not cls.both or "database" in vars(cls):
            return
        name = f"{cls.__name__}OnPostgresql"
        facts = {"database": Database.POSTGRESQL, "__module__": cls.__module__, "__doc__": cls.__doc__}
        twin = new_class(name, (cls,), exec_body=lambda space: space.update(facts))
        setattr(sys.modules[cls.__module__], name, twin)

    def new_database(self, folder: Path, *, tables: bool = True) -> str | None:
        """The URL of a database of the test's own; ``None`` where it is the SQLite file of its state folder.

        :param folder: the state folder; it is made where the file is put there.
        :param tables: whether it has a store's tables already.
        :raises unittest.SkipTest: if PostgreSQL is missing.
        """
        if self.database is Database.SQLITE:
            if tables:
                put_file(Location.of(str(folder), None, {}))
            return None
        url = server().new(tables=tables)
        self.addCleanup(server().drop, url)  # type: ignore[attr-defined]  # of the test case that this is mixed into
        return url


def _with_driver(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:", 1)


def _give(folder: Path) -> None:
    """Let the server's user have a folder."""
    if os.geteuid() == 0:
        shutil.chown(folder, SERVER_USER, SERVER_USER)


def _user() -> dict[str, Any]:
    """Whom the server's programs run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    found = pwd.getpwnam(SERVER_USER)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def _end_with_parent() -> None:
    """Have the kernel end the server when the tests' process is gone, even by kill -9."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
