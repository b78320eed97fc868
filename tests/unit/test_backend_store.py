"""The store: where it is, who may read it, how its tables come to be, and what its transactions promise."""

import contextlib
import os
import sqlite3
import stat
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from unittest.mock import patch

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import ConnectionTimeout
from sqlalchemy import DateTime, Dialect, func, inspect, select, text
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import authority, database, history, migrations, tables
from smartproxy.backend.columns import UtcTime
from smartproxy.backend.database import BUSY_MILLISECONDS
from smartproxy.backend.errors import StoreBusy, StoreFull, StoreUnavailable, StoreUnreachable
from smartproxy.backend.generations import changing
from smartproxy.backend.location import Location
from smartproxy.backend.schema import REVISION, ClientRow
from smartproxy.backend.store import Store
from smartproxy.policy.settings import ClientEntry
from tests.unit.sites import NOW, SiteCase


def client(name: str) -> ClientRow:
    """A row that stands for nothing."""
    return ClientRow(name=name, entry=ClientEntry(name=name, token_sha256="0" * 64, created=NOW))


class WhereTheStoreIs(SynchronousTestCase):
    """The command line wins over the environment, and that over the defaults."""

    def test_order(self) -> None:
        """A folder named on the command line, then the environment's, then the default."""
        environment = {"SMARTPROXY_STATE_DIR": "/srv/env"}
        self.assertEqual(Location.of("/srv/told", environment=environment).directory, Path("/srv/told"))
        self.assertEqual(Location.of(environment=environment).directory, Path("/srv/env"))
        self.assertEqual(Location.of(environment={}).directory, Path("/var/lib/smartproxy"))

    def test_database(self) -> None:
        """Without a database URL the store is an SQLite file in the folder; with one, no file is made or judged."""
        self.assertEqual(Location.of("/srv/x", environment={}).file, Path("/srv/x/smartproxy.db"))
        elsewhere = Location.of("/srv/x", "postgresql://db/smartproxy", {})
        self.assertIsNone(elsewhere.file)
        elsewhere.make()
        elsewhere.check()
        named = Location.of("/srv/x", None, {"SMARTPROXY_DATABASE": "sqlite:////srv/y/site.db"})
        self.assertEqual(named.file, Path("/srv/y/site.db"))

    def test_unknown_database(self) -> None:
        """A URL of a database that is not known is one sentence, not a traceback."""
        for url in ("nosuch://x/y", "what is this"):
            error = self.assertRaises(StoreUnavailable, Store.open, Location.of("/srv/x", url, {}))
            self.assertIn("cannot use the database", str(error))


class WhoMayReadIt(SynchronousTestCase):
    """Private keys are in the store: its file is for its owner only."""

    def setUp(self) -> None:
        """A place for a store that is not there yet."""
        self.folder = Path(self.mktemp())
        self.location = Location.of(str(self.folder), environment={})

    def test_modes(self) -> None:
        """The folder is made 0700 and the file 0600, whatever the umask, and so are SQLite's own files beside it."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        store = Store.open(self.location, make=True)
        self.addCleanup(store.close)
        with store.writing() as session:
            session.add(client("a"))
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        for file in self.folder.iterdir():
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600, file)

    def test_readable_by_others(self) -> None:
        """A file that others may read is refused, with the command that mends it."""
        Store.open(self.location, make=True).close()
        file = self.folder / "smartproxy.db"
        file.chmod(0o640)
        error = self.assertRaises(StoreUnavailable, Store.open, self.location)
        self.assertIn(f"chmod 600 {file.absolute()}", str(error))

    def test_not_there(self) -> None:
        """Without a store, the sentence says how to make one; nothing is made by looking."""
        error = self.assertRaises(StoreUnavailable, Store.open, self.location)
        self.assertIn("smartproxy authority create", str(error))
        self.assertFalse(self.folder.exists())

    def test_not_allowed(self) -> None:
        """A store of another user is refused with a word about who should run the command."""
        Store.open(self.location, make=True).close()
        with patch("os.access", return_value=False):
            error = self.assertRaises(StoreUnavailable, Store.open, self.location)
        self.assertIn("run this as the user of smartproxy-backend", str(error))

    def test_cannot_be_made(self) -> None:
        """A folder that cannot be made, and one below a file, are sentences too."""
        self.folder.write_bytes(b"")
        below = Location.of(str(self.folder / "x"), environment={})
        self.assertIn("cannot make the store", str(self.assertRaises(StoreUnavailable, below.make)))
        self.assertIn("cannot open the store", str(self.assertRaises(StoreUnavailable, below.check)))

    def test_not_a_database(self) -> None:
        """A file that is no database is refused and left alone."""
        self.folder.mkdir()
        file = self.folder / "smartproxy.db"
        file.write_bytes(b"not a database, certainly not one " * 40)
        file.chmod(0o600)
        error = self.assertRaises(StoreUnavailable, Store.open, self.location)
        self.assertIn("not a database", str(error))
        self.assertTrue(file.read_bytes().startswith(b"not a database"))

    def test_another_programs_database(self) -> None:
        """A database of another program is refused, to a reader and where a store is to be made, and left alone."""
        self.folder.mkdir()
        file = self.folder / "smartproxy.db"
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE invoices (id INTEGER)")
        file.chmod(0o600)
        before = file.read_bytes()
        for make in (False, True):
            error = self.assertRaises(StoreUnavailable, Store.open, self.location, make=make)
            self.assertIn("is no SmartProxy store: another program has its tables there (invoices)", str(error))
            self.assertEqual((file.read_bytes(), list(self.folder.iterdir())), (before, [file]))

    def test_empty_file(self) -> None:
        """An empty file is no empty site: a reader is told how to make one, and makes nothing."""
        self.location.make()
        error = self.assertRaises(StoreUnavailable, Store.open, self.location)
        self.assertIn("smartproxy authority create", str(error))
        self.assertEqual([path.stat().st_size for path in self.folder.iterdir()], [0])
        Store.open(self.location, make=True).close()
        Store.open(self.location).close()

    def test_made_by_root(self) -> None:
        """Root makes the store for the owner of the folder, whom the daemon runs as."""
        given: list[tuple[str, int, int]] = []
        self.folder.mkdir()
        owner = self.folder.stat()
        with (
            patch("os.geteuid", return_value=0),
            patch("os.chown", side_effect=lambda path, uid, gid: given.append((str(path), uid, gid))),
        ):
            self.location.make()
        self.assertEqual(given, [(str(self.location.file), owner.st_uid, owner.st_gid)])


LATER = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "{previous}"


def upgrade():
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
"""
"""A migration after the newest."""


