"""The end of the licence while the server runs: told in time, told once, and put off by a renewed licence."""

from datetime import timedelta

import attrs

from smartproxy.policy.licence import sign
from smartproxy.policy.limits import CLOCK_LOOK_SECONDS
from smartproxy.server.condition import ServerCondition
from smartproxy.tunnel.licence import FILE_SECONDS
from tests.adapters.test_server_service import NOW, ServerTestCase, document, licence, signing_key

DAY = timedelta(days=1)


class LicenceEnds(ServerTestCase):
    """What the server says of its licence as time goes by."""

    def hours(self, count: int) -> None:
        """Let hours go by, on the wall and on the reactor's clock."""
        for _ in range(count):
            self.now += timedelta(hours=1)
            self.reactor.advance(3600)

    def days(self, days: int) -> None:
        """Hold a licence that ends so many days from now."""
        self.service.licence.present = licence(days)
        self.service.licence_watch.look()

    def told(self) -> list[tuple[str, int | None]]:
        """What was said of the end so far, with the days left."""
        names = ("licence.ending", "licence.expired")
        return [(event["name"], event.get("count")) for event in self.events if event["name"] in names]

    def test_each_warning_once(self) -> None:
        """Thirty, fourteen, seven days and one day before, and at the end, once each, with what to do about it."""
        self.days(40)
        self.hours(24 * 45)
        ending = [("licence.ending", days) for days in (30, 14, 7, 1)]
        self.assertEqual(self.told(), [*ending, ("licence.expired", None)])
        self.assertIn("smartproxy licence extend", self.named("licence.expired")[0]["advice"])

    def test_short_licence(self) -> None:
        """A licence whose end is near already when it is put in force is told of at once, with its latest warning."""
        self.days(3)
        self.assertEqual(self.told(), [("licence.ending", 3)])

    def test_end_to_the_second(self) -> None:
        """The end is told when it is there, not an hour later; at its very last moment the licence still holds."""
        self.days(0)
        self.service.licence_watch.look()
        self.assertEqual(self.told(), [("licence.ending", 0)])
        self.now += timedelta(seconds=1)
        self.reactor.advance(1)
        self.assertEqual(self.told()[1:], [("licence.expired", None)])

    def test_renewed_after_its_end(self) -> None:
        """An expired licence is renewed by the next generation, and sessions may begin again; its end is told anew."""
        self.days(1)
        self.hours(25)
        self.assertIsNotNone(self.service.licence.fault())
        client = self.client()
        self.bring(client, document(licence=sign(licence(900), signing_key())))
        self.assertIsNone(self.service.licence.fault())
        self.assertEqual(len(self.told()), 2)
        self.now = NOW + 899 * DAY
        self.reactor.advance(CLOCK_LOOK_SECONDS)
        self.assertEqual(self.told()[2:], [("licence.ending", 1)])

    def test_renewed_limits_hold_at_once(self) -> None:
        """The limits of a renewed licence hold for the generation that it comes with."""
        self.bring(self.client(), document(licence=sign(licence(900, sessions=3), signing_key())))
        generation = self.service.sessions.generation
        assert generation is not None
        self.assertEqual(generation.part.server.limits.sessions, 3)

    def test_clock_put_back(self) -> None:
        """A clock that ran ahead and is put right lets sessions begin again; the end is told again when it comes."""
        self.days(1)
        self.now += 2 * DAY
        self.reactor.advance(CLOCK_LOOK_SECONDS)
        self.now -= 2 * DAY
        self.reactor.advance(CLOCK_LOOK_SECONDS)
        self.assertEqual([name for name, _ in self.told()], ["licence.ending", "licence.expired", "licence.ending"])
        self.assertIsNone(self.service.licence.fault())

    def test_clock_put_back_too_far(self) -> None:
        """Before the begin of the licence it is the clock that is wrong, and the licence did not end."""
        self.now = NOW - 2 * DAY
        fault = self.service.licence.fault()
        assert fault is not None
        self.assertEqual(fault.rule, "licence.not_yet_valid")
        self.assertEqual(fault.message, "the licence is not valid before 2026-11-19 10:00 UTC")
        condition = ServerCondition(self.reactor, self.service, lambda: self.now)
        self.assertEqual(condition._verdict().findings[0].code, "unlicensed")
        self.assertIn(": check this machine's clock", condition._verdict().findings[0].sentence)
        self.now = NOW + 400 * DAY
        self.assertIn(
            "the licence ended on 2027-11-20 10:00 UTC: extend the licence",
            condition._verdict().findings[0].sentence,
        )

    def test_stopped_server_looks_no_more(self) -> None:
        """Nothing is left on the clock, however often it looked."""
        self.days(20)
        self.days(10)
        stopped = self.service.stopService()
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class LicenceBegins(ServerTestCase):
    """A licence that is not valid yet when it arrives."""

    def early(self) -> str:
        """A licence that begins in a minute and a half."""
        return sign(attrs.evolve(licence(900), valid_from=NOW + timedelta(seconds=90)), signing_key())

    def waits(self) -> None:
        """Nothing happens before its begin, and it is refused once; afterwards it is in force."""
        for seconds in (60, 60):
            self.assertEqual(self.service.licence.present.valid_until, self.before)
            self.assertEqual([each["cause"] for each in self.named("licence.refused")], ["licence.not_yet_valid"])
            self.now += timedelta(seconds=seconds)
            self.network.advance(seconds)
        self.assertEqual(self.service.licence.present.valid_until, NOW + 900 * DAY)
        self.assertEqual(len(self.named("licence.refused")), 1)

    def setUp(self) -> None:
        """Have the server hold a licence from the tunnel, which it would write again."""
        super().setUp()
        self.inner = self.client()
        self.bring(self.inner, document(licence=sign(licence(800), signing_key())))
        self.before = NOW + 800 * DAY

    def test_with_a_generation(self) -> None:
        """It is put in force and written when its time has come; until then the file of the present one is kept."""
        text = self.early()
        for number in (2, 3):
            self.bring(self.inner, document(number, licence=text), number)
        self.path.unlink()
        self.waits()
        self.assertEqual((len(self.named("licence.restored")), self.path.read_text()), (1, text))

    def test_as_a_file(self) -> None:
        """The file of an operator is left as it is, and in force when its time has come."""
        text = self.early()
        self.path.write_text(text)
        self.network.advance(FILE_SECONDS)
        stamp = self.path.stat().st_mtime_ns
        self.waits()
        self.network.advance(60)
        self.assertEqual((self.path.read_text(), self.path.stat().st_mtime_ns), (text, stamp))
        self.assertEqual(self.named("licence.restored"), [])

    def test_file_that_is_deleted(self) -> None:
        """A file that is gone before its time is not waited for: the one in force is written again."""
        self.path.write_text(self.early())
        self.network.advance(FILE_SECONDS)
        self.path.unlink()
        self.now += timedelta(seconds=120)
        self.network.advance(120)
        self.assertEqual(self.service.licence.present.valid_until, self.before)
        self.assertEqual(len(self.named("licence.restored")), 1)

    def test_overtaken(self) -> None:
        """Another licence that is taken meanwhile stays, though the early one would end later."""
        self.bring(self.inner, document(2, licence=self.early()), 2)
        self.bring(self.inner, document(3, licence=sign(licence(850), signing_key())), 3)
        self.now += timedelta(seconds=120)
        self.network.advance(120)
        self.assertEqual(self.service.licence.present.valid_until, NOW + 850 * DAY)
