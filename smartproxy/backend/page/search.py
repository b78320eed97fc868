"""The search of the page: partners, sessions by id or file, and the last refusal of an address, a session or an event.

Asks only what the user may read. One partner that is the only thing found is shown at once.
"""

import re
from collections.abc import Sequence

from smartproxy.backend.errors import BackendError
from smartproxy.backend.operations import partner_views, refusal, session
from smartproxy.backend.operations.operation import Answer, Input, Operation
from smartproxy.backend.page.partners import at
from smartproxy.backend.page.routes import Anyone, Route, Shown
from smartproxy.backend.page.visit import PageVisit
from smartproxy.policy.session_record import SESSION_PATTERN

FOUND_MOST = 10
_WORD_MOST = 64
_SESSION = re.compile(SESSION_PATTERN)
_REFUSED = re.compile(rf"[0-9]{{1,18}}|{SESSION_PATTERN}|[0-9a-fA-F:.]{{3,45}}")


async def shown(visit: PageVisit) -> Shown:
    """What fits a word."""
    word = visit.argument("q")[:_WORD_MOST].strip()
    if not word.isprintable():
        word = ""
    if _SESSION.fullmatch(word.lower()):
        word = word.lower()
    partners: Sequence[partner_views.FoundPartner] = ()
    sessions: Sequence[session.KnownSession] = ()
    why = None
    if word:
        found = await _asked(visit, partner_views.search, partner_views.PartnerSearch(word=word, limit=FOUND_MOST))
        partners = () if found is None else found.items
        if _REFUSED.fullmatch(word):
            why = await _asked(visit, refusal.explain, refusal.RefusalWanted(what=word))
        if not _SESSION.fullmatch(word):
            part = await _asked(visit, session.listed, session.SessionsWanted(file=word, limit=FOUND_MOST))
            sessions = () if part is None else part.items
    is_session = _SESSION.fullmatch(word) is not None
    if len(partners) == 1 and not sessions and why is None and not is_session:
        return visit.redirect(at(partners[0].name))
    return visit.render("search.html", word=word, partners=partners, sessions=sessions, why=why, is_session=is_session)


async def _asked(visit: PageVisit, operation: Operation[Input, Answer], wanted: Input) -> Answer | None:
    """The answer of an operation; nothing where the user may not ask, or there is none."""
    if not visit.may(operation):
        return None
    try:
        return (await visit.call(operation, wanted)).answer
    except BackendError:
        return None


ROUTES = (Route("GET", "/search", Anyone.USER, shown),)