class Tables(SiteCase):
    """The migrations make exactly the tables that the code declares."""

    founded = False

    def test_same_as_declared(self) -> None:
        """Alembic finds no difference between the migrated store and the declarations."""
        with self.store.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            self.assertEqual(compare_metadata(context, tables.METADATA), [])

    def test_modules(self) -> None:
        """Each module of tables is one that a backup, another key and the migrations go through."""
        declared = {path.stem for path in Path(tables.__file__).parent.glob("*_tables.py")} | {"schema"}
        self.assertEqual({module.__name__.rpartition(".")[2] for module in tables.MODULES}, declared)

    def test_revision(self) -> None:
        """The revision that the store compares with is the newest migration."""
        script = ScriptDirectory.from_config(migrations.configuration())
        self.assertEqual(script.get_current_head(), REVISION)

    def test_newer_store(self) -> None:
        """A store that a newer SmartProxy made is refused with what to update, and is not touched."""
        with self.store.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        error = self.assertRaises(StoreUnavailable, Store.open, self.location)
        self.assertIn("newer SmartProxy", str(error))
        self.assertIn("9999", str(error))

    def test_brought_up_to_date_meanwhile(self) -> None:
        """A backend whose store a newer command brought up to date does nothing more, and says what to restart."""
        with self.store.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for transaction in (self.store.reading, self.store.writing):
            refused = str(self.assertRaises(StoreUnavailable, transaction().__enter__))
            self.assertIn("restart smartproxy-backend", refused)
            self.assertIn("9999", refused)

    def test_older_store(self) -> None:
        """A store of before is brought up to date by whichever program opens it first, with what it holds."""
        with self.change("authority create") as change:
            authority.create(change, "Muster GmbH", ["backend.example"])
        newer = Path(self.mktemp())
        newer.mkdir()
        (newer / "v9999_later.py").write_text(LATER.format(previous=REVISION))
        configuration = migrations.configuration()
        kept = Path(migrations.__file__).parent / "versions"
        configuration.set_main_option("version_locations", f"{kept}{os.pathsep}{newer.absolute()}")
        with (
            patch("smartproxy.backend.migrations.configuration", return_value=configuration),
            patch("smartproxy.backend.store.REVISION", "9999"),
        ):
            again = Store.open(self.location)
            self.addCleanup(again.close)
            with again.reading() as session:
                self.assertEqual(session.scalar(text("SELECT count(*) FROM later")), 0)
                self.assertEqual(authority.load(session).site, "Muster GmbH")

    def test_opened_again(self) -> None:
        """A store that is up to date is opened without a migration."""
        with patch("smartproxy.backend.migrations.upgrade", side_effect=AssertionError):
            Store.open(self.location).close()


