"""What the backend does about events that somebody has to hear of: the event script, mail, and rules that silence.

Duty: the classes of these parts of the configuration document, the entry of an ignore rule, which is in no document,
and the judgement whether an event is meant. Every default and range of a number is in
:mod:`~smartproxy.policy.limits`.
"""

import datetime
import enum
import re
import unicodedata
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.schema import ForPeople, ListOf, Optional, kind
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import FILE, NAME, Instant, Line, Member, Whole


class AlertLevel(enum.StrEnum):
    """From which level on events start something; ``none``: no level does."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    NONE = "none"


_EVENT: Final = Line(
    pattern=r"[a-z_]+\.(?:[a-z_]+)?", form="an event's name, or a subject with its full stop: certificate."
)


@attrs.frozen(kw_only=True)
class AlertSelection:
    """Which events are meant.

    :ivar level: events of this level and of higher ones.
    :ivar names: events that are meant whatever their level: names, or subjects with their full stop. By default,
        events about a partner that is watched are always meant.
    :ivar partners: if not empty, an event that names a partner is meant only if it is one of these.
    :ivar hours: how old an event may be.
    """

    level: AlertLevel = attrs.field(default=AlertLevel.CRITICAL, metadata=kind(Member(AlertLevel)))
    names: tuple[str, ...] = attrs.field(
        default=("watch.",), metadata=kind(ListOf(item=_EVENT, most=limits.ALERT_NAMES_MOST))
    )
    partners: tuple[str, ...] = attrs.field(default=(), metadata=kind(ListOf(item=NAME, most=limits.ALERT_NAMES_MOST)))
    hours: int = attrs.field(default=limits.ALERT_HOURS.default, metadata=kind(Whole(limits.ALERT_HOURS)))

    def names_event(self, name: str) -> bool:
        """Whether an event's name, or its subject, is one of :attr:`names`."""
        return name in self.names or name[: name.index(".") + 1] in self.names

    def admits_partner(self, partner: str | None) -> bool:
        """Whether an event of a partner, or of none, can be meant."""
        return partner is None or not self.partners or partner in self.partners


@attrs.frozen(kw_only=True)
class EventScript(AlertSelection):
    """The program that the backend starts for events.

    :ivar program: its absolute path; ``None``: none is started.
    :ivar seconds: how long it may run.
    :ivar at_once: how many run at the same time.
    :ivar waiting: how many events may wait for it.
    """

    program: str | None = attrs.field(default=None, metadata=kind(Optional(FILE)))
    seconds: int = attrs.field(default=limits.SCRIPT_SECONDS.default, metadata=kind(Whole(limits.SCRIPT_SECONDS)))
    at_once: int = attrs.field(default=limits.SCRIPTS.default, metadata=kind(Whole(limits.SCRIPTS)))
    waiting: int = attrs.field(default=limits.SCRIPT_WAITING.default, metadata=kind(Whole(limits.SCRIPT_WAITING)))

    @property
    def is_on(self) -> bool:
        """Whether anything is started."""
        return self.program is not None


