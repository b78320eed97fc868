"""What is served at the backend's port: the API and the daemon's health, and the page everywhere else.

Where the page has an address of its own, it is not here.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Request

from smartproxy.backend.api import Api
from smartproxy.backend.page.serving import PageRoot
from smartproxy.backend.requests import header_of

_OF_THE_API = (b"/api/", b"/health/")


class Front(Resource):
    """Hands each request on.

    :param apart: tells whether the page is elsewhere.
    """

    isLeaf = True

    def __init__(self, api: Api, page: PageRoot, apart: Callable[[], bool] = lambda: False) -> None:
        Resource.__init__(self)
        self._apart = apart
        self._api = api
        self._api_root = api.resource()
        self._page = page

    def render(self, request: Request) -> Any:
        """Answer a request."""
        is_api = self._apart() or request.path.startswith(_OF_THE_API)
        root = self._api_root if is_api else self._page
        return root.render(request)

    def admits(self, request: IRequest) -> "Deferred[int]":
        """How many octets the body of a request may have; its path is not known yet, but a token is for the API."""
        if self._apart() or header_of(request, b"authorization") or header_of(request, b"smartproxy-token"):
            return self._api.admits(request)
        return self._page.admits(request)
