"""Operations on figures: what plots are made of."""

from datetime import datetime
from typing import Any

import attrs

from smartproxy.backend import figures
from smartproxy.backend.figures import Span
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import Instantaneous, JsonObject
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import Member, Whole

FIGURES = Family("figures", "figures", key="")

_COUNT = Whole(limits.EVENT_NUMBER)


@attrs.frozen(kw_only=True)
class SpanWanted:
    """Over which time.

    :ivar span: by the minute of an hour, by the half hour of a day, by the half day of a month.
    """

    span: Span = attrs.field(
        default=Span.DAY, metadata=kind(Member(Span), people=ForPeople(help="hour, day or month, until now"))
    )


@attrs.frozen(kw_only=True)
class FigurePoint:
    """What happened in a part of the time.

    :ivar begins: when that part began.
    :ivar begun: sessions that began.
    :ivar ended: sessions that ended, by outcome.
    :ivar refused: refusals, by cause.
    :ivar octets_in: octets from partners.
    :ivar octets_out: octets to partners.
    :ivar setup_p50: the set-up time, in milliseconds, that half of the sessions kept to: the end of its class.
    :ivar setup_p95: the same of 95 %.
    """

    begins: datetime = attrs.field(metadata=kind(Instantaneous()))
    begun: int = attrs.field(metadata=kind(_COUNT))
    ended: dict[str, Any] = attrs.field(metadata=kind(JsonObject()))
    refused: dict[str, Any] = attrs.field(metadata=kind(JsonObject()))
    octets_in: int = attrs.field(metadata=kind(_COUNT))
    octets_out: int = attrs.field(metadata=kind(_COUNT))
    setup_p50: int | None = attrs.field(metadata=kind(Optional(_COUNT)))
    setup_p95: int | None = attrs.field(metadata=kind(Optional(_COUNT)))


@attrs.frozen(kw_only=True)
class FigureSeries:
    """Figures over a time, the oldest first.

    :ivar seconds: how long each point is.
    """

    seconds: int = attrs.field(metadata=kind(_COUNT))
    points: tuple[FigurePoint, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(FigurePoint))))


@FIGURES.reading(
    "show", "Show how many sessions, octets and refusals there were over an hour, a day or a month.", path="GET "
)
def show(look: Transaction, wanted: SpanWanted) -> FigureSeries:
    """The figures until now."""
    found = figures.of(look.session, wanted.span, look.now)
    return FigureSeries(
        seconds=int(wanted.span.step.total_seconds()),
        points=tuple(
            FigurePoint(
                begins=begins,
                begun=counts.get(figures.BEGUN, 0),
                ended=_with(counts, figures.ENDED),
                refused=_with(counts, figures.REFUSED),
                octets_in=counts.get(figures.OCTETS_IN, 0),
                octets_out=counts.get(figures.OCTETS_OUT, 0),
                setup_p50=figures.percentile(counts, 0.5),
                setup_p95=figures.percentile(counts, 0.95),
            )
            for begins, counts in found
        ),
    )


def _with(counts: Any, begin: str) -> dict[str, Any]:
    """The counts whose names begin so, without that beginning."""
    return {name.removeprefix(begin): count for name, count in sorted(counts.items()) if name.startswith(begin)}
