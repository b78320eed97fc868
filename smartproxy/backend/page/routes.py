"""What can be asked of the page: one table, with method, path, what the user needs for it, and the function.

Duty: find the route of a request. Names in a path may hold anything, a slash too: the path is taken apart first, and
its parts are decoded afterwards.
"""

import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import attrs
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule

from smartproxy.backend.operations.operation import Operation
from smartproxy.policy.permissions import AdminRole


class Anyone(enum.Enum):
    """What can be asked without any scope: by every user, or by somebody who is not logged in."""

    USER = enum.auto()
    AT_ALL = enum.auto()


Needs = Operation[Any, Any] | AdminRole | Anyone
Shown = bytes | None
"""The document; ``None`` when the function writes and finishes the answer itself."""


@attrs.frozen(eq=False)
class Route:
    """Something that can be asked of the page.

    :ivar show: makes the answer to a :class:`~smartproxy.backend.page.visit.PageVisit`.
    :ivar needs: what the user needs: an operation's scope, all that a role may do, or nothing.
    :ivar by_itself: whether the page asks for it without its user: then it does not prolong the login.
    :ivar streams: whether its answer is a stream of server-sent events.
    :ivar large: whether its form may be as large as a revocation list.
    """

    method: str
    path: str
    needs: Needs
    show: Callable[[Any], Awaitable[Shown]]
    by_itself: bool = attrs.field(default=False, kw_only=True)
    streams: bool = attrs.field(default=False, kw_only=True)
    large: bool = attrs.field(default=False, kw_only=True)


def scopes_of(needs: Needs) -> frozenset[str]:
    """The scopes that a user needs."""
    match needs:
        case Operation():
            return frozenset({needs.scope})
        case AdminRole():
            return needs.scopes
        case _:
            return frozenset()


class Unrouted(Exception):
    """There is nothing at a path, or nothing for the method.

    :ivar methods: the methods that there are.
    """

    def __init__(self, methods: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.methods = methods


class RouteMap:
    """The routes of some pages."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        rules = [
            Rule(route.path, methods=[route.method], endpoint=str(number)) for number, route in enumerate(self.routes)
        ]
        self._bound = Map(rules, merge_slashes=False, strict_slashes=True).bind("page")

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route of a request, and what its path names.

        :param path: as it came, with what is encoded in it.
        :raises Unrouted: when there is none.
        :raises UnicodeDecodeError: when a name in it is not UTF-8.
        """
        try:
            endpoint, named = self._bound.match(path, method)
        except MethodNotAllowed as refused:
            raise Unrouted(tuple(refused.valid_methods or ())) from None
        except (NotFound, RequestRedirect):
            raise Unrouted from None
        return self.routes[int(endpoint)], {key: unquote(text, errors="strict") for key, text in named.items()}

    def at(self, path: str) -> Route | None:
        """The page that is looked at at a path, if there is one."""
        return next((each for each in self.routes if each.path == path and each.method == "GET"), None)