class Transactions(SiteCase):
    """All or nothing, one writer after the other, foreign keys kept."""

    founded = False

    def count(self) -> int | None:
        """How many clients there are."""
        with self.store.reading() as session:
            return session.scalar(select(func.count()).select_from(ClientRow))

    def test_nothing_of_what_failed(self) -> None:
        """An exception in the block leaves nothing behind."""

        def fail() -> None:
            with self.store.writing() as session:
                session.add(client("a"))
                session.flush()
                raise RuntimeError

        self.assertRaises(RuntimeError, fail)
        self.assertEqual(self.count(), 0)

    def test_reading_changes_nothing(self) -> None:
        """What is added in a reading transaction is not kept."""
        with self.store.reading() as session:
            session.add(client("a"))
            session.flush()
        self.assertEqual(self.count(), 0)

    def test_writers_wait(self) -> None:
        """Two that read and then write at once both succeed, one after the other: nothing is lost."""
        first_in, go = threading.Event(), threading.Event()
        seen: list[int] = []

        def write(name: str, inside: threading.Event | None) -> None:
            with self.store.writing() as session:
                seen.append(session.scalar(select(func.count()).select_from(ClientRow)) or 0)
                if inside is not None:
                    inside.set()
                    go.wait(10)
                session.add(client(name))

        first = threading.Thread(target=write, args=("a", first_in))
        first.start()
        first_in.wait(10)
        second = threading.Thread(target=write, args=("b", None))
        second.start()
        go.set()
        first.join(10)
        second.join(10)
        self.assertEqual(seen, [0, 1])
        self.assertEqual(self.count(), 2)

    def test_the_lock_comes_first(self) -> None:
        """A writer takes the lock before it reads; a store that another keeps locked is busy, and not broken."""
        with patch("smartproxy.backend.database.BUSY_MILLISECONDS", 20):
            other = Store.open(self.location)
        self.addCleanup(other.close)

        def read_too() -> None:
            with other.writing() as session:
                session.scalar(select(func.count()).select_from(ClientRow))

        with self.store.writing():
            self.assertIn("try again", str(self.assertRaises(StoreBusy, read_too)))
        read_too()

    def test_many_writers(self) -> None:
        """Programs that change the configuration at once get a number each, and none hears of a lock."""
        with self.change() as change:
            authority.create(change, "Muster GmbH", ["backend.example"])
        numbers: list[int] = []
        faults: list[BaseException] = []

        def write(location: Location) -> None:
            store = Store.open(location)
            try:
                for _ in range(5):
                    with changing(store, by="alice", what="test", now=NOW) as change:
                        numbers.append(change.generation)
            except BaseException as fault:
                faults.append(fault)
            finally:
                store.close()

        threads = [threading.Thread(target=write, args=(self.location,)) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertEqual((faults, sorted(numbers)), ([], list(range(2, 32))))
        with self.store.reading() as session:
            self.assertEqual([each.number for each in history.listed(session, 99)], list(range(1, 32)))

    def test_broken_is_not_busy(self) -> None:
        """Another fault of the database is not passed off as a lock."""

        def break_it() -> None:
            with self.store.reading() as session:
                session.execute(text("SELECT * FROM nothing"))

        self.assertRaises(DBAPIError, break_it)

    def test_foreign_keys(self) -> None:
        """A row cannot point to one that is not there."""

        def point() -> None:
            with self.store.writing() as session:
                session.execute(text("CREATE TABLE one (id INTEGER PRIMARY KEY)"))
                session.execute(text("CREATE TABLE other (id INTEGER REFERENCES one (id))"))
                session.execute(text("INSERT INTO other VALUES (7)"))

        self.assertRaises(IntegrityError, point)


class FaultsOfPostgresql(SynchronousTestCase):
    """What its driver says of a server that does not answer."""

    def test_away(self) -> None:
        """Every kind of operational error without a code of the server says that it cannot be reached."""
        location = Location(Path("/nowhere"), "postgresql+psycopg://user@db.example/smartproxy")

        def fail() -> None:
            with database.in_words(location):
                raise OperationalError("SELECT", {}, ConnectionTimeout("timeout expired"))

        self.assertIn("cannot be reached", str(self.assertRaises(StoreUnreachable, fail)))


class FaultsOfSqlite(SiteCase):
    """What SQLite says of its file and its disk, in words that say what to do."""

    both = False

    def told(self, code: int, free: int = 1 << 30) -> str:
        """What an operator is told of an error code, with so much room on the disk."""
        fault = sqlite3.OperationalError("disk I/O error")
        fault.sqlite_errorcode = code
        room = os.statvfs_result((1, 1, free, free, free, 0, 0, 0, 0, 255))

        def fail() -> None:
            with database.in_words(self.location):
                raise DBAPIError("SELECT", {}, fault)

        with patch("os.statvfs", return_value=room):
            return str(self.assertRaises(StoreUnavailable, fail))

    def test_told(self) -> None:
        """Each fault of the file or the disk has its own words, also with the details that SQLite adds to a code."""
        self.assertIn("cannot be written", self.told(sqlite3.SQLITE_READONLY_DIRECTORY))
        self.assertIn("cannot be written", self.told(sqlite3.SQLITE_CANTOPEN))
        self.assertIn("restore a backup", self.told(sqlite3.SQLITE_CORRUPT_INDEX))
        self.assertIn("not a database", self.told(sqlite3.SQLITE_NOTADB))
        self.assertIn("errors in the system's log", self.told(sqlite3.SQLITE_IOERR_READ))
        self.assertIn("is full; make room", self.told(sqlite3.SQLITE_FULL))
        self.assertIn("is full; make room", self.told(sqlite3.SQLITE_IOERR_SHMSIZE, free=1000))
        self.assertIn("is full; make room", self.told(sqlite3.SQLITE_CANTOPEN, free=1000))

    def test_full(self) -> None:
        """A store that has no room is told so, and what was stored before is still there."""

        def fill() -> None:
            with self.store.writing() as session:
                session.execute(text("PRAGMA max_page_count = 1"))
                session.execute(text("CREATE TABLE large (content BLOB)"))
                session.execute(text("INSERT INTO large VALUES (zeroblob(100000))"))

        self.assertIn("is full; make room", str(self.assertRaises(StoreFull, fill)))
        self.assertIn(str(self.location.file), str(self.store.last_write.full))
        with self.store.reading() as session:
            self.assertNotIn("large", inspect(session.connection()).get_table_names())

    def test_damaged(self) -> None:
        """A store whose pages are not what they were is told to be damaged."""
        self.store.close()
        file = self.location.file
        assert file is not None
        octets = file.read_bytes()
        file.write_bytes(octets[:100] + b"\xff" * (len(octets) - 100))
        error = self.assertRaises(StoreUnavailable, Store.open, self.location)
        self.assertIn("is damaged or not a database; restore a backup", str(error))


class Sqlite(SiteCase):
    """What SQLite is told."""

    both = False

    def test_write_ahead_log(self) -> None:
        """Readers do not wait for writers: the file is in WAL mode, and another's lock is waited for."""
        with self.store.engine.connect() as connection:
            self.assertEqual(connection.execute(text("PRAGMA journal_mode")).scalar(), "wal")
            self.assertEqual(connection.execute(text("PRAGMA busy_timeout")).scalar(), BUSY_MILLISECONDS)


class Times(SynchronousTestCase):
    """Times are aware UTC on both sides of the database."""

    dialect: Dialect = dialect()

    def test_zones(self) -> None:
        """Another zone is brought to UTC, and the zone that SQLite forgets is given back."""
        kind = UtcTime()
        berlin = datetime(2026, 11, 20, 13, 0, tzinfo=timezone(timedelta(hours=1)))
        self.assertEqual(kind.process_bind_param(berlin, self.dialect), NOW)
        self.assertEqual(kind.process_result_value(datetime(2026, 11, 20, 12, 0), self.dialect), NOW)
        self.assertEqual(kind.process_result_value(NOW, self.dialect), NOW)

    def test_nothing(self) -> None:
        """No time stays no time."""
        self.assertIsNone(UtcTime().process_bind_param(None, self.dialect))
        self.assertIsNone(UtcTime().process_result_value(None, self.dialect))

    def test_naive(self) -> None:
        """A time without a zone is a mistake."""
        naive = datetime.now(UTC).replace(tzinfo=None)
        self.assertRaises(ValueError, UtcTime().process_bind_param, naive, self.dialect)

    def test_as_sqlalchemy_writes_them(self) -> None:
        """What is written for SQLite is what SQLAlchemy writes and reads there, for any moment."""
        ours, theirs = UtcTime().bind_processor(self.dialect), self.dialect.type_descriptor(DateTime())
        written = theirs.bind_processor(self.dialect)
        assert ours is not None and written is not None
        east = timezone(timedelta(hours=5, minutes=30))
        for moment in (NOW, datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 7, tzinfo=east)):
            self.assertEqual(ours(moment), written(moment.astimezone(UTC)))
        self.assertEqual(ours(datetime(2026, 11, 20, 12, tzinfo=east)), "2026-11-20 06:30:00.000000")
        self.assertIsNone(ours(None))
