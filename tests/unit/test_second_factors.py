"""Second factors: codes count once, recovery codes are used up, and nothing of either is left to read in the store."""

import base64
import re
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from smartproxy.backend import passwords, second_factors, users
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.generations import changing
from smartproxy.backend.second_factors import RECOVERY_CODES, STEP_SECONDS
from smartproxy.policy.permissions import AdminRole
from tests.unit.sites import NOW, SiteCase

PASSWORD = "four words of somebody"
STEP = timedelta(seconds=STEP_SECONDS)


def code_of(secret: str, when: datetime) -> str:
    """What an authenticator with a secret shows."""
    made = TOTP(base64.b32decode(secret), 6, SHA1(), STEP_SECONDS)
    return made.generate(int(when.timestamp())).decode()


class SecondFactors(SiteCase):
    """A user with an authenticator."""

    def setUp(self) -> None:
        """Add the user, and confirm its second factor with the code of now."""
        super().setUp()
        self.patch(passwords, "hashed", lambda password: f"hash of {password}")
        self.patch(passwords, "fits", lambda stored, password: stored == f"hash of {password}")
        self.patch(passwords, "outdated", lambda stored: False)
        with self.change() as change:
            users.add(change, "alice", AdminRole.ADMINISTRATOR, PASSWORD)
        with self.store.writing() as session:
            self.secret = second_factors.begin(session, "alice")
            self.codes = second_factors.confirm(session, "alice", code_of(self.secret, NOW), NOW)

    def proves(self, code: str, when: datetime = NOW, password: str = PASSWORD) -> bool:
        """Whether a login passes."""
        return bool(users.proves(self.store, "alice", password, code, when))

    def test_rfc(self) -> None:
        """The codes are those of RFC 6238, appendix B, in six digits."""
        secret = base64.b32encode(b"12345678901234567890").decode()
        for seconds, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
            self.assertEqual(code_of(secret, datetime.fromtimestamp(seconds, NOW.tzinfo)), code)

    def test_codes(self) -> None:
        """A code counts once, and none that is older; one of a step before or after is taken, no other."""
        self.assertFalse(self.proves(code_of(self.secret, NOW)))
        for when, shown, good in (
            (NOW, NOW + STEP, True),
            (NOW, NOW + STEP, False),
            (NOW + STEP, NOW, False),
            (NOW + 5 * STEP, NOW + 3 * STEP, False),
            (NOW + 5 * STEP, NOW + 7 * STEP, False),
            (NOW + 5 * STEP, NOW + 4 * STEP, True),
            (NOW + 5 * STEP, NOW + 5 * STEP, True),
        ):
            self.assertIs(self.proves(code_of(self.secret, shown), when), good, (when, shown))
        for junk in ("", "12345", "1234567", "abcdef", "\uff11\uff12\uff13\uff14\uff15\uff16", "x" * 1000):
            self.assertFalse(self.proves(junk, NOW + 9 * STEP))
        later = NOW + 20 * STEP
        code = code_of(self.secret, later)
        self.assertFalse(self.proves(code, later, password="another one"))
        self.assertTrue(self.proves(f" {code[:3]} {code[3:]}", later))

    def test_recovery(self) -> None:
        """Each recovery code lets its user in once, with the password."""
        self.assertEqual(len(set(self.codes)), RECOVERY_CODES)
        for each in self.codes:
            self.assertTrue(re.fullmatch("[a-z2-7]{4}(-[a-z2-7]{4}){3}", each), each)
        self.assertFalse(self.proves(self.codes[0], password="another one"))
        self.assertTrue(self.proves(self.codes[0].upper().replace("-", " ")))
        self.assertFalse(self.proves(self.codes[0]))
        with self.store.reading() as session:
            self.assertEqual(second_factors.counts(session, "alice"), RECOVERY_CODES - 1)

    def test_kept(self) -> None:
        """Neither the secret nor a recovery code can be read in the store."""
        held = self.held()
        self.assertNotIn(self.secret.encode(), held)
        for each in self.codes:
            self.assertNotIn(each.encode(), held)
            self.assertNotIn(each.replace("-", "").encode(), held)

    def test_begin(self) -> None:
        """One that is not confirmed does not count, and another takes its place; one that counts is not replaced."""
        with self.store.writing() as session:
            self.assertRaises(ChangeRefused, second_factors.begin, session, "alice")
            first = second_factors.begin(session, "bob")
            self.assertNotEqual(second_factors.begin(session, "bob"), first)
            self.assertIsNone(second_factors.counts(session, "bob"))
            self.assertTrue(second_factors.passes(session, "bob", "", NOW))
            self.assertRaises(ChangeRefused, second_factors.confirm, session, "bob", "000000", NOW)
            self.assertRaises(NotFound, second_factors.confirm, session, "carol", "000000", NOW)
            self.assertIsNone(second_factors.counts(session, "bob"))
        address = second_factors.address("bob", "Muster GmbH", first)
        self.assertIn("otpauth://totp/", address)
        self.assertIn(f"secret={first}", address)

    def test_forgotten(self) -> None:
        """An administrator has a user log in by password alone; a user that is removed leaves none behind."""
        with self.change() as change:
            users.forget_second_factor(change, "alice")
        self.assertTrue(self.proves(""))
        with self.change() as change:
            self.assertRaises(ChangeRefused, users.forget_second_factor, change, "alice")
        with self.store.writing() as session:
            secret = second_factors.begin(session, "alice")
            second_factors.confirm(session, "alice", code_of(secret, NOW), NOW)
        with self.change() as change:
            users.remove(change, "alice")
            users.add(change, "alice", AdminRole.VIEWER, PASSWORD)
        self.assertTrue(self.proves(""))


