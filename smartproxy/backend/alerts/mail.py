"""A mail about events: what it says, and how the mail server gets it.

Twisted's SMTP, with TLS whose certificate is checked, and a login. Trusts no text of an event: control characters are
escaped, so that no header begins in it, and the headers are made by the standard library, which refuses line breaks.
The password is read from its file for each mail, and is in no event, no answer and no exception's text; nor is what was
said to the mail server, which holds it.
"""

import contextlib
import functools
import os
import stat
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import default as internet_format
from email.utils import format_datetime, make_msgid
from io import BytesIO
from typing import Any, Final

import attrs
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from smartproxy.backend.journal import StoredEvent
from smartproxy.logs.named_tls import NamedTls, trusted
from smartproxy.logs.render import escape
from smartproxy.net.tls.error_words import is_end_of_file, tls_error_words
from smartproxy.net.transport.error_words import connection_words
from smartproxy.policy import limits
from smartproxy.policy.alerts import Mail, MailSecurity
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import Undecodable

_LINE_MOST: Final = 900
"""Characters of a line; SMTP takes 998 octets, and longer ones are encoded anyway."""
_ANSWER_MOST: Final = 120


class MailFailed(Exception):
    """A mail was not sent; its text is one sentence, without any secret.

    :ivar cause: why, as a code.
    :ivar answer: what the mail server said, if that is the reason; not safe to show as it is.
    """

    def __init__(self, cause: Cause, message: str, answer: str = "") -> None:
        super().__init__(message)
        self.cause = cause
        self.answer = answer


@attrs.frozen(kw_only=True)
class MailDigest:
    """What a mail tells of.

    :ivar events: the first of the events, which are shown whole.
    :ivar kinds: how many there are of each level, name and partner (empty for none).
    """

    site: str
    events: Sequence[StoredEvent]
    kinds: Counter[tuple[str, str, str]]

    @property
    def count(self) -> int:
        """How many events there are."""
        return self.kinds.total()


def digest_of(site: str, events: Sequence[StoredEvent]) -> MailDigest:
    """A digest of events that are all at hand."""
    kinds = Counter((each.level.label, each.name, str(each.fields.get("partner") or "")) for each in events)
    return MailDigest(site=site, events=events[: limits.MAIL_EVENTS_MOST], kinds=kinds)


def compose(mail: Mail, digest: MailDigest, now: datetime) -> bytes:
    """The mail, ready to be sent."""
    message = EmailMessage(policy=internet_format)
    message["From"] = mail.sender
    message["To"] = ", ".join(mail.to)
    message["Subject"] = _subject(digest)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=str(mail.sender).rpartition("@")[2])
    # RFC 3834: no program that answers mail shall answer this one.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_body(digest)), cte="quoted-printable")
    return message.as_bytes()


def _subject(digest: MailDigest) -> str:
    (level, name, partner), _ = digest.kinds.most_common(1)[0]
    what = f"{level.upper()} {name}" + (f" {partner}" if partner else "")
    more = f" and {digest.count - 1} more" if digest.count > 1 else ""
    return escape(f"SmartProxy {digest.site}: {what}{more}", limits.MAIL_SUBJECT_CHARACTERS_MOST)


def _body(digest: MailDigest) -> list[str]:
    found = [f"{'1 event' if digest.count == 1 else f'{digest.count} events'} at {escape(digest.site)}", ""]
    if digest.count > 1:
        common = digest.kinds.most_common(limits.MAIL_KINDS_MOST)
        found += [
            escape(f"{count:>6}  {level.upper()} {name} {partner}".rstrip(), _LINE_MOST)
            for (level, name, partner), count in common
        ]
        others = digest.count - sum(count for _, count in common)
        found += [f"{others:>6}  others"] if others else []
        found.append("")
    for each in digest.events:
        found += [escape(str(each), _LINE_MOST), ""]
    rest = digest.count - len(digest.events)
    if rest:
        found += [f"... and {rest} more", ""]
    found.append("All fields: smartproxy events --long")
    found.append("To silence what is known: smartproxy ignore add NAME --text TEXT")
    return found


@attrs.frozen(kw_only=True)
class MailSender:
    """What sending takes beside the settings: what was read from files.

    :ivar tls: makes TLS connections to the mail server; ``None``: none are made.
    """

    mail: Mail
    password: bytes | None = attrs.field(repr=False)
    tls: Any


def prepare(mail: Mail) -> MailSender:
    """Read what stands in files. Blocks.

    :raises MailFailed: when one cannot be used.
    """
    # It asks for this machine's name when it is imported, which may take some time.
    import twisted.mail.smtp  # noqa: F401  Loaded here, used in the reactor's thread.

    password = None if mail.password_file is None else _password(mail.password_file)
    tls = None
    if mail.security is not MailSecurity.NONE:
        try:
            tls = NamedTls(str(mail.host), trusted(_text(mail.ca_file)))
        except (OSError, Undecodable) as error:
            raise MailFailed(Cause.MAIL_SETTINGS, f"the CAs in {mail.ca_file} cannot be read") from error
    return MailSender(mail=mail, password=password, tls=tls)


def _text(path: str | None) -> str | None:
    if path is None:
        return None
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read(limits.PEM_CHARACTERS_MOST)


