"""A mail server for tests, on loopback: TLS, login, and the mails that it took."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ServerFactory
from twisted.internet.ssl import PrivateCertificate
from twisted.mail import smtp
from twisted.mail.imap4 import LOGINCredentials, PLAINCredentials
from zope.interface import implementer

from smartproxy.testing.pki import TestCredential

USER, PASSWORD = "oftp", "sesame-4711"


@implementer(smtp.IMessage)
class _Incoming:
    """A mail that is being taken."""

    def __init__(self, server: "MailServer") -> None:
        self._server = server
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        """Take a line."""
        self._lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        """Take the mail."""
        message = message_from_bytes(b"\r\n".join(self._lines), policy=default)
        assert isinstance(message, EmailMessage)
        # One for each address.
        if message["Message-ID"] not in [each["Message-ID"] for each in self._server.mails]:
            self._server.mails.append(message)
        return succeed(None)

    def connectionLost(self) -> None:
        """Forget it."""
        self._lines.clear()


@implementer(smtp.IMessageDelivery)
class _Delivery:
    """What is taken, and for whom."""

    def __init__(self, server: "MailServer") -> None:
        self._server = server

    def receivedHeader(self, helo: object, origin: object, recipients: object) -> bytes:
        """Say where the mail came from."""
        return b"Received: by a test"

    def validateFrom(self, helo: object, origin: Any) -> Any:
        """Take any sender."""
        return origin

    def validateTo(self, user: Any) -> Any:
        """Take an address, or not."""
        address = str(user.dest)
        if address in self._server.refused:
            raise smtp.SMTPBadRcpt(user)
        self._server.recipients.append(address)
        return lambda: _Incoming(self._server)


@implementer(IRealm)
class _Realm:
    """Whoever logged in may send."""

    def __init__(self, server: "MailServer") -> None:
        self._server = server

    def requestAvatar(self, avatar: Any, mind: object, *interfaces: Any) -> Any:
        """Let somebody in."""
        self._server.logins.append(avatar.decode())
        return smtp.IMessageDelivery, _Delivery(self._server), lambda: None


class MailServer(ServerFactory):
    """A mail server.

    :ivar mails: what it took.
    :ivar recipients: for whom.
    :ivar logins: who logged in.
    :ivar refused: addresses that it does not take.
    :param credential: its certificate and key.
    :param starttls: whether it offers STARTTLS.
    :param login: whether it takes mail only from who logs in.
    """

    def __init__(self, credential: TestCredential, *, starttls: bool = True, login: bool = True) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.logins: list[str] = []
        self.refused: set[str] = set()
        pem = credential.certificate_pem + credential.key_pem
        self.tls = PrivateCertificate.loadPEM(pem).options()
        self._starttls = starttls
        self._login = login
        self._portal = Portal(_Realm(self), [InMemoryUsernamePasswordDatabaseDontUse(**{USER: PASSWORD.encode()})])

    def buildProtocol(self, address: object) -> Any:
        """Serve a connection."""
        challengers = {b"LOGIN": LOGINCredentials, b"PLAIN": PLAINCredentials} if self._login else {}
        made = smtp.ESMTP(challengers, contextFactory=self.tls if self._starttls else None)
        made.factory = self
        made.portal = cast("Any", self._portal)
        made.host = b"mail.test"
        if not self._login:
            made.delivery = _Delivery(self)
        return made
