"""Operations that try whether a partner or the station can be reached."""

from shlex import quote

import attrs

from smartproxy.backend import journal, partners, trials
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations.events import KnownEvent, known_event
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.policy.schema import ForPeople, ObjectOf, Optional, kind
from smartproxy.policy.session_record import SESSION_ID
from smartproxy.policy.values import NAME, Flag

TRIAL = Family("trial", "trials", key="session")


@attrs.frozen(kw_only=True)
class TrialWanted:
    """What to try.

    :ivar partner: the partner to call; ``None``: the station.
    """

    partner: str | None = attrs.field(
        default=None, metadata=kind(Optional(NAME), people=ForPeople(help="the partner to call; null: the station"))
    )

    @property
    def spoken(self) -> str:
        """What the audit trail says after the operation's name."""
        return self.partner or "the station"


@attrs.frozen(kw_only=True)
class StartedTrial:
    """A trial that was asked for, or which one is meant.

    :ivar session: what its result is known by.
    """

    session: str = attrs.field(metadata=kind(SESSION_ID))


@attrs.frozen(kw_only=True)
class TrialResult:
    """What came of a trial.

    :ivar event: the event that says it; ``None`` as long as nothing is known.
    :ivar asked: whether there is such a trial: one is kept for a day, what came of it as long as its event.
    """

    event: KnownEvent | None = attrs.field(metadata=kind(Optional(ObjectOf(KnownEvent))))
    asked: bool = attrs.field(default=True, metadata=kind(Flag()))


@TRIAL.acting("start", "Try a partner up to its greeting, or the station; nothing is transferred.", path="POST ")
def start(work: Transaction, wanted: TrialWanted) -> StartedTrial:
    """Have a client try it, if one comes in time.

    :raises ChangeRefused: for a partner that is never called: no client would dial it.
    """
    if wanted.partner is not None:
        entry = partners.find(work.session, wanted.partner).entry
        if entry.outbound is None:
            raise ChangeRefused(
                f"the partner {entry.name} is never called: no address is configured for it; give one with 'smartproxy "
                f"partner outbound {quote(entry.name)} --host HOST'"
            )
    return StartedTrial(session=trials.ask(work.session, wanted.partner, work.now).session)


@TRIAL.reading("result", "Show what came of a trial, if that is known.", path="GET {session}")
def result(look: Transaction, wanted: StartedTrial) -> TrialResult:
    """The event that says it."""
    row = trials.result(look.session, wanted.session, (*trials.PARTNER_RESULTS, *trials.STATION_RESULTS))
    if row is None:
        return TrialResult(event=None, asked=trials.is_known(look.session, wanted.session))
    return TrialResult(event=known_event(journal.of_numbers(look.session, [row.id])[row.id]))
