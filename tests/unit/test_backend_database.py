"""What SmartProxy asks of PostgreSQL, what it says of its errors, and how it is told where it is."""

import signal
from pathlib import Path
from typing import ClassVar

from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.errors import StoreBusy, StoreReadOnly, StoreUnavailable, StoreUnreachable
from smartproxy.backend.location import Location
from smartproxy.backend.schema import ClientRow, GenerationRow
from smartproxy.backend.store import Store
from smartproxy.policy.settings import ClientEntry
from tests.databases import Database, PostgresServer, server
from tests.unit.sites import NOW, SiteCase

SECRET = "hunter2-and-more"


class Urls(SynchronousTestCase):
    """A database is named by one URL, from a switch, the environment or a file; its password is never shown."""

    def file(self, line: str, mode: int = 0o600) -> str:
        """Write a file that holds a URL; its path."""
        path = Path(self.mktemp()).absolute()
        path.write_text(f"{line}\nnot this line\n")
        path.chmod(mode)
        return str(path)

    def test_driver(self) -> None:
        """The driver is the one that SmartProxy brings, however the URL begins; another that is named stays."""
        for given in ("postgresql://db/site", "postgres://db/site", "postgresql+psycopg://db/site"):
            found = Location.of("/srv/x", given, {})
            self.assertEqual((found.url, found.kind), ("postgresql+psycopg://db/site", "postgresql"))

    def test_file(self) -> None:
        """A path in the place of a URL is a file whose first line is the URL, on the command line and elsewhere."""
        path = self.file(f"postgresql://smartproxy:{SECRET}@db.example/site", 0o640)
        for found in (Location.of("/srv/x", path, {}), Location.of("/srv/x", None, {"SMARTPROXY_DATABASE": path})):
            self.assertEqual(found.url, f"postgresql+psycopg://smartproxy:{SECRET}@db.example/site")

    def test_files_of_no_use(self) -> None:
        """A file that everybody can read, one that is not there, and one without a URL are refused in a sentence."""
        for path, words in (
            (self.file("postgresql://db/site", 0o644), "chmod o="),
            ("/no/such/file", "No such file"),
            (self.file(""), "is no URL"),
        ):
            self.assertIn(words, str(self.assertRaises(StoreUnavailable, Location.of, "/srv/x", path, {})))

    def test_password_on_the_command_line(self) -> None:
        """A password in a switch is refused: the list of processes shows it. The environment may have one."""
        for url in (f"postgresql://u:{SECRET}@db/site", f"postgresql://db/site?password={SECRET}"):
            refused = str(self.assertRaises(StoreUnavailable, Location.of, "/srv/x", url, {}))
            self.assertIn("everybody on this machine can read a password in --database", refused)
            self.assertNotIn(SECRET, refused)
            Location.of("/srv/x", None, {"SMARTPROXY_DATABASE": url})

    def test_not_shown(self) -> None:
        """What is shown of a place is the database and its server."""
        found = Location.of("/srv/x", None, {"SMARTPROXY_DATABASE": f"postgresql://u:{SECRET}@db.example:5433/site"})
        self.assertEqual(found.shown, "site at db.example:5433")
        self.assertNotIn(SECRET, repr(found))

    def test_not_shown_when_wrong(self) -> None:
        """A URL that cannot be used, and a server that is not there, are told without the password."""
        nowhere = f"postgresql://u:{SECRET}@127.0.0.1:1/site?connect_timeout=2"
        for url in (nowhere, f"postgresql://u:{SECRET}@[::1/site", f"nosuch://u:{SECRET}@db/site"):
            location = Location.of("/srv/x", None, {"SMARTPROXY_DATABASE": url})
            refused = self.assertRaises(StoreUnavailable, Store.open, location)
            self.assertNotIn(SECRET, f"{refused} {refused.__cause__} {refused.__cause__!r}")
            self.assertEqual(len(str(refused).splitlines()), 1)