def _password(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise MailFailed(
                    Cause.MAIL_SETTINGS, f"every user may read or change {path}: chmod 0600 it, and change the password"
                )
            found = file.readline(limits.PATH_CHARACTERS_MOST).rstrip(b"\r\n")
    except OSError as error:
        raise MailFailed(Cause.MAIL_SETTINGS, f"the password in {path} cannot be read: {error.strerror}") from error
    if not found:
        raise MailFailed(Cause.MAIL_SETTINGS, f"the first line of {path} is empty; it has to be the password")
    return found


class Mailing:
    """The sending of one mail.

    :param reactor: where the mail server is called.
    """

    def __init__(self, reactor: Any, sender: MailSender, message: bytes) -> None:
        self._reactor = reactor
        self._sender = sender
        self._message = message
        self._done: Deferred[Any] = Deferred()

    def stop(self) -> None:
        """Do not send it."""
        self._done.cancel()

    async def send(self) -> Sequence[str]:
        """Send it; returns the addresses that the mail server refused, at least one having been accepted.

        :raises MailFailed: when it was not sent, or nobody knows whether it was.
        """
        from twisted.mail import smtp

        if self._done.called:
            self._done.addErrback(lambda _: None)
            raise MailFailed(Cause.MAIL_CONNECT, "the mail is not sent now: the backend stops")
        mail, sender = self._sender.mail, self._sender
        factory: Any = smtp.ESMTPSenderFactory(
            None if mail.user is None else mail.user.encode(),
            sender.password,
            str(mail.sender),
            list(mail.to),
            BytesIO(self._message),
            self._done,
            retries=0,
            timeout=limits.MAIL_ANSWER_SECONDS,
            contextFactory=sender.tls,
            heloFallback=mail.security is MailSecurity.NONE,
            requireAuthentication=mail.user is not None,
            requireTransportSecurity=mail.security is not MailSecurity.NONE,
        )
        factory.protocol = _telling_protocol()
        factory.ended = Deferred()
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, str(mail.host), mail.port)
        if mail.security is MailSecurity.IMPLICIT:
            endpoint = wrapClientTLS(sender.tls, endpoint)
        calling: Deferred[Any] = endpoint.connect(factory)
        # Endpoints do not tell a factory of this kind that the call failed.
        calling.addErrback(lambda failure: factory.clientConnectionFailed(None, failure))
        self._done.addTimeout(limits.MAIL_SECONDS, self._reactor)
        try:
            _, answers = await self._done
        except (smtp.SMTPClientError, TimeoutError, CancelledError) as error:
            # What the connection says from now on has nobody to hear it.
            factory.sendFinished = True
            calling.addCallback(_abort)
            calling.cancel()
            raise self._failed(error) from None
        # The server may end the connection politely.
        ended: Deferred[None] = factory.ended
        with contextlib.suppress(TimeoutError):
            await ended.addTimeout(limits.MAIL_GOODBYE_SECONDS, self._reactor)
        calling.addCallback(_abort)
        return [address.decode("ascii", "replace") for address, code, _ in answers if code not in smtp.SUCCESS]

    def _failed(self, error: Exception) -> MailFailed:
        """What a failure may say: never what was sent before it."""
        from twisted.mail import smtp

        mail = self._sender.mail
        where = f"the mail server {mail.host}, port {mail.port},"
        if not isinstance(error, smtp.SMTPClientError):
            return MailFailed(Cause.MAIL_CONNECT, f"{where} did not take the mail within {limits.MAIL_SECONDS:g} s")
        answer = error.resp.decode("utf-8", "replace") if error.code > 0 else ""
        match error:
            case smtp.SMTPConnectError():
                return self._not_connected(error.__cause__, where)
            case smtp.TLSRequiredError() | smtp.TLSError():
                return MailFailed(Cause.MAIL_TLS, f"{where} does not begin TLS when it is asked to (STARTTLS)", answer)
            case (
                smtp.AuthenticationError()
                | smtp.AUTHDeclinedError()
                | smtp.AUTHRequiredError()
                | smtp.EHLORequiredError()
            ):
                return MailFailed(Cause.MAIL_LOGIN, f"{where} does not accept the login of {mail.user}", answer)
            case smtp.SMTPTimeoutError():
                return MailFailed(Cause.MAIL_CONNECT, f"{where} does not answer in time")
        return MailFailed(Cause.MAIL_REFUSED, f"{where} does not take the mail", answer)

    def _not_connected(self, why: BaseException | None, where: str) -> MailFailed:
        if isinstance(why, VerificationError | CertificateError):
            return MailFailed(Cause.MAIL_TLS, f"{where} has a certificate for another name, or for none")
        if isinstance(why, SSL.Error):
            words = "closed" if is_end_of_file(why) else ", ".join(sorted(set(tls_error_words(why))))
            return MailFailed(Cause.MAIL_TLS, f"{where} does not agree on TLS: {words}")
        return MailFailed(Cause.MAIL_CONNECT, f"{where} cannot be reached: {connection_words(why)}")


def _abort(line: Any) -> None:
    """Close a connection, if there is one."""
    if line is not None and line.transport is not None:
        line.transport.abortConnection()


@functools.cache
def _telling_protocol() -> Any:
    """Twisted's client, which tells its factory of its end, as endpoints do not."""
    from twisted.mail import smtp

    class TellingSender(smtp.ESMTPSender):
        def connectionLost(self, reason: Failure = connectionDone) -> Any:
            smtp.ESMTPSender.connectionLost(self, reason)
            self.factory.clientConnectionLost(None, reason)
            if not self.factory.ended.called:
                self.factory.ended.callback(None)

    return TellingSender


def shown_answer(failed: MailFailed) -> str | None:
    """What the mail server said, for an event: on one line, cut."""
    return " | ".join(failed.answer.split("\n"))[:_ANSWER_MOST] or None