class Alterations(SiteCase):
    """Users who are changed."""

    def setUp(self) -> None:
        """Add two."""
        super().setUp()
        self.patch(passwords, "hashed", lambda password: f"hash of {password}")
        self.patch(passwords, "fits", lambda stored, password: stored == f"hash of {password}")
        self.patch(passwords, "outdated", lambda stored: False)
        with self.change() as change:
            users.add(change, "alice", AdminRole.ADMINISTRATOR, PASSWORD)
            users.add(change, "olga", AdminRole.OPERATOR, PASSWORD)
        self.cookie = users.log_in(self.store, "olga", f"hash of {PASSWORD}", NOW, "192.0.2.9", "x")

    def test_disabled(self) -> None:
        """Whoever is disabled is logged out, and does not get in again until it is enabled."""
        self.assertIsNotNone(users.logged_in(self.store, self.cookie, NOW))
        with self.change() as change:
            users.alter(change, "olga", enabled=False)
        self.assertIsNone(users.logged_in(self.store, self.cookie, NOW))
        self.assertFalse(users.check_password(self.store, "olga", PASSWORD))
        with self.change() as change:
            users.alter(change, "olga", enabled=True)
        self.assertTrue(users.check_password(self.store, "olga", PASSWORD))
        with self.change() as change:
            users.alter(change, "alice", enabled=False)
        with self.store.reading() as session:
            self.assertFalse(users.any_administrator(session))

    def test_role(self) -> None:
        """Another role ends the logins; nobody gives, or takes from somebody, more than it may do itself."""
        with self.change() as change:
            users.alter(change, "olga", role=AdminRole.VIEWER)
        self.assertIsNone(users.logged_in(self.store, self.cookie, NOW))
        with self.change() as change:
            change.allowed = frozenset({"user:*", "*:read"})
            for name, role in (("olga", AdminRole.OPERATOR), ("alice", AdminRole.VIEWER)):
                self.assertRaises(ChangeRefused, users.alter, change, name, role=role)
            self.assertRaises(ChangeRefused, users.alter, change, "alice", enabled=False)

    def test_own(self) -> None:
        """On the page nobody shuts itself out, so that an administrator is always left; the command may."""
        with changing(self.store, by="alice", what="test", now=NOW, channel=Channel.PAGE) as change:
            self.assertRaises(ChangeRefused, users.alter, change, "alice", enabled=False)
            self.assertRaises(ChangeRefused, users.alter, change, "alice", role=AdminRole.VIEWER)
            self.assertRaises(ChangeRefused, users.remove, change, "alice")
        with self.change() as change:
            users.remove(change, "alice")

    def test_numbers_come_once(self) -> None:
        """The number of a login that has ended is no other one's: to end it again ends nothing."""
        with self.store.reading() as session:
            old = users.logins(session, NOW)[0].id
        users.log_out(self.store, self.cookie)
        with self.store.writing() as session:
            users.end_logins(session, "alice")
            users.end_logins(session, "olga")
        users.log_in(self.store, "alice", f"hash of {PASSWORD}", NOW, "192.0.2.8", "y")
        with self.store.writing() as session:
            (new,) = users.logins(session, NOW)
            self.assertGreater(new.id, old)
            self.assertRaises(NotFound, users.end_login, session, old)

    def test_logins(self) -> None:
        """Logins that have not ended are listed, and one of them is ended; somebody else's only by its number."""
        other = users.log_in(self.store, "alice", f"hash of {PASSWORD}", NOW, "192.0.2.8", "y")
        with self.store.reading() as session:
            found = users.logins(session, NOW)
            self.assertEqual([row.user for row in found], ["alice", "olga"])
            self.assertEqual([row.user for row in users.logins(session, NOW, "olga")], ["olga"])
            self.assertEqual(users.logins(session, NOW + users.IDLE), [])
        with self.store.writing() as session:
            self.assertRaises(NotFound, users.end_login, session, found[0].id, "olga")
            users.end_login(session, found[1].id)
        self.assertIsNone(users.logged_in(self.store, self.cookie, NOW))
        self.assertIsNotNone(users.logged_in(self.store, other, NOW))
