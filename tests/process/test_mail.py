"""Mail about events: real mail servers on loopback, and whole daemons."""

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from smartproxy.backend.alerts.mail import MailFailed, Mailing, MailSender, compose, digest_of, prepare
from smartproxy.backend.alerts.results import example
from smartproxy.backend.location import Location
from smartproxy.backend.operations.event_script import ask_mail
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.store import Store
from smartproxy.policy import limits
from smartproxy.policy.alerts import Mail, MailSecurity
from smartproxy.policy.causes import Cause
from smartproxy.testing.pki import TestCa
from smartproxy.testing.programs import ProgramFailed
from tests.process.clock import LIMIT_SECONDS
from tests.process.mail_server import PASSWORD, USER, MailServer
from tests.process.sites import Log, SiteCase
from tests.process.test_alerts import taken_port
from tests.unit.sites import NOW

reactor: Any = installed_reactor
TO = ("edi@example.com", "night@example.com")


class Silent(Protocol):
    """A server that takes connections and says nothing."""


class Sent(TestCase):
    """One mail to one server."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Make an authority, its file, and the password's."""
        super().setUp()
        self.ca = TestCa.root("Mail")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.anchor, self.secret = self.folder / "ca.pem", self.folder / "password"
        self.anchor.write_bytes(self.ca.certificate_pem)
        self.secret.write_text(PASSWORD + "\n")
        self.secret.chmod(0o600)

    def serve(self, *, tls: bool = False, sans: Sequence[str] = ("DNS:localhost",), **values: bool) -> MailServer:
        """Have a mail server."""
        server = MailServer(self.ca.issue("localhost", sans=sans), **values)
        self.listen(server, server.tls if tls else None)
        return server

    def listen(self, factory: Any, tls: Any = None) -> None:
        """Let it listen, and have :attr:`mail` call it."""
        if tls is None:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, factory, tls, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.mail = Mail(
            host="localhost",
            port=port.getHost().port,
            ca_file=str(self.anchor),
            user=USER,
            password_file=str(self.secret),
            sender="oftp@example.com",
            to=TO,
        )

    def mailing(self, **values: Any) -> Mailing:
        """A mail that is about to be sent."""
        mail = attrs.evolve(self.mail, **values)
        sender: MailSender = prepare(mail)
        return Mailing(reactor, sender, compose(mail, digest_of("Müller", [example(NOW)]), NOW))

    async def send(self, **values: Any) -> Sequence[str]:
        """Send a mail; the addresses that were refused."""
        return await self.mailing(**values).send()

    async def failed(self, cause: Cause, words: str, **values: Any) -> MailFailed:
        """Fail to send a mail; how, without the password in it."""
        try:
            await self.send(**values)
        except MailFailed as failed:
            self.assertEqual((failed.cause, words in str(failed)), (cause, True), str(failed))
            for text in (str(failed), repr(failed), failed.answer):
                self.assertNotIn(PASSWORD, text)
            return failed
        raise AssertionError("it was sent")

    async def test_starttls(self) -> None:
        """TLS is begun on the connection, the login is in it, and the mail arrives whole for all addresses."""
        server = self.serve()
        self.assertEqual(await self.send(), [])
        (mail,) = server.mails
        self.assertEqual((server.logins, server.recipients), ([USER], list(TO)))
        self.assertEqual(mail["Subject"], "SmartProxy Müller: CRITICAL listener.failed")
        self.assertIn("This is a test", mail.get_content())

    async def test_implicit(self) -> None:
        """The connection begins with TLS."""
        server = self.serve(tls=True, starttls=False)
        self.assertEqual(await self.send(security=MailSecurity.IMPLICIT), [])
        self.assertEqual((len(server.mails), server.logins), (1, [USER]))

    async def test_plain(self) -> None:
        """Without TLS and login, to a server that wants neither."""
        server = self.serve(starttls=False, login=False)
        values = {"security": MailSecurity.NONE, "user": None, "password_file": None, "ca_file": None}
        self.assertEqual(await self.send(**values), [])
        self.assertEqual(len(server.mails), 1)

    async def test_no_starttls(self) -> None:
        """A server, or somebody between, that offers no STARTTLS gets neither password nor mail."""
        server = self.serve(starttls=False)
        await self.failed(Cause.MAIL_TLS, "STARTTLS")
        self.assertEqual((server.logins, server.mails), ([], []))

    async def test_certificate(self) -> None:
        """A certificate of another authority, or for another name, is not accepted, in both kinds of TLS."""
        for tls, security in ((False, MailSecurity.STARTTLS), (True, MailSecurity.IMPLICIT)):
            server = self.serve(tls=tls)
            self.anchor.write_bytes(TestCa.root("Other").certificate_pem)
            await self.failed(Cause.MAIL_TLS, "certificate verify failed", security=security)
            self.anchor.write_bytes(self.ca.certificate_pem)
            self.assertEqual(server.logins, [])
            for sans in (["DNS:other.example"], []):
                server = self.serve(tls=tls, sans=sans)
                await self.failed(Cause.MAIL_TLS, "another name", security=security)
                self.assertEqual((server.logins, server.mails), ([], []))

    async def test_login(self) -> None:
        """A wrong password, and a server that offers no login, are told."""
        server = self.serve()
        self.secret.write_text("wrong\n")
        failed = await self.failed(Cause.MAIL_LOGIN, "login of oftp")
        self.assertIn("uthentication failed", failed.answer)
        self.serve(login=False)
        await self.failed(Cause.MAIL_LOGIN, "login of oftp")
        self.assertEqual(server.mails, [])

    async def test_addresses(self) -> None:
        """An address that is refused is named; if all are, nothing is sent."""
        server = self.serve()
        server.refused = {TO[1]}
        self.assertEqual(await self.send(), [TO[1]])
        self.assertEqual(len(server.mails), 1)
        server.refused = set(TO)
        failed = await self.failed(Cause.MAIL_REFUSED, "does not take the mail")
        self.assertTrue(failed.answer)
        self.assertEqual(len(server.mails), 1)

    async def test_not_there(self) -> None:
        """Nobody listens, the name is unknown, or the connection ends at once."""
        self.listen(Factory.forProtocol(Closing))
        await self.failed(Cause.MAIL_CONNECT, "cannot be reached")
        await self.failed(Cause.MAIL_CONNECT, "cannot be reached", port=taken_port(self, listening=False))
        await self.failed(Cause.MAIL_CONNECT, "cannot be reached", host="nowhere.invalid")

    async def test_silent(self) -> None:
        """A server that says nothing is waited for no longer than the deadline, and a mail can be given up."""
        self.listen(Factory.forProtocol(Silent))
        self.patch(limits, "MAIL_SECONDS", 0.01)
        await self.failed(Cause.MAIL_CONNECT, "within 0.01 s")
        self.patch(limits, "MAIL_SECONDS", 1000.0)
        mailing = self.mailing()
        sending = Deferred.fromCoroutine(mailing.send())
        mailing.stop()
        await self.assertFailure(sending, MailFailed)
        mailing = self.mailing()
        mailing.stop()
        await self.assertFailure(Deferred.fromCoroutine(mailing.send()), MailFailed)


