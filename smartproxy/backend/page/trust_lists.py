"""Trust lists on the page of certificates and lists: how each goes, and the decisions about CAs that they propose."""

from smartproxy.backend.operations import trust_list
from smartproxy.backend.operations.shapes import Named, Nothing
from smartproxy.backend.operations.trust_list import ListedCaAcceptance, ListedCaNamed, ListedCasWanted
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.visit import PageVisit
from smartproxy.backend.trust_lists import KnownTrustList, ListedCa

PLACE = "/certificates#trust-lists"


async def known(visit: PageVisit) -> tuple[tuple[KnownTrustList, ...], tuple[ListedCa, ...]]:
    """The trust lists, and the CAs about which nobody has decided; none for who may not see them."""
    if not visit.may(trust_list.listed):
        return (), ()
    lists = (await visit.call(trust_list.listed, Nothing())).answer.items
    return lists, (await visit.call(trust_list.proposals, ListedCasWanted())).answer.items


async def updated(visit: PageVisit) -> Shown:
    """Have a trust list downloaded now."""
    await visit.call(trust_list.update, Named(name=visit.named["name"]))
    return visit.redirect(PLACE, visit.text("The trust list is downloaded within a minute."))


async def accepted(visit: PageVisit) -> Shown:
    """Show what trusting a CA would change, and trust it once that is confirmed."""
    name, ca = visit.named["name"], visit.form.one("ca")
    wanted = ListedCaAcceptance(name=name, sha256=visit.form.one("sha256"), ca=ca)
    if visit.confirmed:
        done = await visit.call(trust_list.accept, wanted, visit.terms)
        told = visit.text("The CA %(name)s is trusted.", name=ca)
        return visit.warned("/certificates#cas", told, done.answer.warnings)
    foreseen = (await visit.rehearse(trust_list.accept, wanted)).foreseen
    rows = await visit.rows(foreseen.differences)
    return visit.confirmation(
        visit.text("Trust this CA?"), rows, about=ca, refusals=foreseen.refusals, back=PLACE, reason=True
    )


async def rejected(visit: PageVisit) -> Shown:
    """Decide not to trust a CA."""
    wanted = ListedCaNamed(name=visit.named["name"], sha256=visit.form.one("sha256"))
    await visit.call(trust_list.reject, wanted)
    return visit.redirect(PLACE, visit.text("The CA is not trusted, and not proposed again."), "warn")


ROUTES = (
    Route("POST", "/certificates/trust-lists/<name>/update", trust_list.update, updated),
    Route("POST", "/certificates/trust-lists/<name>/accept", trust_list.accept, accepted),
    Route("POST", "/certificates/trust-lists/<name>/reject", trust_list.reject, rejected),
)
