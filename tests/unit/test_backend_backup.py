"""A backup of the store, and its way back: everything, on both databases, from one to the other, or nothing."""

import gzip
import io
import json
import shutil
from datetime import timedelta
from pathlib import Path

from smartproxy.backend import backup, clients, identities, licences, settings, trials
from smartproxy.backend.certificates import fitting
from smartproxy.backend.errors import ChangeRefused, Unusable
from smartproxy.backend.generations import newest_document, newest_tag
from smartproxy.backend.location import Location
from smartproxy.backend.schema import EventRow, SiteRow
from smartproxy.backend.sealing import StoreSealed
from smartproxy.backend.store import Store
from smartproxy.testing.pki import TestCa
from tests.databases import Database, server
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, PROXY_ID, SiteCase


class Backups(SiteCase):
    """A site with something in many tables."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        shown = TestCa.root("odette").issue("proxy")
        with self.change() as change:
            identities.keep(change, "main", fitting(shown.key, [shown.certificate], "x"))
            clients.add(change, "inner")
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=60), limits={})
        with self.change(now=NOW + timedelta(microseconds=123_457)) as change:
            settings.put(change, "server.deadlines.ssid", 45)
        with self.store.writing() as session:
            trials.ask(session, None, NOW)

    def written(self) -> bytes:
        """A backup."""
        out = io.BytesIO()
        backup.write(self.store, NOW, out)
        return out.getvalue()

    def empty(self, database: Database, *, key: bool = True) -> Store:
        """An empty store in another place, with the key of the first if it is wanted."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        url = None
        if database is Database.POSTGRESQL:
            url = server().new(tables=False)
            self.addCleanup(server().drop, url)
        if key:
            shutil.copy(self.location.directory / "store.key", folder / "store.key")
        store = Store.open(Location.of(str(folder), url, {}), make=True)
        self.addCleanup(store.close)
        return store

    def lines(self) -> list[bytes]:
        """The lines of a backup."""
        return gzip.decompress(self.written()).splitlines(keepends=True)

    def refused(self, lines: list[bytes]) -> str:
        """Why such a backup is refused; nothing of it is kept."""
        other = self.empty(self.database)
        said = str(self.assertRaises(Unusable, backup.restore, other, io.BytesIO(gzip.compress(b"".join(lines)))))
        with other.reading() as session:
            self.assertEqual((session.query(SiteRow).count(), session.query(EventRow).count()), (0, 0))
        return said

    def test_restored(self) -> None:
        """A restored store is the same, on the same kind of database and on the other; it goes on from there."""
        for database in Database:
            other = self.empty(database)
            facts = backup.restore(other, io.BytesIO(self.written()))
            self.assertEqual((facts.site, facts.generation, facts.rows["clients"]), ("Muster GmbH", 3, 1))
            with self.store.reading() as session, other.reading() as restored:
                self.assertEqual(newest_document(restored), newest_document(session))
                self.assertEqual(newest_tag(restored), newest_tag(session))
                first, second = session.query(SiteRow).one(), restored.query(SiteRow).one()
                self.assertEqual(second.authority_key, first.authority_key)
            again = io.BytesIO()
            backup.write(other, NOW, again)
            self.assertEqual(gzip.decompress(again.getvalue()).splitlines(keepends=True)[1:], self.lines()[1:])
            with other.writing() as session:
                self.assertEqual(trials.ask(session, None, NOW).number, 2)

    def test_one_state(self) -> None:
        """What others write meanwhile does not wait, and is in the backup as a whole or not at all."""
        other = Store.open(self.location)
        self.addCleanup(other.close)
        before = self.lines()
        with other.writing() as session:
            trials.ask(session, None, NOW)
            self.assertEqual(self.lines()[1:], before[1:])
        self.assertNotEqual(self.lines()[1:], before[1:])

    def test_nothing_readable(self) -> None:
        """Private keys are encrypted in the file as they are in the store, and the key is not in it."""
        plain = gzip.decompress(self.written())
        self.assertNotIn(b"PRIVATE KEY", plain)
        self.assertNotIn((self.location.directory / "store.key").read_bytes().strip(), plain)

    def test_without_the_key(self) -> None:
        """Without the key nothing is restored: it would be a site that cannot do anything."""
        other = self.empty(self.database, key=False)
        refused = str(self.assertRaises(StoreSealed, backup.restore, other, io.BytesIO(self.written())))
        self.assertIn("store.key", refused)
        self.assertFalse((other.location.directory / "store.key").exists())
        with other.reading() as session:
            self.assertEqual(session.query(SiteRow).count(), 0)

    def test_not_empty(self) -> None:
        """A store that has a site keeps it."""
        refused = str(self.assertRaises(ChangeRefused, backup.restore, self.store, io.BytesIO(self.written())))
        self.assertIn("there is a site", refused)

    def test_changed_files(self) -> None:
        """A file that was cut off, changed, or made of other tables is refused as a whole."""
        lines = self.lines()
        self.assertIn("cut off", self.refused(lines[:-1]))
        events = next(number for number, line in enumerate(lines) if line.startswith(b'["events"'))
        self.assertIn("table events is not what it says", self.refused([*lines[:events], *lines[events + 1 :]]))
        self.assertIn("is not what it says", self.refused([line.replace(b"alice", b"mallory") for line in lines]))
        self.assertIn("does not fit", self.refused([lines[0], b'["site",[1]]\n', *lines[2:]]))
        self.assertIn("does not fit", self.refused([lines[0], b'["nothing",[1]]\n', *lines[1:]]))
        head = {**json.loads(lines[0]), "tables_at": "0000", "version": "9.9"}
        self.assertIn("made by SmartProxy 9.9", self.refused([json.dumps(head).encode() + b"\n", *lines[1:]]))

    def test_no_backup(self) -> None:
        """What is no backup at all, or only the beginning of one, is refused in a sentence."""
        whole = self.written()
        for octets in (
            b"",
            b"{}",
            b"\x1f\x8b",
            whole[: len(whole) // 2],
            gzip.compress(b"{}\n"),
            gzip.compress(b"x\n"),
        ):
            self.assertRaises(Unusable, backup.restore, self.empty(Database.SQLITE), io.BytesIO(octets))


class Command(CommandCase):
    """``smartproxy backup`` and ``restore``."""

    def test_there_and_back(self) -> None:
        """A backup is a file for its owner only; it is restored into an empty folder, which then is the site."""
        self.do("client", "add", "inner")
        path = self.folder / "site.backup"
        done = self.do("backup", str(path))
        self.assertIn("Muster GmbH, generation 2", done.out)
        self.assertIn("keep", done.out)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn("is there already", self.refused("backup", str(path)))
        other = self.folder / "other"
        other.mkdir(mode=0o700)
        place = ("--state-dir", str(other), "--database", f"sqlite:///{other.absolute()}/smartproxy.db")
        self.assertIn("store.key", self.refused("restore", str(path), *place))
        shutil.copy(self.state / "store.key", other / "store.key")
        restored = self.do("restore", str(path), *place, "--json").json
        self.assertEqual((restored["generation"], restored["rows"]["clients"]), (2, 1))
        shown = [self.do("client", "list", "--json", *where).json for where in ((), place)]
        self.assertEqual(shown[0], shown[1])
        self.do("client", "add", "second", *place)

    def test_nothing_left(self) -> None:
        """A file that is cut off, or was changed, leaves no store behind: not even an empty one."""
        self.do("client", "add", "inner")
        path = self.folder / "site.backup"
        self.do("backup", str(path))
        whole = path.read_bytes()
        lines = gzip.decompress(whole).splitlines(keepends=True)
        changed = b"".join(lines).replace(b'"inner"', b'"outer"')
        other = self.folder / "other"
        place = ("--state-dir", str(other), "--database", f"sqlite:///{other.absolute()}/smartproxy.db")
        for octets, told in (
            (whole[: len(whole) // 2], "cut off"),
            (whole[:-1], "cut off"),
            (gzip.compress(b"".join(lines[:-1])), "cut off"),
            (gzip.compress(b"".join(lines[:-2] + lines[-1:])), "is not what it says"),
            (gzip.compress(changed), "is not what it says"),
        ):
            path.write_bytes(octets)
            self.assertIn(told, self.refused("restore", str(path), *place))
            self.assertFalse(other.exists() and [*other.iterdir()], told)
        other.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self.state / "store.key", other / "store.key")
        path.write_bytes(whole)
        self.do("restore", str(path), *place)

    def test_not_there(self) -> None:
        """A file that is not there, and one that cannot be written, are one line."""
        self.assertIn("No such file", self.refused("restore", str(self.folder / "none")))
        self.assertIn("cannot write", self.refused("backup", str(self.folder / "none" / "x")))
