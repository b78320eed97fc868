"""Tests of :mod:`smartproxy.policy.penalties`: points, bans, forgetting, a full table, exemptions."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.penalties import Ban, Deaths, Fault, Penalties
from smartproxy.policy.settings import PenaltySettings

PEER = "192.0.2.1"
PREFIX = "192.0.2.1/32"


def penalties(**settings: Any) -> Penalties:
    """Nobody has done anything yet."""
    return Penalties(PenaltySettings(**settings))


class PointTests(SynchronousTestCase):
    """Faults add up, and are forgotten."""

    def test_points(self) -> None:
        """Each fault has the points that the documents promise."""
        self.assertEqual(
            {fault.cause.value: fault.points for fault in Fault},
            {
                "penalty.no_tls": 1,
                "penalty.handshakes": 2,
                "penalty.silence": 2,
                "penalty.certificates": 2,
                "penalty.revoked": 5,
                "penalty.protocol": 5,
                "penalty.effort": 15,
                "penalty.identity": 10,
                "penalty.deaths": 15,
            },
        )

    def test_threshold(self) -> None:
        """The fault that reaches the threshold begins the ban, and none before it."""
        for fault in Fault:
            counted = penalties(threshold=20)
            needed = -(-20 // fault.points) + (fault is Fault.DISTRUST)
            for _ in range(needed - 1):
                self.assertIsNone(counted.fault(PEER, fault, 100.0))
                self.assertEqual(counted.banned(PEER, 100.0), 0.0)
            ban = counted.fault(PEER, fault, 100.0)
            self.assertEqual(ban, Ban(prefix=PREFIX, seconds=60, number=1, fault=fault))
            self.assertEqual(counted.banned(PEER, 100.0), 60.0)

    def test_who_is_shut_out(self) -> None:
        """Every ban that runs is listed with the seconds that are left of it; none when bans are switched off."""
        counted = penalties(threshold=1)
        for host, now in ((PEER, 0.0), ("192.0.2.2", 30.0)):
            counted.fault(host, Fault.HANDSHAKE, now)
        self.assertEqual(counted.bans(30.0), {PREFIX: 30.0, "192.0.2.2/32": 60.0})
        self.assertEqual(counted.bans(60.0), {"192.0.2.2/32": 30.0})
        counted.settings = PenaltySettings(enabled=False)
        self.assertEqual(counted.bans(60.0), {})

    def test_decay(self) -> None:
        """One point is forgotten in ten seconds: who offends rarely is never banned, who does so often is."""
        rare, often = penalties(threshold=20), penalties(threshold=20)
        self.assertEqual([rare.fault(PEER, Fault.HANDSHAKE, number * 20.0) for number in range(1_000)], [None] * 1_000)
        self.assertIn(1, [ban.number for n in range(20) if (ban := often.fault(PEER, Fault.HANDSHAKE, n * 5.0))])

    def test_forgotten_to_the_second(self) -> None:
        """19 points wait for one more for ten whole seconds; then two are needed."""
        for pause, banned in ((0.0, True), (9.9, True), (10.0, False)):
            counted = penalties(threshold=20)
            for _ in range(19):
                counted.fault(PEER, Fault.TLS_GARBAGE, 50.0)
            self.assertEqual(counted.fault(PEER, Fault.TLS_GARBAGE, 50.0 + pause) is not None, banned)

    def test_twenty_points_are_twenty_points(self) -> None:
        """Two faults of ten points within ten seconds make twenty, however far apart they are within them."""
        for pause in (0.001, 0.5, 9.999):
            counted = penalties(threshold=20)
            self.assertIsNone(counted.fault(PEER, Fault.IDENTITY, 50.0))
            self.assertIsNotNone(counted.fault(PEER, Fault.IDENTITY, 50.0 + pause), pause)

    def test_steps_are_kept(self) -> None:
        """A further fault does not begin the step anew: frequent small faults do not keep the points from decaying."""
        counted = penalties(threshold=20)
        for _ in range(2):
            counted.fault(PEER, Fault.PROTOCOL, 0.0)
        for now in (9.0, 18.0, 27.0, 36.0):
            self.assertIsNone(counted.fault(PEER, Fault.TLS_GARBAGE, now))
        record = next(iter(counted._records.values()))
        self.assertEqual([record.points_at(now) for now in (36.0, 39.9, 40.0, 50.0)], [11, 11, 10, 9])

    def test_addresses_apart(self) -> None:
        """One address's faults are not another's; the addresses of an IPv6 host are one, as are the forms of IPv4."""
        counted = penalties(threshold=10)
        counted.fault(PEER, Fault.IDENTITY, 0.0)
        counted.fault("2001:db8::1", Fault.IDENTITY, 0.0)
        for address, seconds in (
            (PEER, 60.0),
            ("::ffff:192.0.2.1", 60.0),
            ("192.0.2.2", 0.0),
            ("2001:db8::ffff", 60.0),
            ("2001:db8:0:1::1", 0.0),
        ):
            self.assertEqual(counted.banned(address, 0.0), seconds, address)
        self.assertEqual(len(counted), 2)


class BanTests(SynchronousTestCase):
    """A ban ends, and the next one is longer."""

    def banned(self, counted: Penalties, now: float) -> Ban:
        """Offend until banned."""
        bans = [ban for _ in range(2) if (ban := counted.fault(PEER, Fault.IDENTITY, now)) is not None]
        (ban,) = bans
        return ban

    def test_end(self) -> None:
        """A ban holds to its last moment and not beyond; afterwards the address starts with no points."""
        counted = penalties()
        self.banned(counted, 1000.0)
        self.assertEqual(counted.banned(PEER, 1059.0), 1.0)
        self.assertEqual(counted.banned(PEER, 1060.0), 0.0)
        self.assertIsNone(counted.fault(PEER, Fault.IDENTITY, 1060.0))

    def test_doubling(self) -> None:
        """Each ban is twice as long as the one before, up to the longest."""
        counted = penalties(ban_seconds=60, ban_seconds_most=600)
        now, seconds = 0.0, []
        for number in range(1, 41):
            ban = self.banned(counted, now)
            self.assertEqual(ban.number, number)
            seconds.append(ban.seconds)
            now += ban.seconds
        self.assertEqual(seconds[:5], [60, 120, 240, 480, 600])
        self.assertEqual(set(seconds[5:]), {600})

    def test_doubling_is_forgotten(self) -> None:
        """An hour after the last ban or fault the next ban is a first one; a little earlier it is not."""
        for pause, number in ((limits.BAN_MEMORY_SECONDS - 1.0, 2), (limits.BAN_MEMORY_SECONDS, 1)):
            counted = penalties()
            self.banned(counted, 0.0)
            self.assertEqual(self.banned(counted, 60.0 + pause).number, number)

    def test_faults_during_a_ban(self) -> None:
        """Connections that were there before a ban may still offend: that makes no second ban of it."""
        counted = penalties()
        self.banned(counted, 0.0)
        for _ in range(50):
            self.assertIsNone(counted.fault(PEER, Fault.IDENTITY, 1.0))
        self.assertEqual(counted.lifted(60.0), [PREFIX])

    def test_lifted(self) -> None:
        """The end of each ban is told once, in order, and when the next one is to be asked for."""
        counted = penalties(threshold=10)
        self.assertIsNone(counted.next_end())
        for number, now in ((3, 0.0), (1, 5.0), (2, 10.0)):
            counted.fault(f"192.0.2.{number}", Fault.IDENTITY, now)
        self.assertEqual(counted.next_end(), 60.0)
        self.assertEqual(counted.lifted(59.9), [])
        self.assertEqual(counted.lifted(65.0), ["192.0.2.3/32", "192.0.2.1/32"])
        self.assertEqual(counted.next_end(), 70.0)
        self.assertEqual(counted.lifted(1000.0), ["192.0.2.2/32"])
        self.assertEqual(counted.lifted(1000.0), [])


class SettingTests(SynchronousTestCase):
    """What the configuration says."""

    def test_exempt(self) -> None:
        """Addresses of exempt networks are not counted; those beside them are."""
        counted = penalties(threshold=1, exempt=("192.0.2.0/31", "2001:db8::/48"))
        for address, exempt in (
            ("192.0.2.0", True),
            ("::ffff:192.0.2.1", True),
            ("192.0.2.2", False),
            ("2001:db8:0:ffff::1", True),
            ("2001:db8:1::1", False),
        ):
            self.assertEqual(counted.fault(address, Fault.IDENTITY, 0.0) is None, exempt, address)
            self.assertEqual(counted.banned(address, 0.0) == 0.0, exempt, address)

    def test_loopback_by_default(self) -> None:
        """Loopback is exempt unless the configuration says otherwise."""
        counted = penalties(threshold=1)
        for address in ("127.0.0.1", "127.255.0.1", "::1"):
            self.assertIsNone(counted.fault(address, Fault.IDENTITY, 0.0))
        self.assertEqual(len(counted), 0)

    def test_disabled(self) -> None:
        """Without penalties nobody is counted or banned."""
        counted = penalties(threshold=1, enabled=False)
        self.assertIsNone(counted.fault(PEER, Fault.IDENTITY, 0.0))
        self.assertEqual((counted.banned(PEER, 0.0), len(counted)), (0.0, 0))

    def test_new_settings(self) -> None:
        """New settings are in force at once: a network made exempt is let in although it was banned."""
        counted = penalties(threshold=1)
        counted.fault(PEER, Fault.IDENTITY, 0.0)
        self.assertEqual(counted.banned(PEER, 0.0), 60.0)
        counted.settings = exempting = PenaltySettings(threshold=1, exempt=("192.0.2.0/24",))
        self.assertIs(counted.settings, exempting)
        self.assertEqual(counted.banned(PEER, 0.0), 0.0)
        counted.settings = PenaltySettings(enabled=False)
        self.assertEqual(counted.banned(PEER, 0.0), 0.0)


class OverflowTests(SynchronousTestCase):
    """A full table lets further offenders go, and never grows."""

    def setUp(self) -> None:
        """A table with room for three."""
        self.patch(limits, "PENALTY_PREFIXES_MOST", 3)
        self.counted = penalties(threshold=10)
        for number in range(3):
            self.counted.fault(f"192.0.2.{number}", Fault.PROTOCOL, 100.0)

    def test_permissive(self) -> None:
        """Who finds no room is not counted; who is in the table still is."""
        for _ in range(50):
            self.assertIsNone(self.counted.fault("203.0.113.1", Fault.IDENTITY, 100.0))
        self.assertEqual(len(self.counted), 3)
        self.assertEqual(self.counted.banned("203.0.113.1", 100.0), 0.0)
        self.assertIsNotNone(self.counted.fault("192.0.2.0", Fault.PROTOCOL, 100.0))

    def test_room_again(self) -> None:
        """What is forgotten makes room."""
        self.assertIsNotNone(self.counted.fault("203.0.113.1", Fault.IDENTITY, 150.0))
        self.assertEqual(len(self.counted), 1)

    def test_search_is_rare(self) -> None:
        """A full table is searched once a second, not for each fault of a flood."""
        record = type(next(iter(self.counted._records.values())))
        original = record.forgotten
        looks = []

        def forgotten(self: Any, now: float) -> bool:
            looks.append(now)
            return bool(original(self, now))

        self.patch(record, "forgotten", forgotten)
        for number in range(1_000):
            self.counted.fault(f"203.0.113.{number % 250}", Fault.PROTOCOL, 100.0 + number / 1_000)
        self.assertEqual(looks, [100.0] * 3)
        self.counted.fault("203.0.113.1", Fault.PROTOCOL, 101.0)
        self.assertEqual(looks, [100.0] * 3 + [101.0] * 3)

    def test_bans_stay(self) -> None:
        """A ban, and the memory of one, is not forgotten for the sake of room."""
        for number in range(3):
            self.counted.fault(f"192.0.2.{number}", Fault.PROTOCOL, 100.0)
        self.counted.fault("203.0.113.1", Fault.IDENTITY, 120.0)
        self.counted.fault("203.0.113.1", Fault.IDENTITY, 1000.0)
        self.assertEqual(len(self.counted), 3)
        self.counted.fault("203.0.113.1", Fault.IDENTITY, 160.0 + limits.BAN_MEMORY_SECONDS)
        self.assertEqual(len(self.counted), 1)


class DeathTests(SynchronousTestCase):
    """Who was there when workers died."""

    def test_three_within_a_minute(self) -> None:
        """The third death within a minute is one too many, and counts from none again."""
        deaths = Deaths()
        self.assertEqual(deaths.count({"192.0.2.7", "partner ACME"}, 0.0), frozenset())
        self.assertEqual(deaths.count({"192.0.2.7", "192.0.2.8"}, 30.0), frozenset())
        self.assertEqual(deaths.count({"192.0.2.7", "192.0.2.8"}, 59.0), {"192.0.2.7"})
        self.assertEqual(deaths.count({"192.0.2.7", "partner ACME"}, 60.0), frozenset())
        self.assertEqual(deaths.count({"partner ACME"}, 60.5), frozenset())

    def test_bound(self) -> None:
        """Names beyond the bound are not remembered, and old ones make room."""
        deaths = Deaths()
        deaths.count((f"{number}" for number in range(limits.PENALTY_PREFIXES_MOST)), 0.0)
        for _ in range(3):
            self.assertEqual(deaths.count({"late"}, 1.0), frozenset())
        for _ in range(2):
            deaths.count({"late"}, 62.0)
        self.assertEqual(deaths.count({"late"}, 62.0), {"late"})
