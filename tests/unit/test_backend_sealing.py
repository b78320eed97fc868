"""Private keys are encrypted in the store: where the key comes from, what it protects, and how it is changed."""

import os
import stat
from pathlib import Path
from unittest.mock import patch

import attrs
from sqlalchemy import text
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import database, identities, rekeying
from smartproxy.backend.certificates import fitting
from smartproxy.backend.columns import Declared
from smartproxy.backend.errors import ChangeRefused, StoreUnavailable
from smartproxy.backend.generations import newest_document
from smartproxy.backend.location import Location
from smartproxy.backend.schema import Base, IdentityRow, SiteRow, StoreKeyRow
from smartproxy.backend.sealing import KeyPlace, KeyRing, Sealed, StoreKey, StoreSealed
from smartproxy.backend.states import _has_masked
from smartproxy.backend.store import Store
from smartproxy.policy.places import STORE_KEY_VARIABLE
from smartproxy.testing.pki import TestCa
from tests.databases import Database
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, SiteCase

FIRST, SECOND = "11" * 32, "22" * 32


class Secrets(SiteCase):
    """A site with an identity, a request for another one, and a generation."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        shown = TestCa.root("odette").issue("proxy")
        with self.change() as change:
            identities.keep(change, "main", fitting(shown.key, [shown.certificate], "x"))
            identities.request(
                change, identities.make_request("next", identities.Subject(common_name="proxy.example"), "ec-p256")
            )
        self.file = self.location.directory / "store.key"

    def again(self, key: KeyPlace | None = None) -> Store:
        """The same store, opened by another program."""
        store = Store.open(attrs.evolve(self.location, key=key or self.location.key))
        self.addCleanup(store.close)
        return store

    def secrets(self, store: Store) -> list[str]:
        """The keys in a store, and its document."""
        with store.reading() as session:
            site = session.query(SiteRow).one()
            found = [site.authority_key, site.https_key]
            for row in session.query(IdentityRow):
                found += [each.key for each in (row.entry, row.request) if each is not None]
            document = newest_document(session)
        assert document is not None
        return [*found, document[1].decode()]

    def test_nothing_readable(self) -> None:
        """No line of a private key stands in the database, and nothing of the document that has keys in it."""
        known = self.secrets(self.store)
        self.assertEqual(len(known), 5)
        held = self.held()
        self.assertNotIn(b"PRIVATE KEY", held)
        for key in known[:-1]:
            for line in key.splitlines()[1:-1]:
                self.assertNotIn(line.encode(), held)
        self.assertNotIn(known[-1][-200:].encode(), held)

    def test_every_secret_is_sealed(self) -> None:
        """What a class declares as a secret is in no column that is not encrypted; of tokens there are digests only."""
        open_columns = {
            f"{table.name}.{column.name}"
            for table in Base.metadata.sorted_tables
            for column in table.columns
            if isinstance(column.type, Declared) and _has_masked(column.type.within)
        }
        self.assertEqual(open_columns, {"clients.entry"})
        sealed = {
            f"{table.name}.{column.name}": column.type.column
            for table in Base.metadata.sorted_tables
            for column in table.columns
            if isinstance(column.type, Sealed)
        }
        self.assertEqual({name: name for name in sealed}, sealed)
        self.assertLessEqual({"site.authority_key", "site.https_key", "identities.entry"}, sealed.keys())

    def test_key_beside_the_store(self) -> None:
        """Without a key configured one is made in the state folder, for its owner only; other programs find it."""
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertIn("not against", self.location.key.worth)
        self.assertEqual(self.secrets(self.again()), self.secrets(self.store))

    def test_key_is_gone(self) -> None:
        """Without its key the store is refused, saying which key is missing and where; another one is not made."""
        self.file.rename(self.folder / "away")
        (name,) = (key.id for key in KeyPlace(str(self.folder / "away")).read())
        for work in (self.secrets, lambda store: store.writing().__enter__()):
            refused = str(self.assertRaises(StoreSealed, work, self.again()))
            self.assertIn(name, refused)
            self.assertIn(str(self.file), refused)
        self.assertFalse(self.file.exists())

    def test_changed_in_the_database(self) -> None:
        """A secret that was changed, or put into another column, is refused."""
        with self.store.engine.begin() as connection:
            connection.execute(text("UPDATE site SET https_key = authority_key"))
        self.assertIn("site.https_key was changed", str(self.assertRaises(StoreSealed, self.secrets, self.store)))

    def test_rekey(self) -> None:
        """Another key is made and used; a program that runs meanwhile goes on; the old key opens nothing any more."""
        known, running = self.secrets(self.store), self.again()
        self.secrets(running)
        old = self.file.read_text()
        done = rekeying.rekey(self.store, NOW)
        self.assertNotIn(old.strip(), self.file.read_text())
        self.assertEqual(len(self.file.read_text().split()), 1)
        self.assertEqual((done.before, done.secrets), (StoreKey(bytes.fromhex(old.strip())).id, 5))
        for store in (self.store, running, self.again()):
            self.assertEqual(self.secrets(store), known)
        with running.writing() as session:
            settings_row = session.get(StoreKeyRow, 1)
            assert settings_row is not None
            self.assertEqual(settings_row.key, done.after)
        self.assertEqual(running.ring.current, done.after)
        self.file.write_text(old)
        self.assertRaises(StoreSealed, self.secrets, self.again())

    def files(self) -> bytes:
        """The octets of the database's files, as they are on the disk."""
        if self.database is Database.SQLITE:
            return b"".join(file.read_bytes() for file in self.folder.iterdir())
        with self.store.engine.connect() as connection:
            connection.execute(text("CHECKPOINT"))
            read = "SELECT pg_read_binary_file(pg_relation_filepath(oid)) FROM pg_class WHERE relfilenode <> 0"
            return b"".join(connection.execute(text(f"{read} AND relkind IN ('r', 't')")).scalars())

    def test_rekey_leaves_nothing(self) -> None:
        """What was encrypted with the old key is in no file of the database any more."""
        with self.store.engine.connect() as connection:
            old = bytes(connection.execute(text("SELECT authority_key FROM site")).scalar_one())
        self.assertIn(old, self.files())
        self.assertIsNone(rekeying.rekey(self.store, NOW).left)
        self.assertNotIn(old, self.files())

    def test_rekey_while_somebody_reads(self) -> None:
        """Where somebody reads, all is encrypted anew, and it is said how to have the rest done."""
        running = self.again()
        with running.reading() as session:
            session.execute(text("SELECT count(*) FROM site"))
            with patch.object(database, "BUSY_MILLISECONDS", 50):
                done = rekeying.rekey(self.again(), NOW)
        self.assertEqual(done.secrets, 5)
        wanted = {
            Database.SQLITE: "run 'smartproxy store status'",
            Database.POSTGRESQL: "VACUUM (FULL) generations, identities, second_factors, site",
        }
        self.assertIn(wanted[self.database], done.left or "")

    def test_written_by_who_runs(self) -> None:
        """What a program writes that had the store open before is under the new key, too."""
        running = self.again()
        with running.writing():
            pass
        rekeying.rekey(self.store, NOW)
        with running.writing() as session:
            site = session.query(SiteRow).one()
            site.https_key = "new"
        with self.again().reading() as session:
            self.assertEqual(session.query(SiteRow).one().https_key, "new")

    def test_rekey_breaks_off(self) -> None:
        """A change of the key that breaks off leaves a store that can be read, and can be begun again."""
        known = self.secrets(self.store)
        with patch.object(rekeying, "_again", side_effect=RuntimeError):
            self.assertRaises(RuntimeError, rekeying.rekey, self.store, NOW)
        self.assertEqual(len(self.file.read_text().split()), 2)
        for store in (self.store, self.again()):
            self.assertEqual(self.secrets(store), known)
        done = rekeying.rekey(self.again(), NOW)
        self.assertEqual(self.file.read_text().strip(), KeyPlace(str(self.file)).read()[0].octets.hex())
        self.assertEqual(KeyPlace(str(self.file)).read()[0].id, done.after)
        self.assertEqual(self.secrets(self.store), known)

    def test_rekey_elsewhere(self) -> None:
        """A key that is configured is changed by whoever keeps it; it is said how."""
        key = self.folder / "configured"
        key.write_text(self.file.read_text())
        key.chmod(0o640)
        store = self.again(key=KeyPlace(str(key)))
        refused = str(self.assertRaises(ChangeRefused, rekeying.rekey, store, NOW))
        self.assertIn("put a new one in front of it", refused)
        key.write_text(f"{SECOND}\n{self.file.read_text()}")
        self.assertEqual(rekeying.rekey(store, NOW).after, StoreKey(bytes.fromhex(SECOND)).id)
        key.write_text(SECOND)
        self.assertEqual(len(self.secrets(self.again(key=KeyPlace(str(key))))), 5)


