"""All pages: the one list of the modules whose routes are served."""

from smartproxy.backend.page import login, overview
from smartproxy.backend.page.routes import Route

MODULES = (login, overview)

ROUTES: tuple[Route, ...] = tuple(route for module in MODULES for route in module.ROUTES)
