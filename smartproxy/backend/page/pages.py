"""All pages: the one list of the modules whose routes are served."""

from smartproxy.backend.page import (
    first_steps,
    login,
    overview,
    partner_forms,
    partners,
    sessions,
    setup,
)
from smartproxy.backend.page.routes import Route

MODULES = (
    login,
    first_steps,
    overview,
    sessions,
    partners,
    partner_forms,
    setup,
)

ROUTES: tuple[Route, ...] = tuple(route for module in MODULES for route in module.ROUTES)