class Places(SynchronousTestCase):
    """Where the key of a store can be."""

    def setUp(self) -> None:
        """Make a folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def file(self, text: str, mode: int = 0o600) -> str:
        """Write a file; its path."""
        path = self.folder / "key"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def test_order(self) -> None:
        """What the environment says, then the credential that systemd hands over, then the state folder."""
        told = {STORE_KEY_VARIABLE: "/etc/smartproxy/store.key"}
        self.assertEqual(Location.of("/srv/x", environment=told).key, KeyPlace("/etc/smartproxy/store.key"))
        (self.folder / "smartproxy-store-key").write_text(FIRST)
        passed = {"CREDENTIALS_DIRECTORY": str(self.folder)}
        self.assertEqual(KeyPlace.of(Path("/srv/x"), passed).source, str(self.folder / "smartproxy-store-key"))
        self.assertEqual(KeyPlace.of(Path("/srv/x"), {}), KeyPlace("/srv/x/store.key", own=True))

    def test_forms(self) -> None:
        """A key is a line of hexadecimal digits or of base64; several are several lines; remarks are left out."""
        path = self.file(f"# the store's\n{FIRST}\n\nIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=\n")
        self.assertEqual([key.octets.hex() for key in KeyPlace(path).read()], [FIRST, SECOND])

    def test_no_key(self) -> None:
        """What is no key, a file that everybody reads and one that is not there are refused; nothing of it is shown."""
        for content, mode, words in (
            ("hunter2", 0o600, "64 hexadecimal digits"),
            ("", 0o600, "holds 0 keys"),
            (FIRST, 0o644, "chmod o="),
            (None, 0, "is not there"),
        ):
            path = "/no/such/key" if content is None else self.file(content, mode)
            refused = str(self.assertRaises(StoreUnavailable, KeyPlace(path).read))
            self.assertIn(words, refused)
            self.assertNotIn("hunter2", refused)
            self.assertNotIn(FIRST, refused)

    def test_command(self) -> None:
        """A command prints the key; what goes wrong with it is said without its arguments."""
        self.assertEqual(KeyPlace(f"command:echo {FIRST}").read()[0].octets.hex(), FIRST)
        for command, words in (
            ("sh -c 'exit 3' hunter2", "ended with 3"),
            ("/no/such/program hunter2", "cannot run the command /no/such/program"),
            ("'", "cannot run"),
        ):
            place = KeyPlace(f"command:{command}")
            refused = str(self.assertRaises(StoreUnavailable, place.read))
            self.assertIn(words, refused)
            self.assertNotIn("hunter2", refused)

    def test_slow_command(self) -> None:
        """A command that does not end is not waited for for ever."""
        with patch("smartproxy.backend.sealing.COMMAND_SECONDS", 0.01):
            refused = str(self.assertRaises(StoreUnavailable, KeyPlace("command:sleep 30").read))
        self.assertIn("printed no key within", refused)

    def test_not_shown(self) -> None:
        """A key is in no representation."""
        self.assertNotIn(FIRST, repr(StoreKey(bytes.fromhex(FIRST))))
        self.assertNotIn("1111", StoreKey(bytes.fromhex(FIRST)).id)

    def test_two_values_differ(self) -> None:
        """The same text twice is not the same twice in the database."""
        ring = KeyRing(KeyPlace(self.file(FIRST)))
        ring.use(ring.first())
        first, second = (ring.seal("a.b", b"text") for _ in range(2))
        self.assertNotEqual(first, second)
        self.assertEqual((ring.unseal("a.b", first), ring.unseal("a.b", second)), (b"text", b"text"))
        for wrong in (first[:-1], b"", first[:4]):
            self.assertRaises(StoreSealed, ring.unseal, "a.b", wrong)


class Command(CommandCase):
    """``smartproxy store``."""

    def test_status(self) -> None:
        """It says where the store and its key are, how many secrets there are and what the key's place is worth."""
        shown = self.do("store", "status").out
        self.assertIn(f"{self.state}/store.key; it lies in the same folder as the store", shown)
        document = self.do("store", "status", "--json").json
        self.assertEqual((document["secrets"], document["key_beside_store"]), (3, True))
        if self.database is Database.SQLITE:
            self.assertEqual(document["store"], str(self.state.absolute() / "smartproxy.db"))

    def test_said_when_made(self) -> None:
        """Whoever makes the store is told of the key, once, and what it is worth."""
        other = str(self.folder / "other")
        with patch.dict(os.environ, {"SMARTPROXY_DATABASE": ""}):
            done = self.do("authority", "create", "--site", "Other", "--state-dir", other)
            self.assertIn(f"{other}/store.key for the private keys", done.err)
            self.assertIn("not against anybody who can read this folder", done.err)
            self.assertEqual(self.do("client", "add", "inner", "--state-dir", other).err.count("store.key"), 0)

    def test_rekey(self) -> None:
        """Another key; everything works as before."""
        before = self.do("store", "status", "--json").json["key"]
        done = self.do("store", "rekey", "--json").json
        self.assertEqual((done["before"], done["secrets"]), (before, 3))
        self.assertEqual(self.do("store", "status", "--json").json["key"], done["after"])
        self.do("client", "add", "inner")
        self.assertIn(done["after"], self.do("store", "rekey").out)

    def test_configured(self) -> None:
        """With a key configured none is made beside the store, and nothing is said of one."""
        key = self.file("key", FIRST.encode())
        os.chmod(key, 0o600)
        other = str(self.folder / "other")
        with patch.dict(os.environ, {"SMARTPROXY_DATABASE": "", STORE_KEY_VARIABLE: key}):
            self.assertEqual(self.do("authority", "create", "--site", "Other", "--state-dir", other).err, "")
            self.assertIn("kept apart", self.do("store", "status", "--state-dir", other).out)
        self.assertFalse(Path(other, "store.key").exists())