class Postgresql(SiteCase):
    """A store on PostgreSQL."""

    database = Database.POSTGRESQL
    both = False

    def test_a_reader_sees_one_state(self) -> None:
        """What is changed while somebody reads is not seen by that reader, from one statement to the next."""
        with self.store.reading() as reader:
            before = reader.query(GenerationRow).count()
            with self.change():
                pass
            self.assertEqual(reader.query(GenerationRow).count(), before)
        with self.store.reading() as reader:
            self.assertEqual(reader.query(GenerationRow).count(), before + 1)

    def test_zone(self) -> None:
        """Times are UTC, whatever zone the server is set to."""
        with self.store.reading() as session:
            self.assertEqual(session.scalar(text("SHOW timezone")), "UTC")
            self.assertEqual(str(session.query(GenerationRow).one().made), "2026-11-20 12:00:00+00:00")

    def test_connection_ended(self) -> None:
        """A connection that the server ends in the middle of a change is one line; nothing is kept, and it goes on."""

        def end_it() -> None:
            with self.store.writing() as session:
                session.add(ClientRow(name="a", entry=ClientEntry(name="a", token_sha256="0" * 64, created=NOW)))
                session.flush()
                session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

        refused = self.assertRaises(StoreUnreachable, end_it)
        self.assertIn("cannot be reached: terminating connection due to administrator command", str(refused))
        self.assertEqual(len(str(refused).splitlines()), 1)
        with self.store.reading() as session:
            self.assertEqual(session.query(ClientRow).count(), 0)

    def test_lost_while_kept(self) -> None:
        """When the connection is lost at the very end, it is said that nobody knows whether the change was kept."""

        def end_it() -> None:
            with self.store.writing() as session:
                number = session.scalar(text("SELECT pg_backend_pid()"))
                with self.store.engine.connect() as other:
                    other.execute(text(f"SELECT pg_terminate_backend({number}, 5000)"))

        said = str(self.assertRaises(StoreUnreachable, end_it))
        self.assertIn("look with 'smartproxy history' before you repeat it", said)
        self.assertNotIn("try again", said)

    def test_conflicts(self) -> None:
        """What PostgreSQL says of a conflict, a deadlock, a lock or a time limit is a store that is busy."""
        for state in ("40001", "40P01", "55P03", "57014"):

            def refuse(state: str = state) -> None:
                with self.store.writing() as session:
                    session.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"))

            refused = self.assertRaises(StoreBusy, refuse)
            self.assertNotIsInstance(refused, StoreUnreachable)
            self.assertIn("try again", str(refused))

    def test_standby(self) -> None:
        """A server that takes no changes is not passed off as one that is busy."""

        def write() -> None:
            with self.store.writing() as session:
                session.execute(text("SET TRANSACTION READ ONLY"))
                session.execute(text("DELETE FROM events"))

        self.assertIn("standby", str(self.assertRaises(StoreReadOnly, write)))

    def test_values_are_not_shown(self) -> None:
        """An error of the database does not carry the values of the statement: keys are among them."""

        def twice() -> None:
            with self.store.writing() as session:
                for _ in range(2):
                    entry = ClientEntry(name=SECRET, token_sha256="0" * 64, created=NOW)
                    session.execute(insert(ClientRow), [{"name": "a", "entry": entry}])

        self.assertNotIn("token_sha256': '", str(self.assertRaises(IntegrityError, twice)))

    def test_empty_database(self) -> None:
        """A database without a store is not given one by looking; it says what makes one."""
        url = server().new(tables=False)
        self.addCleanup(server().drop, url)
        location = Location.of(str(self.folder), url, {})
        self.assertIn("authority create", str(self.assertRaises(StoreUnavailable, Store.open, location)))
        Store.open(location, make=True).close()
        Store.open(location).close()

    def test_sorts_otherwise(self) -> None:
        """A database that would sort names by a language is refused, with the statement that makes a right one."""
        url = server().make("icu", "template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'")
        self.addCleanup(server().drop, url)
        location = Location.of(str(self.folder), url, {})
        refused = str(self.assertRaises(StoreUnavailable, Store.open, location, make=True))
        self.assertIn("CREATE DATABASE icu TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'", refused)


class Restarts(SynchronousTestCase):
    """The server of the database is restarted under a store that is open."""

    own: ClassVar[PostgresServer]

    def test_restart(self) -> None:
        """While it is down that is one line; when it is back, the same store goes on without being opened again."""
        own = PostgresServer()
        own.start()
        self.addCleanup(own.remove)
        store = Store.open(Location.of("/srv/x", own.new(), {}))
        self.addCleanup(store.close)

        def generations() -> int:
            with store.reading() as session:
                return session.query(GenerationRow).count()

        self.assertEqual(generations(), 0)
        own.stop(signal.SIGINT)
        refused = self.assertRaises(StoreUnreachable, generations)
        self.assertIn("the database cannot be reached: ", str(refused))
        self.assertEqual(len(str(refused).splitlines()), 1)
        own.run()
        self.assertEqual(generations(), 0)
