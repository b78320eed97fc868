"""The audit trail: what was done by whom, and whether the trail is as it was written."""

from urllib.parse import urlencode

from smartproxy.backend.audit import Deed
from smartproxy.backend.operations import audit
from smartproxy.backend.operations.audit import AnchorsGiven, RecordPart, RecordsWanted
from smartproxy.backend.page.filters import read_filters
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageVisit

RECORDS_SHOWN = 50
DEEDS = (
    (Deed.CHANGE, later("changes of the configuration")),
    (Deed.ACT, later("other acts")),
    (Deed.EXPORT, later("private keys that left the store")),
    (Deed.REFUSAL, later("what was refused")),
)
"""The kinds of records, as readers know them."""


async def listed(visit: PageVisit) -> Shown:
    """The newest records, or those before a number."""
    filters = await read_filters(visit, RecordsWanted, ("by", "deed", "before"), limit=RECORDS_SHOWN)
    part = RecordPart(items=(), next=None)
    if not filters.faults:
        part = (await visit.call(audit.listed, filters.wanted)).answer
    older = {**filters.given, "before": part.next}
    return visit.render(
        "audit.html",
        filters.status,
        records=part.items[::-1],
        older=urlencode(older) if part.next else "",
        filters=filters,
        deeds=[(deed.value, visit.text(text)) for deed, text in DEEDS],
    )


async def verdict(visit: PageVisit) -> Shown:
    """Whether the trail is whole: the part of the page that takes a while."""
    template = "audit_found.html" if visit.partial else "audit_alone.html"
    return visit.render(template, verdict=(await visit.call(audit.verify, AnchorsGiven())).answer)


ROUTES = (
    Route("GET", "/audit", audit.listed, listed),
    Route("GET", "/audit/verdict", audit.verify, verdict, by_itself=True),
)
