"""The first page: whether all is well, in a sentence."""

from smartproxy.backend.page.routes import Anyone, Route, Shown
from smartproxy.backend.page.visit import PageVisit


async def shown(visit: PageVisit) -> Shown:
    """How the site is."""
    return visit.render("overview.html", found=await visit.backstage.condition())


async def part(visit: PageVisit) -> Shown:
    """The same, as the part of the page that looks again by itself."""
    return visit.render("overview_live.html", found=await visit.backstage.condition())


ROUTES = (
    Route("GET", "/", Anyone.USER, shown),
    Route("GET", "/live", Anyone.USER, part, by_itself=True),
)
