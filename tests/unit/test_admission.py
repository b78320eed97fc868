"""Tests of :mod:`smartproxy.policy.admission`: exact counts, and denials that name the limit."""

import random
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy import limits
from smartproxy.policy.addresses import address_of, prefix_of
from smartproxy.policy.admission import Admission, Denied, Visit
from smartproxy.policy.settings import ServerLimits


def admission(**limits: int) -> Admission:
    """Nobody is in yet; only the limits given are in the way."""
    return Admission(limits=ServerLimits(**limits))


class PrefixTests(SynchronousTestCase):
    """What counts as one peer."""

    def test_ipv4(self) -> None:
        """An IPv4 address counts for itself, in its IPv6 form too."""
        for text in ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"):
            self.assertEqual(prefix_of(text), "192.0.2.1/32")

    def test_ipv6(self) -> None:
        """An IPv6 address counts with its /64, without its scope."""
        for text in ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::2%eth0"):
            self.assertEqual(prefix_of(text), "2001:db8:0:1::/64")
        self.assertEqual(prefix_of("2001:db8:0:2::1"), "2001:db8:0:2::/64")

    def test_no_address(self) -> None:
        """A name is no address."""
        self.assertRaises(ValueError, address_of, "localhost")


class AdmissionTests(SynchronousTestCase):
    """So many get in, and the next one is told which limit is reached."""

    def assertDenied(self, denial: Denied, limit: str, value: int) -> None:
        """A denial names its limit and value, and becomes ESID 08."""
        self.assertEqual((denial.limit, denial.value, denial.rule), (limit, value, f"quota.{limit}"))
        self.assertEqual(str(denial), f"the limit {limit} of {value} is reached [quota.{limit}]")
        self.assertEqual(denial.reason, EsidReason.RESOURCES_NOT_AVAILABLE)

    def test_connections(self) -> None:
        """All connections together."""
        counted = admission(connections=2)
        visits = [counted.enter(f"192.0.2.{number}") for number in range(2)]
        for visit in visits:
            visit.prove("ACME")
        self.assertDenied(self.assertRaises(Denied, counted.enter, "192.0.2.9"), "connections", 2)
        visits[0].leave()
        counted.enter("192.0.2.9")
        self.assertEqual(counted.connections, 2)

    def test_sessions_elsewhere(self) -> None:
        """Those of an older process count against both limits, for calls too, and are no connections here."""
        counted = admission(sessions=4, sessions_per_partner=2)
        counted.elsewhere = {"ACME": 2, "BOLT": 1}
        visit = counted.enter("192.0.2.1")
        self.assertDenied(self.assertRaises(Denied, visit.prove, "ACME"), "sessions_per_partner", 2)
        visit.prove("BOLT")
        self.assertDenied(self.assertRaises(Denied, counted.begin_call, "FORGE"), "sessions", 4)
        self.assertEqual((counted.connections, counted.sessions, counted.sessions_of("BOLT")), (1, 4, 2))
        self.assertEqual(counted.counted(), {"ACME": 2, "BOLT": 2})
        counted.elsewhere = {}
        counted.begin_call("ACME")
        self.assertEqual(counted.counted(), {"ACME": 1, "BOLT": 1})
        visit.leave()
        counted.end_call("ACME")
        self.assertEqual(counted.counted(), {})

    def test_newcomers_displace_the_oldest_that_has_not_spoken(self) -> None:
        """In a crowd, the place of the oldest silent connection goes to the newcomer; who has spoken keeps its own."""
        counted = admission(connections=10)
        gone: list[int] = []
        visits = [counted.enter(f"192.0.2.{number}") for number in range(8)]
        for number, visit in enumerate(visits):
            visit.displaced = partial(gone.append, number)
        for number in (0, 2):
            visits[number].speak()
        for number in range(3):
            counted.enter(f"198.51.100.{number}")
        self.assertEqual((gone, counted.connections), ([1, 3, 4], 8))
        for number in (1, 3, 4):
            visits[number].leave()
        self.assertEqual(counted.connections, 8)

    def test_newcomers_displace_the_oldest_in_the_handshake(self) -> None:
        """Where more than two fifths of the places are in the handshake, the oldest of these makes room."""
        counted = admission(connections=10)
        gone: list[int] = []
        visits = [counted.enter(f"192.0.2.{number}") for number in range(8)]
        for number in (1, 3, 5, 6, 7):
            visits[number].speak(partial(gone.append, number))
        visits[1].prove("ACME")
        for number in (0, 2, 4):
            visits[number].displaced = partial(gone.append, number)
        counted.enter("198.51.100.1")
        self.assertEqual(gone, [0])
        visits[2].speak(partial(gone.append, 2))
        for number in (2, 3):
            counted.enter(f"198.51.100.{number}")
        self.assertEqual((gone, counted.connections), ([0, 3, 4], 8))
        visits[3].speak(partial(gone.append, 3))
        visits[7].leave()
        self.assertEqual(counted.connections, 7)

    def test_handshakes_of_known_addresses_are_not_displaced(self) -> None:
        """Callers from elsewhere that say hello and hang displace one another."""
        counted = admission(connections=10)
        counted.enter("192.0.2.1").prove("ACME")
        gone: list[str] = []
        counted.enter("192.0.2.1").speak(lambda: gone.append("known"))
        for number in range(100):
            counted.enter(f"198.51.100.{number}").speak(lambda: gone.append("other"))
        self.assertEqual(gone, ["other"] * 94)

    def test_places_kept_for_addresses_that_were_verified_lately(self) -> None:
        """A fifth of the places is for addresses from which a partner was verified within a week."""
        counted = admission(connections=10)
        known = counted.enter("192.0.2.1")
        known.prove("ACME")
        known.leave()
        for number in range(8):
            counted.enter(f"198.51.100.{number}").prove("ACME")
        denial = self.assertRaises(Denied, counted.enter, "192.0.2.2", 1.0)
        self.assertEqual((denial.limit, denial.value, denial.rule), ("connections", 10, "quota.early"))
        self.assertIn("8 of 10 connections", denial.message)
        self.assertRaises(Denied, counted.enter, "192.0.2.1", limits.VERIFIED_LATELY_SECONDS)
        for _ in range(2):
            counted.enter("192.0.2.1", limits.VERIFIED_LATELY_SECONDS - 1).speak()
        self.assertDenied(self.assertRaises(Denied, counted.enter, "192.0.2.1", 1.0), "connections", 10)

    def test_known_addresses_are_displaced_last(self) -> None:
        """Strangers never displace a connection of a known address; one of a known address does, if need be."""
        counted = admission(connections=2)
        counted.enter("192.0.2.1").prove("ACME")
        gone: list[str] = []
        counted.enter("192.0.2.1").displaced = lambda: gone.append("known")
        self.assertDenied(self.assertRaises(Denied, counted.enter, "192.0.2.2"), "connections", 2)
        self.assertEqual(gone, [])
        counted.enter("192.0.2.1")
        self.assertEqual(gone, ["known"])

    def test_so_many_addresses_are_remembered(self) -> None:
        """Beyond the bound, the address whose verification is oldest is forgotten."""
        self.patch(limits, "VERIFIED_LATELY_MOST", 1)
        counted = admission(connections=5)
        for number in range(2):
            visit = counted.enter(f"192.0.2.{number}")
            visit.prove("ACME")
            visit.leave()
        self.assertEqual([counted.enter(f"192.0.2.{number}").known for number in range(2)], [False, True])

    def test_session_is_known(self) -> None:
        """An address that has a session is known as long as it lasts, however long ago it was verified."""
        counted = admission(connections=10)
        session = counted.enter("192.0.2.1")
        session.prove("ACME")
        late = 2 * limits.VERIFIED_LATELY_SECONDS
        self.assertTrue(counted.enter("192.0.2.1", late).known)
        session.leave()
        self.assertFalse(counted.enter("192.0.2.1", late).known)

    def test_connections_of_an_address(self) -> None:
        """Connections of one address, proved or not."""
        counted = admission(connections_per_address=2)
        for number in range(2):
            counted.enter("192.0.2.1").prove(f"P{number}")
        self.assertDenied(self.assertRaises(Denied, counted.enter, "192.0.2.1"), "connections_per_address", 2)
        counted.enter("192.0.2.2")

    def test_one_host_of_ipv6(self) -> None:
        """The addresses of a /64 are one."""
        counted = admission(connections_per_address=1)
        counted.enter("2001:db8::1")
        self.assertRaises(Denied, counted.enter, "2001:db8::2")
        counted.enter("2001:db8:0:1::1")

    def test_strangers_of_an_address(self) -> None:
        """Connections of one address that are not proved; a proof makes room for the next."""
        counted = admission(unauthenticated_per_address=1)
        visit = counted.enter("192.0.2.1")
        self.assertDenied(self.assertRaises(Denied, counted.enter, "192.0.2.1"), "unauthenticated_per_address", 1)
        visit.prove("ACME")
        counted.enter("192.0.2.1")

    def test_sessions(self) -> None:
        """All sessions together; who is denied is still a stranger, and counts as one until it leaves."""
        counted = admission(sessions=1, unauthenticated_per_address=1)
        first = counted.enter("192.0.2.1")
        first.prove("ACME")
        second = counted.enter("192.0.2.1")
        self.assertDenied(self.assertRaises(Denied, second.prove, "FOO"), "sessions", 1)
        self.assertEqual((counted.sessions, counted.connections, second.partner), (1, 2, None))
        self.assertRaises(Denied, counted.enter, "192.0.2.1")
        first.leave()
        second.prove("FOO")
        self.assertEqual((counted.sessions_of("ACME"), counted.sessions_of("FOO")), (0, 1))

    def test_sessions_of_a_partner(self) -> None:
        """Sessions of one partner, from wherever it comes."""
        counted = admission(sessions_per_partner=1)
        counted.enter("192.0.2.1").prove("ACME")
        other = counted.enter("2001:db8::1")
        self.assertDenied(self.assertRaises(Denied, other.prove, "ACME"), "sessions_per_partner", 1)
        other.prove("FOO")

    def test_new_limits(self) -> None:
        """New limits count for whoever comes next, and put nobody out."""
        counted = admission(connections=3)
        for _ in range(3):
            counted.enter("192.0.2.1").prove("ACME")
        counted.limits = ServerLimits(connections=1)
        self.assertEqual(counted.connections, 3)
        self.assertDenied(self.assertRaises(Denied, counted.enter, "192.0.2.2"), "connections", 1)

    def test_leaving_twice(self) -> None:
        """To leave twice counts once."""
        counted = admission()
        stranger, known = counted.enter("192.0.2.1"), counted.enter("192.0.2.1")
        known.prove("ACME")
        for visit in (stranger, stranger, known, known):
            visit.leave()
        self.assertEqual((counted.connections, counted.sessions), (0, 0))

    def test_proving_once(self) -> None:
        """A connection proves once whose it is, and not after it left."""
        counted = admission()
        visit = counted.enter("192.0.2.1")
        visit.prove("ACME")
        self.assertRaises(ValueError, visit.prove, "FOO")
        gone = counted.enter("192.0.2.1")
        gone.leave()
        self.assertRaises(ValueError, gone.prove, "FOO")
        self.assertEqual((counted.sessions, counted.connections), (1, 1))

    def test_a_race(self) -> None:
        """500 connections for 50 places: exactly 50 get in, whoever comes and goes; in the end nothing is left."""
        counted = admission(connections=100, sessions=50, sessions_per_partner=20)
        chance = random.Random(5024)
        inside: list[Visit] = []
        for number in range(500):
            try:
                visit = counted.enter(f"192.0.2.{number % 250}")
            except Denied:
                inside.pop(chance.randrange(len(inside))).leave()
                continue
            inside.append(visit)
            try:
                visit.prove(f"P{number % 3}")
            except Denied:
                self.assertTrue(counted.sessions == 50 or counted.sessions_of(f"P{number % 3}") == 20)
            self.assertEqual(counted.connections, len(inside))
            self.assertEqual(counted.sessions, sum(visit.partner is not None for visit in inside))
            self.assertLessEqual(counted.sessions, 50)
        self.assertEqual(counted.sessions, 50)
        for visit in inside:
            visit.leave()
        self.assertEqual((counted.connections, counted.sessions, counted.sessions_of("P0")), (0, 0, 0))
        for counter in (counted._connections, counted._unauthenticated, counted._partners):
            self.assertEqual(dict(counter), {})
