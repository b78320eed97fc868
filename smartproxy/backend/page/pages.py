"""All pages: the one list of the modules whose routes are served."""

from smartproxy.backend.page import (
    first_steps,
    login,
    overview,
    partner_forms,
    partners,
    refusals,
    sessions,
    setup,
)
from smartproxy.backend.page.routes import Route

MODULES = (
    login,
    first_steps,
    overview,
    partners,
    partner_forms,
    sessions,
    refusals,
    setup,
)

ROUTES: tuple[Route, ...] = tuple(route for module in MODULES for route in module.ROUTES)
