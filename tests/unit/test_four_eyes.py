"""Operations that two administrators have to want."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar
from unittest.mock import patch

from sqlalchemy import select

from smartproxy.backend import audit, identities, partners, settings
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import BackendError, ChangeRefused, NotFound, SecondAwaited
from smartproxy.backend.operations import partner as operations
from smartproxy.backend.operations import second, trial
from smartproxy.backend.operations.identity import IdentityImport, take_in
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import ANYHOW, Rehearsed, Terms, perform
from smartproxy.backend.operations.settings import SettingNames, SettingValue, SettingValues, put, reset
from smartproxy.backend.operations.shapes import GivenFile, Named, Nothing
from smartproxy.backend.session_tables import TrialRow
from smartproxy.policy.partners import CertificatePin, Partner
from smartproxy.policy.permissions import EVERYTHING
from smartproxy.tap.commands import arguments
from smartproxy.testing.pki import self_signed
from tests.unit.commands import CommandCase, Done
from tests.unit.sites import NOW, PIN, SiteCase

HOUR = timedelta(hours=1)


class FourEyes(SiteCase):
    """``partner.disable`` is such an operation."""

    def setUp(self) -> None:
        """A partner."""
        super().setUp()
        entry = Partner(name="ACME", codes=("O0013ACME",), certificates=(CertificatePin(sha256=PIN),))
        with self.change() as change:
            partners.add(change, entry)
            pin = CertificatePin(sha256="cd" * 32)
            partners.add(change, Partner(name="BOLT", codes=("O0013BOLT",), certificates=(pin,)))
            settings.put(change, "backend.four_eyes", ["partner.disable"])

    def caller(self, name: str) -> Caller:
        """An administrator, from far."""
        return Caller(name=name, scopes=frozenset({EVERYTHING}), channel=Channel.API)

    def disable(self, by: str, hours: int = 0, name: str = "ACME", terms: Terms = ANYHOW) -> None:
        """Somebody disables a partner."""
        perform(self.store, operations.disable, Named(name=name), self.caller(by), NOW + hours * HOUR, terms)

    def enabled(self, name: str = "ACME") -> bool:
        """Whether the partner is."""
        with self.store.reading() as session:
            return partners.find(session, name).entry.enabled

    def waiting(self, hours: int = 0) -> list[tuple[str, str]]:
        """What waits, and who wants it."""
        caller = self.caller("carol")
        found = perform(self.store, second.waiting, Nothing(), caller, NOW + hours * HOUR).answer
        return [(each.said, each.by) for each in found.items]

    def test_two(self) -> None:
        """It is done when a second administrator says the same; nothing happens before, and it is known what waits."""
        with self.store.reading() as session:
            before = audit.newest(session)
        text = str(self.assertRaises(SecondAwaited, self.disable, "alice"))
        self.assertIn("second administrator", text)
        self.assertTrue(self.enabled())
        self.assertEqual(self.waiting(), [("partner disable ACME", "alice")])
        (told,) = self.stored("second.awaited")
        self.assertEqual((told.fields["command"], told.level.label), ("partner disable ACME", "warning"))
        with self.store.reading() as session:
            self.assertNotEqual(audit.newest(session), before)
        self.disable("bob", 1)
        self.assertFalse(self.enabled())
        self.assertEqual(self.waiting(), [])

    def test_the_same(self) -> None:
        """The same administrator again is no second one; another call is not the same."""
        for hours in range(3):
            self.assertRaises(SecondAwaited, self.disable, "alice", hours)
        self.assertRaises(SecondAwaited, self.disable, "bob", 3, "BOLT")
        self.assertTrue(self.enabled())
        self.assertEqual(len(self.stored("second.awaited")), 2)
        self.assertEqual(len(self.waiting()), 2)

    def test_used_up(self) -> None:
        """What was done has to be wanted twice again."""
        self.assertRaises(SecondAwaited, self.disable, "alice")
        self.disable("bob")
        perform(self.store, operations.enable, Named(name="ACME"), self.caller("carol"), NOW, ANYHOW)
        self.assertRaises(SecondAwaited, self.disable, "bob")
        self.assertTrue(self.enabled())

    def test_week(self) -> None:
        """After a week it is as if nobody had wanted it."""
        self.assertRaises(SecondAwaited, self.disable, "alice")
        self.assertEqual(self.waiting(7 * 24), [])
        self.assertRaises(SecondAwaited, self.disable, "bob", 7 * 24)
        self.disable("alice", 7 * 24 + 1)
        self.assertFalse(self.enabled())

    def test_judged_first(self) -> None:
        """What is not valid waits for nobody, and a dry run needs nobody."""
        self.assertRaises(NotFound, self.disable, "alice", 0, "NOBODY")
        self.assertRaises(Rehearsed, self.disable, "alice", 0, "ACME", Terms(dry_run=True))
        self.assertEqual(self.waiting(), [])

    def test_others(self) -> None:
        """Operations that are not named are done by one, as all are by default."""
        perform(self.store, operations.remove, Named(name="BOLT"), self.caller("alice"), NOW)
        with self.change() as change:
            settings.reset(change, "backend.four_eyes")
        self.disable("alice")
        self.assertFalse(self.enabled())

    def test_acts(self) -> None:
        """What makes no generation can be such an operation, too."""
        with self.change() as change:
            settings.put(change, "backend.four_eyes", ["trial.start"])
        wanted = trial.TrialWanted()
        self.assertRaises(SecondAwaited, perform, self.store, trial.start, wanted, self.caller("alice"), NOW)
        with self.store.reading() as session:
            self.assertIsNone(session.scalars(select(TrialRow)).first())
        perform(self.store, trial.start, wanted, self.caller("bob"), NOW)
        with self.store.reading() as session:
            self.assertIsNotNone(session.scalars(select(TrialRow)).first())

    def test_another_file(self) -> None:
        """Another key is another call, however its file is called; the same key in a file of another name is not."""
        with self.change() as change:
            settings.put(change, "backend.four_eyes", ["identity.import"])
        (alice, bob) = (made.certificate_pem + made.key_pem for made in (self_signed("a"), self_signed("b")))

        def give(by: str, file: str, octets: bytes) -> None:
            wanted = IdentityImport(name="main", files=(GivenFile(name=file, octets=octets),))
            perform(self.store, take_in, wanted, self.caller(by), NOW)

        self.assertRaises(SecondAwaited, give, "alice", "main.pem", alice)
        self.assertRaises(SecondAwaited, give, "bob", "main.pem", bob)
        with self.store.reading() as session:
            self.assertEqual(identities.listed(session), [])
        give("alice", "other.pem", bob)
        with self.store.reading() as session:
            (row,) = identities.listed(session)
            self.assertIn("CN=b", str(identities.chain_of(row)[0].subject))

    def test_not_from_far(self) -> None:
        """Nobody changes from far what one administrator may not do."""
        off = SettingValues(items=(SettingValue(name="backend.four_eyes", value=[]),))
        alone = self.caller("alice")
        self.assertRaises(ChangeRefused, perform, self.store, put, off, alone, NOW)
        values: tuple[Any, ...] = ([["x"]], [{}], 7, ["partner.lst"])
        for value in values:
            wrong = SettingValues(items=(SettingValue(name="backend.four_eyes", value=value),))
            self.assertRaises(BackendError, perform, self.store, put, wrong, alone, NOW)
        names = SettingNames(names=("backend.four_eyes",))
        self.assertRaises(ChangeRefused, perform, self.store, reset, names, alone, NOW)


class Noon(datetime):
    """A clock that shows noon of this day, and a minute more each time it is asked."""

    asked: ClassVar[int] = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Noon":
        """The time that it shows."""
        cls.asked += 1
        today = datetime.now(UTC)
        return cls(today.year, today.month, today.day, 12, cls.asked, tzinfo=tz)


class Commands(CommandCase):
    """The setting, ``history waiting``, and commands with times."""

    def by(self, who: str, *words: str) -> Done:
        """Somebody gives a command."""
        with patch.dict("os.environ", {"SUDO_USER": who}):
            return self.run_command(*words)

    def test_commands(self) -> None:
        """An operation that there is not is refused; what waits is listed."""
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", "--pin", PIN)
        put = ("settings", "set", "backend.four_eyes")
        self.assertIn("was partner.accept meant", self.refused(*put, "partner.acept"))
        self.assertIn("no operation 'partner.list'", self.refused(*put, "partner.list"))
        self.do(*put, "partner.disable,partner.accept")
        self.assertIn("nothing waits", self.do("history", "waiting").out)
        self.assertIn("second administrator", self.refused("partner", "disable", "ACME"))
        self.assertIn("partner disable ACME", self.do("history", "waiting").out)
        self.assertEqual(len(self.do("history", "waiting", "--json").json), 1)

    def test_spans(self) -> None:
        """So many days, weeks or years from now are the same for both; of hours it is said that they are not."""
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", "--pin", PIN)
        self.do("settings", "set", "backend.four_eyes", "admin-token.create,partner.downtime.add,ignore.add")
        self.patch(arguments, "datetime", Noon)
        for words in (
            ("admin-token", "create", "monitoring", "--role", "viewer", "--until", "90d"),
            ("partner", "downtime", "add", "ACME", "--why", "new system", "--until", "2w"),
            ("ignore", "add", "known", "--text", "certificate.refused ACME", "--until", "1y"),
        ):
            first = self.by("alice", *words)
            self.assertEqual(first.status, 1)
            self.assertIn("with dates for times (not 90d)", first.err)
            done = self.by("bob", *words)
            self.assertEqual(done.status, 0, done.err)
        self.assertEqual(self.do("history", "waiting", "--json").json, [])
