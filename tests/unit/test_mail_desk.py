"""Which events a mail tells of, when it is sent, and what becomes of one that is not."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import journal, settings
from smartproxy.backend.alerts import ignore_rules, results
from smartproxy.backend.alerts.intake import AlertChannel
from smartproxy.backend.alerts.mail import MailFailed, MailSender
from smartproxy.backend.alerts.mail_desk import MailDesk
from smartproxy.backend.rounds import STORE_LOOK_SECONDS
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.record import read as read_record
from smartproxy.policy import limits
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.causes import Cause
from tests.adapters.api_site import AtOnce
from tests.unit.sites import NOW, SiteCase
from tests.unit.test_mail import read

EVERY = 300.0


class Mails:
    """Stands for the sending of one mail: it waits until a test ends it."""

    sent: ClassVar[list["Mails"]] = []

    def __init__(self, reactor: object, sender: MailSender, message: bytes) -> None:
        self.text = str(read(message).get_content())
        self.subject = str(read(message)["Subject"])
        self.host = sender.mail.host
        self.done: Deferred[Sequence[str]] = Deferred()
        self.sent.append(self)

    async def send(self) -> Sequence[str]:
        """Wait."""
        return await self.done

    def stop(self) -> None:
        """Send no more."""
        self.fail(Cause.MAIL_CONNECT)

    def fail(self, cause: Cause = Cause.MAIL_CONNECT, answer: str = "") -> None:
        """The mail server does not take it."""
        self.done.errback(MailFailed(cause, "the mail server cannot be reached", answer))


class Mailed(SiteCase):
    """A site that sends mail."""

    def setUp(self) -> None:
        """Set it up, and make the desk."""
        super().setUp()
        with self.change() as change:
            for name, value in (("host", "mail.example"), ("from", "a@b.example"), ("to", ["c@d.example"])):
                settings.put(change, f"backend.mail.{name}", value)
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.told: list[dict[str, Value]] = []
        self.events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.patch(Mails, "sent", [])
        self.start()

    def start(self) -> None:
        """Start a backend's desk."""
        mails: Any = Mails
        self.desk = MailDesk(self.store, AtOnce(), self.events, self.clock, mails)
        self.desk.start()
        self.addCleanup(self.desk.stop)

    def arrive(self, *ports: int, name: str = "listener.failed", age: float = 0, **fields: object) -> None:
        """Store events as one batch, and let the desk look."""
        moment = NOW + timedelta(seconds=self.clock.seconds() - NOW.timestamp())
        told = {"name": name, "time": (moment - timedelta(seconds=age)).isoformat(), "source": "server"}
        more = {"cause": Cause.PORT_IN_USE, **fields}
        records = [read_record({**told, "sequence": port, "port": port, **more}) for port in ports]
        with self.store.writing() as session:
            journal.keep(session, records, moment)
        self.clock.advance(STORE_LOOK_SECONDS)

    def states(self) -> list[str]:
        """How far all of it is."""
        with self.store.reading() as session:
            return [each.state.value for each in results.listed(session, AlertChannel.MAIL, 1000)]

    def names(self) -> list[Value]:
        """The names of the events that the desk told."""
        return [each["name"] for each in self.told]

    def test_first_at_once(self) -> None:
        """The first critical event is sent at once; when the mail server has it, that is told, and it is done."""
        self.arrive(1)
        (mail,) = Mails.sent
        self.assertEqual(mail.subject, "SmartProxy Muster GmbH: CRITICAL listener.failed")
        self.assertEqual(self.states(), ["waiting"])
        mail.done.callback([])
        self.assertEqual((self.names(), self.states()), (["mail.sent"], ["done"]))
        self.clock.pump([60.0] * 60)
        self.assertEqual(len(Mails.sent), 1)

    def test_flood(self) -> None:
        """What comes after it is gathered for some minutes and is one mail with counts, also after a restart."""
        self.arrive(1)
        Mails.sent[0].done.callback([])
        for _ in range(5):
            self.arrive(*range(1, 201))
        self.assertEqual(len(Mails.sent), 1)
        self.desk.stop()
        self.start()
        self.clock.advance(EVERY - 7)
        self.assertEqual(len(Mails.sent), 1)
        self.clock.advance(3)
        self.assertIn("1000 events at", Mails.sent[1].text)
        Mails.sent[1].done.callback([])
        self.assertEqual(self.states(), ["done"] * 1000)
        self.assertEqual(self.told[-1]["count"], 1000)

    def test_clock_was_ahead(self) -> None:
        """After a mail that was sent while the clock was years ahead, the next ones keep their breaks all the same."""
        self.desk.stop()
        self.clock.advance(4 * 365 * 24 * 3600)
        self.start()
        self.arrive(1)
        Mails.sent[0].done.callback([])
        self.desk.stop()
        self.clock.rightNow = NOW.timestamp()
        self.start()
        self.arrive(2)
        Mails.sent[1].done.callback([])
        self.arrive(3)
        self.assertEqual(len(Mails.sent), 2)
        self.clock.advance(EVERY)
        self.assertEqual(len(Mails.sent), 3)

    def test_which(self) -> None:
        """Level, names and partners of mail are its own; rules silence it; what it tells itself starts none."""
        with self.change() as change:
            settings.put(change, "backend.mail.names", ["certificate.refused", "mail."])
            ignore_rules.add(change, IgnoreRule(name="known", text="port=7"))
        self.arrive(7)
        self.arrive(8, name="listener.opened", cause=None, message=None)
        with self.store.writing() as session:
            told = {"name": "mail.failed", "time": NOW.isoformat(), "source": "backend", "sequence": 1}
            journal.keep(session, [read_record({**told, "cause": Cause.MAIL_TLS, "count": 1})], NOW)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(Mails.sent, [])
        self.arrive(9)
        self.assertEqual(len(Mails.sent), 1)

    def test_failed(self) -> None:
        """A mail that failed is told with the cause, and sent again after a minute, two, four, with what came since."""
        self.arrive(1)
        Mails.sent[0].fail(Cause.MAIL_LOGIN, "535 no\nBcc: x\x1b")
        (told,) = self.told
        self.assertEqual((told["name"], told["level"], told["cause"]), ("mail.failed", "error", "mail.login"))
        self.assertEqual((told["host"], told["count"], told["seconds"]), ("mail.example", 1, 60.0))
        self.assertEqual(told["detail"], "535 no | Bcc: x\\x1b")
        self.arrive(2)
        self.clock.advance(58)
        self.assertEqual(len(Mails.sent), 1)
        self.clock.advance(2)
        self.assertIn("2 events at", Mails.sent[1].text)
        Mails.sent[1].fail()
        self.clock.advance(119)
        self.assertEqual(len(Mails.sent), 2)
        self.clock.advance(1)
        Mails.sent[2].done.callback([])
        self.assertEqual(self.states(), ["done", "done"])

    def test_failing_for_long(self) -> None:
        """It is tried every ten minutes in the end, until the events are too old."""
        self.arrive(1)
        while self.states() == ["waiting"]:
            if not Mails.sent[-1].done.called:
                Mails.sent[-1].fail()
            self.clock.advance(60)
        self.assertEqual(self.states(), ["old"])
        self.assertEqual({each["seconds"] for each in self.told[4:]}, {600.0})
        self.assertGreater(self.clock.seconds() - NOW.timestamp(), 24 * 3600)

    def test_some_addresses(self) -> None:
        """Addresses that the mail server refused are told; the mail is not sent to the others again."""
        self.arrive(1)
        Mails.sent[0].done.callback(["c@d.example"])
        self.assertEqual(self.names(), ["mail.failed", "mail.sent"])
        self.assertEqual(self.told[0]["names"], ["c@d.example"])
        self.assertEqual(self.states(), ["done"])

    def test_stopped(self) -> None:
        """The end of the backend ends the sending; the event is sent after the restart, and nothing else is told."""
        self.arrive(1)
        self.successResultOf(self.desk.stop())
        self.assertEqual(self.told, [])
        self.start()
        self.assertEqual(len(Mails.sent), 2)
        Mails.sent[1].done.callback([])
        self.assertEqual(self.states(), ["done"])

    def test_killed(self) -> None:
        """A mail whose end was never noted is sent again."""
        self.arrive(1)
        self.start()
        self.assertEqual(len(Mails.sent), 1)
        self.clock.advance(2 * limits.MAIL_SECONDS)
        self.assertEqual(len(Mails.sent), 2)

    def test_too_many(self) -> None:
        """More than may wait are counted in one event."""
        self.patch(limits, "MAIL_WAITING_MOST", 3)
        self.arrive(*range(1, 9))
        self.assertEqual([(each["name"], each["count"]) for each in self.told], [("mail.dropped", 5)])
        self.assertIn("3 events at", Mails.sent[0].text)

    def test_off_meanwhile(self) -> None:
        """Where mail was switched off meanwhile, what waited is not sent."""
        self.arrive(1)
        Mails.sent[0].fail()
        with self.change() as change:
            for name in ("host", "from", "to"):
                settings.reset(change, f"backend.mail.{name}")
        self.clock.advance(60)
        self.assertEqual((len(Mails.sent), self.states()), (1, ["old"]))

    def test_bug(self) -> None:
        """A bug is told, and the mail is sent a minute later."""
        with patch.object(Mails, "send", side_effect=ZeroDivisionError):
            self.arrive(1)
        self.assertEqual(self.names(), ["internal.error"])
        self.flushLoggedErrors(ZeroDivisionError)
        self.clock.advance(60)
        self.assertEqual(len(Mails.sent), 2)
