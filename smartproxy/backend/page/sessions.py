"""Sessions: those that run, as they go on; past ones, found by what one knows; and one with all that was said in it."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import attrs
from twisted.internet.task import deferLater

from smartproxy.backend.errors import NotFound
from smartproxy.backend.operations import refusal
from smartproxy.backend.operations import session as operations
from smartproxy.backend.operations.session import (
    KnownSession,
    LevelWanted,
    RunningSession,
    SessionNamed,
    SessionPart,
    SessionStory,
    SessionsWanted,
)
from smartproxy.backend.operations.shapes import Nothing, Word
from smartproxy.backend.page.filters import read_filters
from smartproxy.backend.page.rendering import moment_of
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import LOGIN_ENDED, PageRefused, PageVisit
from smartproxy.logs.catalogue import EVENTS
from smartproxy.oftp2.commands import BLOCK_OCTETS
from smartproxy.oftp2.roles import Level
from smartproxy.policy.outcomes import RUNNING, Outcome, TransferOutcome
from smartproxy.policy.session_record import SESSION_ID, STEPS_LAST
from smartproxy.policy.strict_json import DocumentRefused

LIVE_LOOK_SECONDS: Final = 2.0
"""How often a page that watches live sessions is told of them."""
STREAM_SECONDS: Final = 120.0
"""How long one stream lasts; the page asks for the next, and is judged anew."""
STREAMS_MOST: Final = 50
STREAMS_OF_USER_MOST: Final = 4
"""Streams that one user may have at once."""
ON_A_PAGE: Final = 50
_GOOD: Final = frozenset({Outcome.COMPLETED, RUNNING})
_WARN: Final = frozenset({Outcome.ABORTED, Outcome.STOPPED, Outcome.UNREACHABLE, Outcome.EXPIRED, Outcome.LOST})
OUTCOMES: Final = {
    Outcome.COMPLETED: later("completed"),
    Outcome.ABORTED: later("aborted"),
    Outcome.VIOLATED: later("protocol violated"),
    Outcome.REFUSED: later("refused"),
    Outcome.EXPIRED: later("timed out"),
    Outcome.LOST: later("connection lost"),
    Outcome.UNREACHABLE: later("not reachable"),
    Outcome.STOPPED: later("stopped here"),
    Outcome.FAILED: later("failed here"),
    RUNNING: later("end not told"),
}
"""How a session ended, for readers."""
_WORDS: Final = {
    **OUTCOMES,
    TransferOutcome.UNCONFIRMED: later("sent, not confirmed"),
    "awaiting SSRM": later("awaits SSRM"),
    "awaiting SSID": later("awaits SSID"),
    "authenticating": later("authenticates"),
    "idle": later("idle"),
    "transfer": later("transfers"),
    "ended": later("ends"),
    "identifying": later("identifies itself"),
    "opening": later("opens the other side"),
    "greeting": later("awaits SSRM"),
    "negotiating": later("negotiates"),
    "ending": later("ends"),
}
"""What daemons say in a word, for readers; what is not here is shown as it came, escaped."""
SPANS: Final = (("1h", 1, later("last hour")), ("1d", 24, later("last day")), ("7d", 168, later("last 7 days")))
SPAN: Final = Word(tuple(name for name, _, _ in SPANS))
FILTERS: Final = ("partner", "file", "outcome", "span", "since", "until", "before")


@attrs.frozen(kw_only=True)
class LiveRow:
    """A live session as the page shows it.

    :ivar done: octets of the file so far.
    :ivar whole: its size as SFID announced it; ``None`` if it did not.
    :ivar rate: octets a second, of the busier direction.
    :ivar left: seconds until the whole file is there, at this rate.
    :ivar came: octets from the partner so far.
    :ivar went: octets to the partner so far.
    """

    session: str
    partner: str
    inbound: bool
    since: datetime
    phase: str
    file: str | None
    done: int
    whole: int | None
    rate: int
    left: int | None
    came: int
    went: int


def live_row(running: RunningSession) -> LiveRow:
    """The row of a session that a client told."""
    state, file = running.state, running.state.file
    rate = max(state.rate_in, state.rate_out)
    done = 0 if file is None else file.octets
    size = 0 if file is None else (file.size or 0) * BLOCK_OCTETS
    whole = size if size and size >= done else None
    left = None if whole is None or rate < 1 else max(round((whole - done) / rate), 1)
    return LiveRow(
        session=state.session,
        partner=state.partner or "?",
        inbound=state.direction != "outbound",
        since=state.since,
        phase=state.phase,
        file=None if file is None else file.dataset,
        done=done,
        whole=whole,
        rate=rate,
        left=left,
        came=state.octets_in,
        went=state.octets_out,
    )


def kind_of(outcome: str) -> str:
    """The sign of an outcome."""
    if outcome == RUNNING:
        return "info"
    return "good" if outcome in _GOOD else "warn" if outcome in _WARN else "bad"


def words_for(visit: PageVisit) -> Callable[[str], str]:
    """What translates the words of daemons."""
    return lambda word: visit.text(_WORDS[word]) if word in _WORDS else word


async def live_values(visit: PageVisit) -> dict[str, Any]:
    """What the part with live sessions shows."""
    now = (await visit.call(operations.live, Nothing())).answer
    return {"live": [live_row(each) for each in now.items], "count": now.count, "words": words_for(visit)}


async def shown(visit: PageVisit) -> Shown:
    """The live sessions, and the past ones that are looked for."""
    filters = await read_filters(visit, SessionsWanted, FILTERS, {"span": SPAN}, limit=ON_A_PAGE)
    hours = next((hours for name, hours, _ in SPANS if name == filters.own.get("span")), None)
    wanted = filters.wanted
    if hours is not None:
        wanted = attrs.evolve(wanted, since=visit.now - timedelta(hours=hours))
    part = SessionPart(items=(), next=None) if filters.faults else (await visit.call(operations.listed, wanted)).answer
    filters = filters.after(part.items)
    given = {name: text for name, text in filters.given.items() if name != "before"}

    def link(**changed: object) -> str:
        words = {name: value for name, value in {**given, **changed}.items() if value}
        return f"/sessions?{urlencode(words)}" if words else "/sessions"

    return visit.render(
        "sessions.html",
        filters.status,
        **await live_values(visit),
        part=part,
        filters=filters,
        given=given,
        link=link,
        outcomes=[(value, visit.text(text)) for value, text in OUTCOMES.items()],
        spans=[(value, visit.text(text)) for value, _, text in SPANS],
        kind_of=kind_of,
    )


async def live_part(visit: PageVisit) -> Shown:
    """The live sessions again, for browsers that are not told of them."""
    return visit.render("sessions_live.html", **await live_values(visit))


_STREAMS: Counter[str] = Counter()
"""How many pages are told of live sessions, by their user."""


async def stream(visit: PageVisit) -> Shown:
    """Tell the page of live sessions as they go on: server-sent events, each the part of the page anew.

    The login is judged before each of them: it may end, or its user lose its role, while the stream lasts.
    """
    request, clock, user = visit.request, visit.backstage.clock, visit.caller.name
    if _STREAMS.total() >= STREAMS_MOST or _STREAMS[user] >= STREAMS_OF_USER_MOST:
        raise PageRefused(503, visit.text("Too many pages watch"), visit.text("Load the page again in a minute."))
    visit.begin_stream()
    if request.method == b"HEAD":
        request.finish()
        return None
    begun, last = clock.seconds(), b""
    _STREAMS[user] += 1
    try:
        while clock.seconds() - begun < STREAM_SECONDS:
            if not await visit.still_good():
                request.write(LOGIN_ENDED)
                break
            part = visit.part("sessions_live.html", **await live_values(visit))
            if part != last:
                last = part
                request.write(b"".join(b"data: " + line + b"\n" for line in part.splitlines()) + b"\n")
            await deferLater(clock, LIVE_LOOK_SECONDS)
    finally:
        _STREAMS[user] -= 1
        if not _STREAMS[user]:
            del _STREAMS[user]
    request.finish()
    return None


async def one(visit: PageVisit) -> Shown:
    """One session."""
    named = visit.named["session"]
    found = (await visit.call(operations.show, _named(visit))).answer
    why = None
    if found.known.outcome not in _GOOD and visit.may(refusal.explain):
        try:
            why = (await visit.call(refusal.explain, refusal.RefusalWanted(what=named))).answer
        except NotFound:
            why = None
    row = None
    if found.known.outcome == RUNNING:
        now = (await visit.call(operations.live, Nothing())).answer
        row = next((live_row(each) for each in now.items if each.state.session == named), None)
    return visit.render(
        "session.html",
        found=found,
        known=found.known,
        title=title_of(visit, found.known, live=row is not None),
        kind=kind_of(found.known.outcome),
        words=words_for(visit),
        why=why,
        row=row,
        lasted=_lasted(found.known),
        about=EVENTS,
        ends=moment_of(found.certificate.get("not_after")),
        levels={each.value: f"{each.label} ({each.value})" for each in Level},
        cut=len(found.ladder) - STEPS_LAST if found.left_out else None,
        commands=_said(found),
    )


def title_of(visit: PageVisit, known: KnownSession, *, live: bool) -> str:
    """What the session came to, in a sentence."""
    partner = known.partner or visit.text("somebody unknown")
    if live:
        return visit.text("The session with %(partner)s runs.", partner=partner)
    done = [each for each in known.files if each.outcome == TransferOutcome.COMPLETED]
    if known.outcome == RUNNING:
        return visit.text("No end of the session with %(partner)s was told.", partner=partner)
    if known.outcome == Outcome.COMPLETED and len(done) == len(known.files) == 1:
        if done[0].link == "in":
            return visit.text(
                "%(partner)s sent %(file)s; the station confirmed it.", partner=partner, file=done[0].dataset
            )
        return visit.text("The station sent %(file)s; %(partner)s confirmed it.", partner=partner, file=done[0].dataset)
    if known.outcome == Outcome.COMPLETED and not known.files:
        return visit.text("The session with %(partner)s ended well; no file was sent.", partner=partner)
    if known.outcome == Outcome.COMPLETED:
        return visit.text(
            "The session with %(partner)s ended well: %(done)s of %(all)s files were confirmed.",
            partner=partner,
            done=len(done),
            all=len(known.files),
        )
    if known.outcome == Outcome.REFUSED:
        return visit.text("A session with %(partner)s was refused.", partner=partner)
    return visit.text(
        "The session with %(partner)s did not end well: %(how)s.",
        partner=partner,
        how=words_for(visit)(known.outcome),
    )


def _lasted(known: KnownSession) -> float | None:
    return None if known.ended is None else max((known.ended - known.began).total_seconds(), 0.0)


def _said(found: SessionStory) -> int:
    """How many commands were said, those included that are not shown."""
    return found.left_out + sum(each.command != "DATA" for each in found.ladder)


async def recording(visit: PageVisit) -> Shown:
    """The session as a file that ``smartproxy judge`` reads."""
    wanted = _named(visit)
    text = (await visit.call(operations.recording, wanted)).answer.text
    visit.request.setHeader(b"content-type", b"application/x-ndjson")
    name = f'attachment; filename="session-{wanted.session}.jsonl"'
    visit.request.setHeader(b"content-disposition", name.encode("ascii"))
    return text.encode("utf-8")


async def end(visit: PageVisit) -> Shown:
    """End it, once it is confirmed which one that is and how far it is."""
    wanted = _named(visit)
    if not visit.confirmed:
        known = (await visit.call(operations.show, wanted)).answer.known
        partner = known.partner or visit.text("somebody unknown")
        # It is nothing of the configuration, so that no rehearsal tells the difference.
        what = visit.text("Session with %(partner)s", partner=partner)
        note = visit.text("A file that is under way is not complete; whether it is sent again is up to its sender.")
        return visit.confirmation(
            visit.text("End this session?"),
            [(what, words_for(visit)(known.outcome), visit.text("ended by an operator"))],
            about=wanted.session,
            note=note,
            back=f"/sessions/{wanted.session}",
        )
    await visit.call(operations.end, wanted)
    return visit.redirect(f"/sessions/{wanted.session}", told=visit.text("The client is asked to end the session."))


async def level(visit: PageVisit) -> Shown:
    """Log it in detail."""
    session = _named(visit).session
    await visit.call(operations.level, LevelWanted(session=session))
    return visit.redirect(
        f"/sessions/{session}", told=visit.text("The client is asked to log every command of this session.")
    )


def _named(visit: PageVisit) -> SessionNamed:
    """The session that the path names.

    :raises PageRefused: if none can have that id.
    """
    session = visit.named["session"]
    try:
        SESSION_ID.read(session, "session")
    except DocumentRefused:
        raise PageRefused(
            404, visit.text("There is no such session"), visit.text("A session's id has 16 digits. Search for it.")
        ) from None
    return SessionNamed(session=session)


ROUTES = (
    Route("GET", "/sessions", operations.listed, shown),
    Route("GET", "/sessions/live", operations.live, live_part, by_itself=True),
    Route("GET", "/sessions/event-stream", operations.live, stream, by_itself=True, streams=True),
    Route("GET", "/sessions/<session>", operations.show, one),
    Route("GET", "/sessions/<session>/recording", operations.recording, recording),
    Route("POST", "/sessions/<session>/end", operations.end, end),
    Route("POST", "/sessions/<session>/level", operations.level, level),
)
