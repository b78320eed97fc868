"""All pages: the one list of the modules whose routes are served."""

from smartproxy.backend.page import (
    account,
    audit,
    certificates,
    event_script,
    events,
    first_steps,
    history,
    ignore,
    login,
    nodes,
    overview,
    partner_forms,
    partners,
    refusals,
    search,
    sessions,
    settings,
    setup,
    trust_lists,
    users,
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
    search,
    setup,
    events,
    certificates,
    trust_lists,
    nodes,
    settings,
    ignore,
    event_script,
    history,
    audit,
    users,
    account,
)

ROUTES: tuple[Route, ...] = tuple(route for module in MODULES for route in module.ROUTES)