class MailSecurity(enum.StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


_HOST: Final = Line(most=253, pattern="[0-9A-Za-z._:%-]+", form="a host name or an address")
_MAIL_ADDRESS: Final = Line(
    most=limits.MAIL_ADDRESS_CHARACTERS_MOST,
    pattern=r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*",
    form="a mail address such as oftp@example.com",
)


@attrs.frozen(kw_only=True)
class Mail(AlertSelection):
    """The mail that the backend sends for events.

    :ivar host: the mail server; ``None``: no mail is sent.
    :ivar security: ``starttls``: TLS is begun on the connection, or no mail is sent; ``implicit``: the connection
        begins with TLS, usually at port 465; ``none``: no TLS.
    :ivar ca_file: a PEM file with the CAs of the server's certificate; ``None``: those of the system.
    :ivar user: whom to log in as; ``None``: nobody.
    :ivar password_file: a file whose first line is the password.
    :ivar sender: the address that the mail is from.
    :ivar to: the addresses that it goes to.
    :ivar every_seconds: how long the next mail waits after one was sent.
    """

    host: str | None = attrs.field(default=None, metadata=kind(Optional(_HOST)))
    port: int = attrs.field(default=limits.MAIL_PORT.default, metadata=kind(Whole(limits.MAIL_PORT)))
    security: MailSecurity = attrs.field(default=MailSecurity.STARTTLS, metadata=kind(Member(MailSecurity)))
    ca_file: str | None = attrs.field(default=None, metadata=kind(Optional(FILE)))
    user: str | None = attrs.field(default=None, metadata=kind(Optional(Line())))
    password_file: str | None = attrs.field(default=None, metadata=kind(Optional(FILE)))
    sender: str | None = attrs.field(default=None, metadata=kind(Optional(_MAIL_ADDRESS), key="from"))
    to: tuple[str, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=_MAIL_ADDRESS, most=limits.MAIL_ADDRESSES_MOST))
    )
    every_seconds: int = attrs.field(default=limits.MAIL_EVERY.default, metadata=kind(Whole(limits.MAIL_EVERY)))

    @property
    def is_on(self) -> bool:
        """Whether mail is sent."""
        return self.host is not None


def check_mail(mail: Mail) -> None:
    """Refuse what no single value shows: half of what sending mail takes, and a password without TLS.

    :raises DocumentRefused: with the place of the first fault.
    """
    faults = (
        (mail.is_on and mail.sender is None, "from", "has to be set where `host` is; set them together"),
        (mail.is_on and not mail.to, "to", "has to be set where `host` is; set them together"),
        (
            (mail.user is None) != (mail.password_file is None),
            "user",
            "and `password_file` are set together, or neither",
        ),
        (
            mail.user is not None and mail.security is MailSecurity.NONE,
            "security",
            "is `none`: the password would cross the network as it is; take starttls or implicit",
        ),
    )
    for is_fault, key, message in faults:
        if is_fault:
            where = f"backend.mail.{key}"
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_CONTRADICTION, message=message)


@attrs.frozen(kw_only=True)
class IgnoreRule:
    """A rule that silences events whose line has a text in it.

    :ivar name: what the rule is called.
    :ivar text: the text, in upper or lower case.
    :ivar description: why the rule is there.
    :ivar valid_from: from when on it counts; ``None``: at once.
    :ivar valid_until: until when it counts; ``None``: for ever.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(listed=True)))
    text: str = attrs.field(
        metadata=kind(
            Line(most=limits.IGNORE_TEXT_CHARACTERS_MOST),
            people=ForPeople(
                help="the text that an event's line has in it, as 'smartproxy events' prints it, with or without "
                "--long; upper and lower case are alike",
                listed=True,
            ),
        )
    )
    description: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Line(most=limits.IGNORE_TEXT_CHARACTERS_MOST)),
            people=ForPeople(help="why this is known and harmless", unset="-", listed=True),
        ),
    )
    valid_from: datetime.datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant())))
    valid_until: datetime.datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant())))

    def counts(self, moment: datetime.datetime) -> bool:
        """Whether the rule counts at a moment."""
        begun = self.valid_from is None or self.valid_from <= moment
        return begun and not self.is_over(moment)

    def is_over(self, moment: datetime.datetime) -> bool:
        """Whether the rule's time is over."""
        return self.valid_until is not None and self.valid_until < moment

    def hits(self, folded_line: str) -> bool:
        """Whether the text is in a line that :func:`folded` made."""
        return folded(self.text) in folded_line


_BLANKS: Final = re.compile(r"\s+")


def folded(text: str) -> str:
    """A text in the form for comparing: without case (Unicode's full folding), composed, with single blanks."""
    composed = unicodedata.normalize("NFC", text).casefold()
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", composed))
