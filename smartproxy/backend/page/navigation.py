"""The page's navigation: its sections, and which of their pages a user sees.

A page that has no route, or that the user has no scope for, does not appear.
"""

from collections.abc import Callable

import attrs

from smartproxy.backend.page.routes import Needs, RouteMap
from smartproxy.backend.page.texts import later


@attrs.frozen
class NavigationEntry:
    """A page in the navigation.

    :ivar here: whether the reader is on it, or on a page below it.
    """

    title: str
    path: str
    here: bool = False


@attrs.frozen
class NavigationSection:
    """Pages that belong together; the first section has no title."""

    title: str
    entries: tuple[NavigationEntry, ...]


SECTIONS = (
    NavigationSection(
        "",
        (
            NavigationEntry(later("Overview"), "/"),
            NavigationEntry(later("Sessions"), "/sessions"),
            NavigationEntry(later("Refusals"), "/refusals"),
            NavigationEntry(later("Events"), "/events"),
        ),
    ),
    NavigationSection(
        later("Who and what"),
        (
            NavigationEntry(later("Partners"), "/partners"),
            NavigationEntry(later("Certificates and lists"), "/certificates"),
            NavigationEntry(later("Nodes and licences"), "/nodes"),
        ),
    ),
    NavigationSection(
        later("Site"),
        (
            NavigationEntry(later("Settings"), "/settings"),
            NavigationEntry(later("Ignore rules"), "/ignore"),
            NavigationEntry(later("Event script and mail"), "/event-script"),
            NavigationEntry(later("History"), "/history"),
            NavigationEntry(later("Audit"), "/audit"),
            NavigationEntry(later("Users and tokens"), "/users"),
            NavigationEntry(later("Set-up"), "/setup"),
        ),
    ),
)
"""All pages, those that are not there yet too."""


def sections_for(routes: RouteMap, may: Callable[[Needs], bool], path: str) -> list[NavigationSection]:
    """The sections with the pages that a user may see.

    :param path: where the user is.
    """
    shown = []
    for section in SECTIONS:
        entries = []
        for each in section.entries:
            route = routes.at(each.path)
            if route is not None and may(route.needs):
                here = path == each.path or (each.path != "/" and path.startswith(each.path + "/"))
                entries.append(attrs.evolve(each, here=here))
        if entries:
            shown.append(attrs.evolve(section, entries=tuple(entries)))
    return shown
