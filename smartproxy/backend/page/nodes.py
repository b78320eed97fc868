"""The machines of the site, and the licences of its servers; a licence is extended here, and seen to arrive."""

from datetime import timedelta

from smartproxy.backend.errors import BackendError
from smartproxy.backend.identities import SOON
from smartproxy.backend.licences import LIFE_MOST
from smartproxy.backend.operations import licence, nodes
from smartproxy.backend.operations.licence import LicenceExtension, LicenceWanted
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.typed_times import last_second
from smartproxy.backend.page.visit import PageVisit

_YEAR = timedelta(days=365)
_CLOCK_MILLISECONDS = 60_000
"""By so much a clock may differ before it is worth a word: events wait a little on their way."""


async def listed(visit: PageVisit) -> Shown:
    """All machines."""
    return await _page(visit, "nodes.html")


async def part(visit: PageVisit) -> Shown:
    """The same, as the part of the page that looks again by itself."""
    return await _page(visit, "nodes_live.html")


async def extended(visit: PageVisit) -> Shown:
    """Show what a later end of a licence would be, and extend it once that is confirmed: it is never shortened."""
    until, proxy_id = visit.form.one("until"), visit.named["proxy_id"]
    try:
        end = last_second(visit, until)
        wanted = LicenceExtension(proxy_id=proxy_id, valid_until=end)
        if not visit.confirmed:
            before = (await visit.call(licence.show, LicenceWanted(proxy_id=proxy_id))).answer.valid_until
            foreseen = (await visit.rehearse(licence.extend, wanted)).foreseen
            rows = [(visit.text("Licence until"), f"{before:%Y-%m-%d}", f"{end:%Y-%m-%d}")]
            return visit.confirmation(
                visit.text("Extend this licence?"),
                rows,
                about=f"{proxy_id[:16]}…",
                note=visit.text("It cannot be shortened afterwards: a server takes no licence that ends earlier."),
                refusals=foreseen.refusals,
                back="/nodes",
                reason=True,
            )
        await visit.call(licence.extend, wanted, visit.terms)
    except BackendError as error:
        return await _page(visit, "nodes.html", visit.answered(error), proxy_id)
    told = visit.text("The licence is extended until %(until)s. The server receives it within seconds.", until=until)
    return visit.redirect("/nodes", told)


async def file(visit: PageVisit) -> Shown:
    """A licence, as the file for its server's machine."""
    wanted = LicenceWanted(proxy_id=visit.named["proxy_id"])
    text = (await visit.call(licence.show, wanted)).answer.text
    visit.request.setHeader(b"content-type", b"application/octet-stream")
    visit.request.setHeader(b"content-disposition", b'attachment; filename="smartproxy.lic"')
    return text.encode("utf-8")


async def _page(visit: PageVisit, template: str, fault: str = "", at: str = "") -> Shown:
    """The page.

    :param fault: what is wrong with the new end of a licence.
    :param at: whose licence that is.
    """
    found = (await visit.call(nodes.listed, Nothing())).answer
    now = visit.now
    ends = [
        each.licence_until
        for each in found.servers
        if each.licence_until is not None and each.licence_until - now < SOON
    ]
    return visit.render(
        template,
        status=422 if fault else 200,
        found=found,
        fault=fault,
        at=at,
        typed=visit.form.one("until"),
        now=now,
        soon=SOON,
        ending=min(ends, default=None),
        silent=[each.name for each in found.clients if each.enabled and not each.calls],
        down=[each for server in found.servers for each in server.tunnels if each.up is False],
        late=[
            each
            for each in found.servers
            if each.licence_until and each.reported_until and each.reported_until < each.licence_until
        ],
        clock=_CLOCK_MILLISECONDS,
        # The end may be so late that no year comes after it.
        proposed=lambda end: min(max(end, now), now + LIFE_MOST - _YEAR) + _YEAR,
    )


ROUTES = (
    Route("GET", "/nodes", nodes.listed, listed),
    Route("GET", "/nodes/live", nodes.listed, part, by_itself=True),
    Route("POST", "/nodes/licences/<proxy_id>", licence.extend, extended),
    Route("GET", "/nodes/licences/<proxy_id>/file", licence.show, file),
)
