"""The first page: whether all is well, in a sentence; the parts of the site; what runs, what ran, and what runs out."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import attrs
from babel.dates import format_date

from smartproxy.backend.figures import Span
from smartproxy.backend.operations import figures, nodes, overview, proposing, refusal, setup, trial
from smartproxy.backend.operations.figures import SpanWanted
from smartproxy.backend.operations.nodes import KnownNodes
from smartproxy.backend.operations.overview import LICENCE, ComingEnd, SiteOverview
from smartproxy.backend.operations.setup import SiteProgress
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.page.overview_plots import plots_of
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.sessions import live_values
from smartproxy.backend.page.setup import steps_of
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageVisit
from smartproxy.ctl.statuses import BackendStatus
from smartproxy.policy.addresses import host_in
from smartproxy.policy.causes import Cause
from smartproxy.policy.health import RAN_OUT_CODE, Health

SPANS: Final = {Span.HOUR: later("hour"), Span.DAY: later("day"), Span.MONTH: later("month")}
_REFUSALS_SHOWN: Final = 5
_WORST: Final = ("bad", "warn", "info", "good")
_KINDS: Final = {Health.OK: "good", Health.DEGRADED: "warn", Health.DOWN: "bad"}

FINDINGS: Final = {
    "draining": later("The backend is stopping."),
    "store-unreadable": later("The store cannot be read."),
    "store-full": later("The store's disk is full."),
    "no-site": later("The site is not set up."),
    "unlicensed": later("No licence is in force: no partner can connect."),
    "unconfigured": later("The server has no certificate to show."),
    "no-client": later("No client may call."),
    "client-silent": later("A client does not call."),
    "list-download": later("A revocation list cannot be downloaded."),
    "page-closed": later("The page's own port is not open."),
    RAN_OUT_CODE: later("Something has run out."),
}
"""What the findings of the backend are called, by their codes."""
_NODES: Final = ("/nodes", later("Nodes and licences"))
_CERTIFICATES: Final = ("/certificates", later("Certificates and lists"))
_PLACES: Final = {
    "no-site": ("/setup", later("Set-up")),
    "unlicensed": _NODES,
    "no-client": _NODES,
    "client-silent": _NODES,
    "unconfigured": _CERTIFICATES,
    "list-download": _CERTIFICATES,
    "page-closed": ("/settings", later("Settings")),
    RAN_OUT_CODE: _CERTIFICATES,
}
"""Where something can be done about a finding: the page, and its title."""
_SET_UP: Final = {
    "no-site": "site",
    "unconfigured": "identity",
    "unlicensed": "proxy_id",
    "no-client": "client",
    "client-silent": "client_seen",
}
"""The findings that a new site has, and what the set-up makes that ends them, as its progress names it."""

_ENDS: Final = {
    LICENCE: (later("Licence of the server %(name)s"), later("Extend it"), "/nodes"),
    Cause.ENDING_CHANGE_OVER: (later("Use of our certificate %(name)s"), later("See its successor"), "/certificates"),
    Cause.ENDING_PAGE: (later("Certificate of this page"), later("Upload another one"), "/certificates"),
    Cause.ENDING_IDENTITY: (later("Our certificate %(name)s"), later("Plan its successor"), "/certificates"),
    Cause.ENDING_AUTHORITY: (later("Certificate of the site's authority"), later("Look at it"), "/nodes"),
    Cause.ENDING_CA: (later("Certificate of the CA %(name)s"), later("Load its successor"), "/certificates"),
    Cause.ENDING_LIST: (later("Revocation list of %(name)s"), later("Load a newer one"), "/certificates"),
    Cause.ENDING_PARTNER: (later("Certificate of %(name)s"), later("Ask the partner"), "/partners"),
    Cause.ENDING_TUNNEL: (later("Tunnel certificate of %(name)s"), later("See whether it runs"), "/nodes"),
    Cause.ENDING_TOKEN: (later("Token %(name)s"), later("Make another one"), "/users"),
}
"""What ends, what to do about it, and where."""


@attrs.frozen(kw_only=True)
class Trouble:
    """Something that is not well.

    :ivar title: what is the case.
    :ivar words: more of it, and what to do, in the reader's language.
    :ivar told: the same as a daemon or the backend tells it.
    :ivar touches: whom it touches, in words.
    :ivar action: where a button leads that may help, by a form; empty for none.
    :ivar place: where else one can do something about it: a page; empty for none.
    """

    kind: str
    title: str
    words: str = ""
    told: str = ""
    since: datetime | None = None
    touches: str = ""
    action: str = ""
    place: str = ""
    button: str = ""


@attrs.frozen(kw_only=True)
class SoonOver:
    """Something that ends soon.

    :ivar title: what it is.
    :ivar step: what to do about it, in a few words.
    :ivar place: where one does it; empty where the reader may not.
    """

    title: str
    until: datetime
    days: int
    urgent: bool
    step: str
    place: str


@attrs.frozen(kw_only=True)
class DrawnPart:
    """A part of the site in the picture, with the arrow between it and the part before.

    :ivar line: how it is, in a few words.
    :ivar kind: ``good``, ``warn``, ``bad`` or ``info``.
    :ivar arrow: what the arrow carries.
    :ivar towards: whether the arrow points at this part.
    """

    title: str
    line: str
    note: str
    kind: str
    arrow: str = ""
    towards: bool = True
    arrow_kind: str = "info"


async def shown(visit: PageVisit) -> Shown:
    """The whole page."""
    wanted = visit.argument("span")
    span = next((each for each in Span if each.value == wanted), Span.DAY)
    series = (await visit.call(figures.show, SpanWanted(span=span))).answer
    midnight = visit.now.replace(hour=0, minute=0, second=0, microsecond=0)
    refused = (await visit.call(refusal.listed, refusal.RefusalsWanted(since=midnight, limit=_REFUSALS_SHOWN))).answer
    now = await _now(visit)
    return visit.render(
        "overview.html",
        **now,
        plots=plots_of(visit, series, span),
        span=span,
        spans=SPANS,
        refused=refused,
        ends=[_end(visit, each) for each in now["site_now"].ends],
    )


async def part(visit: PageVisit) -> Shown:
    """What looks again by itself: the sentence, and the parts."""
    return visit.render("overview_live.html", **await _now(visit))


async def test_station(visit: PageVisit) -> Shown:
    """Have a client try whether the station answers."""
    await visit.call(trial.start, trial.TrialWanted())
    return visit.redirect("/", told=visit.text("A client tries the station. What came of it is here in a few seconds."))


async def _now(visit: PageVisit) -> dict[str, Any]:
    condition = await visit.backstage.condition()
    site = (await visit.call(overview.show, Nothing())).answer
    known = (await visit.call(nodes.listed, Nothing())).answer
    live = await live_values(visit)
    progress = None
    if not site.partners or (condition is not None and any(each.verdict in _SET_UP for each in condition.findings)):
        progress = (await visit.call(setup.show, Nothing())).answer
    troubles = [*await _locked_out(visit), *troubles_of(visit, condition, site, known, progress)]
    troubles.sort(key=lambda each: _WORST.index(each.kind))
    kind = min((each.kind for each in troubles), key=_WORST.index, default="good")
    parts = parts_of(visit, site, known, live["count"])
    return {**live, "troubles": troubles, "kind": kind, "site_now": site, "parts": parts}


async def _locked_out(visit: PageVisit) -> list[Trouble]:
    """Partners whose new certificate waits for a decision: nobody gets in with it until then."""
    if not visit.may(proposing.listed):
        return []
    proposed = (await visit.call(proposing.listed, proposing.ProposalsWanted())).answer.items
    called = later("%(name)s cannot be called: it shows a new certificate.")
    came = later("%(name)s is refused: it came with a new certificate.")
    return [
        Trouble(
            kind="warn",
            title=visit.text(called if each.outgoing else came, name=each.partner),
            words=visit.text("Compare its SHA-256 with the partner, by telephone or with what it publishes."),
            since=each.first_seen,
            place=f"/partners/{quote(each.partner, safe='')}",
            button=visit.text("Compare and decide"),
        )
        for each in proposed
    ]


def troubles_of(
    visit: PageVisit,
    condition: BackendStatus | None,
    site: SiteOverview,
    known: KnownNodes,
    progress: SiteProgress | None,
) -> Iterator[Trouble]:
    """What is not well, the worst first; what is so because the set-up goes on is one step of it, and no fault.

    :param progress: how far the set-up is, where that matters.
    """
    found, still = [], frozenset[str]()
    if progress is not None and not progress.finished:
        still = frozenset(code for code, name in _SET_UP.items() if getattr(progress, name) is None)
        due = next(each for each in steps_of(progress) if each.state == "now")
        found.append(
            Trouble(
                kind="info",
                title=visit.text("The set-up goes on with: %(step)s.", step=visit.text(due.title)),
                words=visit.text("Step %(number)s of %(count)s", number=due.number, count=len(steps_of(progress))),
                place="/setup" if visit.reaches("/setup") else "",
                button=visit.text("To the set-up"),
            )
        )
    if site.station is not None:
        names = ", ".join(site.station.partners)
        found.append(
            Trouble(
                kind="bad",
                title=visit.text("The station does not answer; partners are asked to try again."),
                told=site.station.message,
                since=site.station.since,
                touches=visit.text("touches %(partners)s", partners=names) if names else "",
                action="/overview/test-station" if visit.may(trial.start) else "",
                button=visit.text("Test the station"),
            )
        )
    for server in known.servers:
        tunnels = server.tunnels
        # A tunnel whose client does not call may be up.
        if tunnels and all(each.up is False for each in tunnels):
            found.append(
                Trouble(
                    kind="bad",
                    title=visit.text("No client is connected to the server %(server)s.", server=_name(server)),
                    words=""
                    if tunnels[0].cause
                    else visit.text("See whether smartproxy-client runs, and what its log says."),
                    told=tunnels[0].cause or "",
                    since=max(each.since for each in tunnels),
                    touches=visit.text("touches all partners that call there"),
                )
            )
    for end in (_end(visit, each) for each in site.ends if each.urgent and each.cause != Cause.ENDING_CHANGE_OVER):
        found.append(
            Trouble(
                kind="warn",
                title=visit.text("Ends soon: %(what)s", what=end.title),
                words=visit.counted("%(count)s day is left.", "%(count)s days are left.", end.days),
                place=end.place,
                button=end.step if end.place else "",
            )
        )
    if condition is None:
        found.append(Trouble(kind="info", title=visit.text("The backend has not told its state yet.")))
    for each in () if condition is None else condition.findings:
        if each.verdict in still:
            continue
        kind = _KINDS[each.health]
        other = later("It does not work.") if kind == "bad" else later("Something needs you.")
        title = visit.text(FINDINGS.get(each.verdict, other))
        place, button = _PLACES.get(each.verdict, ("", ""))
        if not visit.reaches(place):
            place, button = "", ""
        found.append(
            Trouble(kind=kind, title=title, told=each.advice, place=place, button=button and visit.text(button))
        )
    yield from sorted(found, key=lambda each: _WORST.index(each.kind))


def parts_of(visit: PageVisit, site: SiteOverview, known: KnownNodes, live: int) -> list[DrawnPart]:
    """Partners, servers, clients, station, and backends."""
    calling = [each for each in known.clients if each.calls]
    tunnels = [each for server in known.servers for each in server.tunnels if each.up is not None]
    up = [each for each in tunnels if each.up]
    untold = any(server.tunnels for server in known.servers) and not tunnels
    enabled = [each for each in known.clients if each.enabled]
    reached = "info" if not tunnels else "good" if len(up) == len(tunnels) else "warn" if up else "bad"
    asked = "info" if not enabled else "good" if len(calling) == len(enabled) else "warn" if calling else "bad"
    station = "info" if site.station is None else "bad"
    until = min((each.licence_until for each in known.servers if each.licence_until is not None), default=None)
    licence = (
        ""
        if until is None
        else visit.text("licence until %(day)s", day=format_date(until, "medium", locale=visit.language))
    )
    return [
        DrawnPart(
            title=visit.counted("%(count)s partner", "%(count)s partners", site.partners),
            line=visit.counted("%(count)s session now", "%(count)s sessions now", live),
            note="",
            kind="info",
        ),
        DrawnPart(
            title=_names(visit, [_name(each) for each in known.servers], later("no server")),
            line=visit.text("in the DMZ"),
            note=licence,
            kind=reached,
            arrow="TLS",
            arrow_kind=reached,
        ),
        DrawnPart(
            title=_names(visit, [each.name for each in enabled], later("no client")),
            line=visit.text("%(up)s of %(all)s tunnels", up=len(up), all=len(tunnels))
            if tunnels
            else visit.text("tunnels not known")
            if untold
            else "",
            note=visit.text("generation %(number)s", number=known.generation),
            kind=asked,
            arrow=visit.text("tunnel"),
            towards=False,
            arrow_kind=reached,
        ),
        DrawnPart(
            title=visit.text("station"),
            line=visit.text("does not answer") if site.station else visit.text("no failure known"),
            note="",
            kind=station,
            arrow="TCP",
            arrow_kind=station if site.station else "good" if live else "info",
        ),
        DrawnPart(
            title=visit.text("%(count)s backends", count=many)
            if (many := len(known.backends)) > 1
            else visit.text("backend"),
            line=visit.text("%(calling)s of %(all)s clients call", calling=len(calling), all=len(enabled))
            if enabled
            else "",
            note=", ".join(each.address for each in known.backends[:1] if each.address),
            kind="good",
            arrow="https",
            arrow_kind=asked,
        ),
    ]


def _name(server: nodes.ServerNode) -> str:
    return host_in(server.address or "") or f"{server.proxy_id[:8]}…"


def _end(visit: PageVisit, end: ComingEnd) -> "SoonOver":
    """Something that ends soon, with where one does something about it."""
    title, step, place = _ENDS[end.cause]
    reached = visit.reaches(place)
    if end.partner:
        place = f"/partners/{quote(end.partner, safe='')}"
    name = f"{end.name[:8]}…" if end.cause == LICENCE else end.name
    return SoonOver(
        title=visit.text(title, name=name),
        until=end.until,
        days=end.days,
        urgent=end.urgent,
        step=visit.text(step),
        place=place if reached else "",
    )


def _names(visit: PageVisit, names: Sequence[str], none: str) -> str:
    """One name, or how many there are."""
    if not names:
        return visit.text(none)
    others = len(names) - 1
    return (
        visit.counted("%(name)s and %(count)s more", "%(name)s and %(count)s more", others, name=names[0])
        if others
        else names[0]
    )


ROUTES = (
    Route("GET", "/", overview.show, shown),
    Route("GET", "/live", overview.show, part, by_itself=True),
    Route("POST", "/overview/test-station", trial.start, test_station),
)
