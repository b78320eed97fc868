"""What counts as unusual for a partner: how long it is silent, how long it sends nothing, how late its answers are.

Duty: the classes of these settings, of the site and of a partner, and of a partner's planned downtimes. Looks at no
event: :mod:`smartproxy.backend.business` does. Every range is in :mod:`~smartproxy.policy.limits`.
"""

import datetime

import attrs

from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import Instant, Line, Whole

_UNSET = "as the site"


@attrs.frozen(kw_only=True)
class Watching:
    """When partners are told of that say nothing else; 0: never.

    :ivar silent_hours: after so many hours without a session.
    :ivar no_files_days: after so many days in which it had sessions, and no file was transferred.
    :ivar eerp_hours: when the end response to a file has not come for so many hours.
    """

    silent_hours: int = attrs.field(default=limits.WATCH_HOURS.default, metadata=kind(Whole(limits.WATCH_HOURS)))
    no_files_days: int = attrs.field(default=limits.WATCH_DAYS.default, metadata=kind(Whole(limits.WATCH_DAYS)))
    eerp_hours: int = attrs.field(default=limits.WATCH_HOURS.default, metadata=kind(Whole(limits.WATCH_HOURS)))

    def __bool__(self) -> bool:
        """Whether anything is told."""
        return bool(self.silent_hours or self.no_files_days or self.eerp_hours)


@attrs.frozen(kw_only=True)
class Downtime:
    """A time in which a partner is known to be down.

    :ivar why: why, for people.
    """

    begins: datetime.datetime = attrs.field(metadata=kind(Instant()))
    until: datetime.datetime = attrs.field(metadata=kind(Instant()))
    why: str = attrs.field(metadata=kind(Line(most=limits.DOWNTIME_CHARACTERS_MOST)))


@attrs.frozen(kw_only=True)
class PartnerWatching:
    """When a partner is told of, where that is not as the site says.

    :ivar silent_hours: see :class:`Watching`; ``None``: as the site says.
    :ivar no_files_days: the same.
    :ivar eerp_hours: the same.
    :ivar downtimes: when nothing is told of it.
    """

    silent_hours: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.WATCH_HOURS)),
            people=ForPeople(help="tell after so many hours without a session; 0: never", unset=_UNSET),
        ),
    )
    no_files_days: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.WATCH_DAYS)),
            people=ForPeople(help="tell after so many days with sessions and no file; 0: never", unset=_UNSET),
        ),
    )
    eerp_hours: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.WATCH_HOURS)),
            people=ForPeople(
                help="tell when the end response to a file has not come for so many hours; 0: never", unset=_UNSET
            ),
        ),
    )
    downtimes: tuple[Downtime, ...] = attrs.field(
        default=(),
        metadata=kind(
            ListOf(item=ObjectOf(Downtime), most=limits.DOWNTIMES_MOST), people=ForPeople(title="planned downtime")
        ),
    )

    def beside(self, site: Watching) -> Watching:
        """What counts for the partner."""
        return Watching(
            silent_hours=site.silent_hours if self.silent_hours is None else self.silent_hours,
            no_files_days=site.no_files_days if self.no_files_days is None else self.no_files_days,
            eerp_hours=site.eerp_hours if self.eerp_hours is None else self.eerp_hours,
        )

    def is_down(self, moment: datetime.datetime) -> bool:
        """Whether the partner is known to be down."""
        return any(each.begins <= moment < each.until for each in self.downtimes)

    def resumed(self, moment: datetime.datetime) -> datetime.datetime | None:
        """When the last downtime before a moment ended, if there was one."""
        return max((each.until for each in self.downtimes if each.until <= moment), default=None)