class Closing(Protocol):
    """A server that closes each connection."""

    def connectionMade(self) -> None:
        """Close it."""
        assert self.transport is not None
        self.transport.loseConnection()


class Daemons(SiteCase):
    """A site that sends mail."""

    async def begin(self) -> None:
        """Have a mail server."""
        await super().begin()
        ca = TestCa.root("Mail")
        self.server = MailServer(ca.issue("localhost", sans=["DNS:localhost"]))
        port = reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        anchor, self.secret = self.site.folder / "mail-ca.pem", self.site.folder / "mail-password"
        anchor.write_bytes(ca.certificate_pem)
        self.secret.write_text(PASSWORD)
        self.secret.chmod(0o600)
        settings = {
            "host": "localhost",
            "port": str(port.getHost().port),
            "ca_file": str(anchor),
            "user": USER,
            "password_file": str(self.secret),
            "from": "oftp@example.com",
            "to": ",".join(TO),
        }
        words = [word for name, value in settings.items() for word in (f"backend.mail.{name}", value)]
        await self.site.smartproxy("settings", "set", *words)

    async def test_critical_event_of_the_server(self) -> None:
        """A test mail arrives; so does a critical event of the server; the password is in no log, store or answer."""
        answer = await self.site.smartproxy("mail", "test")
        self.assertEqual(answer["accepted"], list(TO))
        (test,) = self.server.mails
        self.assertIn("TEST", test["Subject"])

        log = Log(self.site.backend)
        asker = Caller(name="alice", scopes=frozenset({"event-script:act"}))
        with closing(Store.open(Location.of(str(self.site.state), None, {}))) as store:
            perform(store, ask_mail, Nothing(), asker, datetime.now(UTC))
        await log.event("mail.sent")
        self.assertIn("TEST", self.server.mails[-1]["Subject"])
        self.assertEqual(len(self.server.mails), 2)

        log = Log(self.site.backend)
        port = taken_port(self)
        await self.site.smartproxy("settings", "set", "server.listeners", f"127.0.0.1:0,127.0.0.1:{port}")
        await log.event("mail.sent")
        mail = self.server.mails[-1]
        self.assertIn("CRITICAL listener.failed", mail["Subject"])
        self.assertIn(f"port={port}", mail.get_content().replace("=\n", ""))

        self.secret.write_text("wrong")
        failed = await self.assertFailure(Deferred.fromCoroutine(self.site.smartproxy("mail", "test")), ProgramFailed)
        self.assertIn("mail.login", str(failed))
        for folder in (self.site.folder / "smartproxy-backend", self.site.state):
            for path in folder.rglob("*"):
                if path.is_file():
                    self.assertNotIn(PASSWORD.encode(), path.read_bytes(), path)
