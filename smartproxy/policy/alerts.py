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
from smartproxy.policy.schema import ForPeople, ListOf, Optional, kind
from smartproxy.policy.values import NAME, Instant, Line, Member, Whole


class AlertLevel(enum.StrEnum):
    """From which level on events start something; ``none``: no level does."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    NONE = "none"


_EVENT: Final = Line(
    pattern=r"[a-z_]+\.(?:[a-z_]+)?", form="an event's name, or a subject with its full stop: certificate."
)
_PATH: Final = Line(most=limits.PATH_CHARACTERS_MOST, pattern=r"/.*[^/]", form="the absolute path of a file")


@attrs.frozen(kw_only=True)
class AlertSelection:
    """Which events are meant.

    :ivar level: events of this level and of higher ones.
    :ivar names: events that are meant whatever their level: names, or subjects with their full stop.
    :ivar partners: if not empty, an event that names a partner is meant only if it is one of these.
    :ivar hours: how old an event may be.
    """

    level: AlertLevel = attrs.field(default=AlertLevel.CRITICAL, metadata=kind(Member(AlertLevel)))
    names: tuple[str, ...] = attrs.field(default=(), metadata=kind(ListOf(item=_EVENT, most=limits.ALERT_NAMES_MOST)))
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

    program: str | None = attrs.field(default=None, metadata=kind(Optional(_PATH)))
    seconds: int = attrs.field(default=limits.SCRIPT_SECONDS.default, metadata=kind(Whole(limits.SCRIPT_SECONDS)))
    at_once: int = attrs.field(default=limits.SCRIPTS.default, metadata=kind(Whole(limits.SCRIPTS)))
    waiting: int = attrs.field(default=limits.SCRIPT_WAITING.default, metadata=kind(Whole(limits.SCRIPT_WAITING)))

    @property
    def is_on(self) -> bool:
        """Whether anything is started."""
        return self.program is not None


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
