"""Certificates and lists: identities with their requests, CAs, revocation lists, their downloads and approvals."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from smartproxy.backend.errors import BackendError
from smartproxy.backend.identities import SOON
from smartproxy.backend.operations import authority, ca, crl, identity
from smartproxy.backend.operations.ca import CaAddition, CaAlteration
from smartproxy.backend.operations.crl import Approval, ListNamed, ListState, OfOneCa, Rejection
from smartproxy.backend.operations.identity import (
    GivenPair,
    IdentityImport,
    IdentityRemoval,
    KnownIdentity,
    RequestAnswer,
    RequestWanted,
)
from smartproxy.backend.operations.list_files import ListFile, ListsGiven, ListsRead
from smartproxy.backend.operations.operation import Operation
from smartproxy.backend.operations.shapes import Foreseen, GivenFile, Named, Nothing, Page
from smartproxy.backend.page import trust_lists
from smartproxy.backend.page.differences import ca_in_words
from smartproxy.backend.page.dropped_certificates import WIDTH, InUse, pem_of, time_line
from smartproxy.backend.page.entry_forms import EntryFamily, EntryForm
from smartproxy.backend.page.form_fields import fields_of, label_of, read_fields, value_words, worded
from smartproxy.backend.page.rendering import in_path
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.typed_times import moment
from smartproxy.backend.page.visit import PageVisit
from smartproxy.backend.states import EntryKind
from smartproxy.policy import limits
from smartproxy.policy.partners import KEY_TYPE_USUAL, KEY_TYPES, RevocationMode, TrustedCa
from smartproxy.policy.schema import declarations


async def listed(visit: PageVisit) -> Shown:
    """All of them."""
    return await _page(visit)


async def imported(visit: PageVisit) -> Shown:
    """Import an identity's key and certificates."""
    file = visit.form.file("file")
    if file is None:
        return await _page(visit, visit.text("Choose the file with the key and the certificate."), "import")
    wanted = IdentityImport(
        name=visit.form.one("name") or "main",
        files=(GivenFile(name=file.name, octets=file.octets),),
        password=visit.form.secret("password") or None,
    )
    try:
        wanted = attrs.evolve(wanted, use_from=_use_from(visit))
        made = (await visit.call(identity.take_in, wanted, visit.terms)).answer
    except BackendError as error:
        return await _page(visit, str(error), "import")
    return _taken(visit, wanted.use_from, visit.text("The identity %(name)s is in use.", name=made.name))


async def asked(visit: PageVisit) -> Shown:
    """Make a key and a request."""
    form = visit.form
    kind = form.one("key_type")
    wanted = RequestWanted(
        name=form.one("name") or "main",
        common_name=form.one("common_name"),
        organization=form.one("organization") or None,
        country=form.one("country") or None,
        serial_number=form.one("serial_number") or None,
        names=tuple(form.one("names").replace(",", " ").split()),
        key_type=kind if kind in KEY_TYPES else KEY_TYPE_USUAL,
    )
    try:
        await visit.call(identity.request, wanted, visit.terms)
    except BackendError as error:
        return await _page(visit, str(error), "request")
    place = f"/certificates#identity-{wanted.name}"
    told = visit.text("The request is made; send it to the CA. The certificate in use stays until the answer is here.")
    return visit.redirect(place if place.isascii() and " " not in place else "/certificates", told)


async def answered(visit: PageVisit) -> Shown:
    """Take the certificate that a CA issued for a request."""
    file, form = visit.form.file("file"), f"complete-{visit.named['name']}"
    if file is None:
        return await _page(visit, visit.text("Choose the file with the certificate."), form)
    given = (GivenFile(name=file.name, octets=file.octets),)
    try:
        wanted = RequestAnswer(name=visit.named["name"], files=given, use_from=_use_from(visit))
        await visit.call(identity.complete, wanted, visit.terms)
    except BackendError as error:
        return await _page(visit, str(error), form)
    return _taken(
        visit, wanted.use_from, visit.text("The new certificate of %(name)s is in use.", name=visit.named["name"])
    )


def _use_from(visit: PageVisit) -> datetime | None:
    """From when a certificate is to be used; ``None`` for at once.

    :raises Unusable: when what was typed is no time.
    """
    return moment(visit, visit.form.one("use_from"))


def _taken(visit: PageVisit, use_from: datetime | None, told: str) -> Shown:
    if use_from is not None:
        told = visit.text("The change-over is planned. Give the new certificate to the partners before.")
    return visit.redirect("/certificates", told)


async def plan_undone(visit: PageVisit) -> Shown:
    """Undo a planned change-over."""
    name = visit.named["name"]
    try:
        await visit.call(identity.undo_plan, Named(name=name), visit.terms)
    except BackendError as error:
        return await _page(visit, str(error))
    return visit.redirect("/certificates", visit.text("The certificate of %(name)s in use stays.", name=name))


async def removed(visit: PageVisit) -> Shown:
    """Remove an identity, once its name was typed."""
    name = visit.named["name"]
    if visit.form.one("typed") != name:
        return await _page(visit, visit.text("Type the name to confirm; nothing is changed."), f"remove-{name}")
    await visit.call(identity.remove, IdentityRemoval(name=name, force=True))
    return visit.redirect("/certificates", visit.text("The identity %(name)s is removed.", name=name))


async def page_imported(visit: PageVisit) -> Shown:
    """Have the page show a certificate at its own address."""
    file = visit.form.file("file")
    if file is None:
        return await _page(visit, visit.text("Choose the file with the key and the certificate."), "page")
    wanted = GivenPair(
        files=(GivenFile(name=file.name, octets=file.octets),), password=visit.form.secret("password") or None
    )
    try:
        done = await visit.call(authority.page_import, wanted, visit.terms)
    except BackendError as error:
        return await _page(visit, str(error), "page")
    told = visit.text("The page shows this certificate within seconds.")
    return visit.warned("/certificates#page", told, done.answer.warnings)


async def page_reset(visit: PageVisit) -> Shown:
    """Have the page show the authority's certificate again."""
    await visit.call(authority.page_reset, Nothing(), visit.terms)
    return visit.redirect("/certificates#page", visit.text("The page shows the authority's certificate again."))


async def ca_added(visit: PageVisit) -> Shown:
    """Add a CA by its certificates."""
    file, name = visit.form.file("file"), visit.form.one("name")
    if file is None or not name:
        return await _page(visit, visit.text("Give the CA a name, and choose the file with its certificates."), "ca")
    values, faults = read_fields(TrustedCa, visit.form)
    if faults:
        return await _page(visit, visit.text("Correct what is marked below."), "ca", faults)
    try:
        pem = await visit.backstage.runner.run(pem_of, file.octets, file.name)
        wanted = CaAddition(name=name, certificates=(pem,), ca=values)
        done = await visit.call(ca.add, wanted, visit.terms)
    except BackendError as error:
        return await _page(visit, str(error), "ca")
    return visit.warned("/certificates", visit.text("The CA %(name)s is there.", name=name), done.answer.warnings)


async def ca_removed(visit: PageVisit) -> Shown:
    """Remove a CA that no partner uses."""
    name = visit.named["name"]
    if visit.form.one("typed") != name:
        return await _page(visit, visit.text("Type the name to confirm; nothing is changed."), f"ca-remove-{name}")
    try:
        await visit.call(ca.remove, Named(name=name))
    except BackendError as error:
        return await _page(visit, str(error), f"ca-remove-{name}")
    return visit.redirect("/certificates", visit.text("The CA %(name)s is removed.", name=name))


async def loaded(visit: PageVisit) -> Shown:
    """Load a revocation list."""
    file = visit.form.file("file")
    if file is None:
        return await _page(visit, visit.text("Choose the file with the revocation list."), "list")
    try:
        if file.large is None:
            given: ListsGiven = ListsGiven(files=(ListFile(name=file.name, octets=file.octets),))
        else:
            given = await visit.backstage.runner.run(
                ListsRead.of_file, visit.backstage.store, file.name, file.large, visit.now
            )
            # While they were read, the login may have ended, or its user lost its role.
            if not await visit.still_good():
                told = visit.text("You were logged out; nothing was changed.")
                return visit.redirect("/login?next=%2Fcertificates", told, "warn")
        taken = (await visit.call(crl.load, given, visit.terms)).answer.items
    except BackendError as error:
        return await _page(visit, str(error), "list")
    count = sum(each.list.serials for each in taken)
    return visit.redirect("/certificates#lists", visit.text("The list is in force: %(count)s entries.", count=count))


async def list_removed(visit: PageVisit) -> Shown:
    """Show what the removal of a revocation list would do, and remove it once that is confirmed."""
    wanted = ListNamed(list=visit.named["number"])
    if visit.confirmed:
        gone = (await visit.call(crl.remove, wanted, visit.terms)).answer
        told = visit.text("The list of %(issuer)s is removed.", issuer=gone.issuer)
        return visit.redirect("/certificates#lists", told)
    foreseen = (await visit.rehearse(crl.remove, wanted)).foreseen
    (one,) = foreseen.differences
    return await _check(visit, foreseen, visit.text("Remove this revocation list?"), (one.subject, one.name))


async def decided(visit: PageVisit) -> Shown:
    """Approve or reject an address from which a CA's lists are downloaded, once what that changes is confirmed."""
    name, url = visit.named["name"], visit.form.one("url")
    operation: Operation[Any, Any] = crl.approve
    wanted: object = Approval(ca=name, addresses=(url,))
    title = visit.text("Download revocation lists of %(name)s from there?", name=name)
    told = visit.text("The list is downloaded from there within seconds, and again before it runs out.")
    if visit.form.one("what") == "reject":
        operation, wanted = crl.reject, Rejection(ca=name, addresses=(url,))
        title = visit.text("Download no revocation lists of %(name)s from there any more?", name=name)
        told = visit.text("Nothing is downloaded from there.")
    try:
        if not visit.confirmed:
            foreseen = (await visit.rehearse(operation, wanted)).foreseen
            # That an address is proposed no more is nothing of the configuration, and refuses nobody.
            if foreseen.differences:
                return await _check(visit, foreseen, title, (EntryKind.CA, name))
        await visit.call(operation, wanted, visit.terms)
    except BackendError as error:
        return await _page(visit, str(error))
    return visit.redirect("/certificates#lists", told)


async def fetched(visit: PageVisit) -> Shown:
    """Have a CA's lists downloaded now."""
    await visit.call(crl.fetch, OfOneCa(ca=visit.named["name"]))
    return visit.redirect("/certificates#lists", visit.text("The lists are downloaded within seconds."))


async def _check(visit: PageVisit, foreseen: Foreseen, title: str, about: tuple[EntryKind, str]) -> Shown:
    """Show what a change would do, and have it confirmed."""
    rows = await visit.rows(foreseen.differences, about)
    if not rows:
        return visit.redirect("/certificates", visit.text("Nothing was changed: it is as it was."), "warn")
    return visit.confirmation(
        title, rows, about=about[1], refusals=foreseen.refusals, back="/certificates", reason=True
    )


async def _page(visit: PageVisit, fault: str = "", at: str = "", faults: Mapping[str, str] | None = None) -> Shown:
    """The page; with a fault, the form in which it is comes open, with what was typed and the fault in it.

    :param at: which form that is; nothing for the page's top.
    :param faults: what is wrong with fields of that form, by their keys.
    """
    identities = (await visit.call(identity.listed, Nothing())).answer.items
    cas = (await visit.call(ca.listed, Page(limit=limits.PAGE.most))).answer.items
    lists = (await visit.call(crl.listed, Nothing())).answer
    addresses = (await visit.call(crl.proposals, OfOneCa())).answer.items
    own = (await visit.call(authority.page, Nothing())).answer
    trusted, proposed = await trust_lists.known(visit)
    now = visit.now
    waiting = [each for each in addresses if each.configured and not each.approved and each.rejected is None]
    ends = [_end(each) for each in identities if each.certificates]
    used = [span for each in identities for span in _in_use(each)]
    stale = [each for each in lists.items if each.state is not ListState.FRESH]
    required = [each.ca for each in cas if each.ca.revocation is RevocationMode.REQUIRE]
    without = [each.name for each in required if each.name not in {one.ca for one in lists.items}]
    return visit.render(
        "certificates.html",
        status=422 if fault else 200,
        fault=fault,
        at=at,
        kept=lambda form, name, usual="": visit.form.one(name) if at == form else usual,
        identities=identities,
        cas=[(each.ca, each.certificates, _settings(visit, each.ca)) for each in cas],
        lists=lists.items,
        list_states=ListState,
        list_megabytes=limits.DOWNLOAD_OCTETS_MOST // (1024 * 1024),
        downloads=lists.downloads,
        trust_lists=trusted,
        listed_cas=proposed,
        waiting=waiting,
        failing=[each for each in lists.downloads if each.needed and each.fault is not None],
        stale=stale,
        without=without,
        ending=min((each for each in ends if each - now < SOON), default=None),
        now=now,
        soon=SOON,
        words={each: worded(each.value, visit.text) for each in RevocationMode},
        ca_fields=fields_of(TrustedCa, visit.text, typed=visit.form if at == "ca" else None, faults=faults),
        own=own,
        line=time_line(used, now) if any(each.planned for each in identities) else None,
        line_width=WIDTH,
        key_choices=[(each, each) for each in KEY_TYPES],
        key_usual=KEY_TYPE_USUAL,
    )


def _end(known: KnownIdentity) -> datetime:
    """When an identity has no certificate that is valid any more."""
    until = known.certificates[0].not_after
    if known.planned is None or known.planned.use_from > until:
        return until
    return known.planned.certificates[0].not_after


def _in_use(known: KnownIdentity) -> list[InUse]:
    """What is shown under an identity, one certificate after the other."""
    planned, spans = known.planned, []
    for leaf in known.certificates[:1]:
        until = leaf.not_after if planned is None else min(leaf.not_after, planned.use_from)
        spans.append(InUse(label=f"{known.name}: {leaf.subject}", begins=leaf.not_before, until=until, current=True))
    if planned is not None:
        leaf = planned.certificates[0]
        label = f"{known.name}: {leaf.subject}"
        spans.append(InUse(label=label, begins=planned.use_from, until=leaf.not_after, current=False))
    return spans


def _settings(visit: PageVisit, entry: TrustedCa) -> list[tuple[str, str]]:
    """What of a CA's settings is not the default, beside what has a column; each with what it is called."""
    values = [(each, getattr(entry, each.name)) for each in declarations(TrustedCa)]
    return [
        (label_of(each, visit.text), value_words(each, value, visit.text).replace("\n", ", "))
        for each, value in values
        if each.people.help and not each.people.listed and value != each.default
    ]


async def _ca(visit: PageVisit, name: str) -> TrustedCa:
    return (await visit.call(ca.show, Named(name=name))).answer.ca


def _at(name: str) -> str:
    """The address that the forms of a CA are below."""
    return f"/certificates/cas/{in_path(name)}"


def _altered(name: str, values: dict[str, Any]) -> CaAlteration:
    return CaAlteration(name=name, ca=values)


_CAS = EntryFamily(
    cls=TrustedCa,
    kind=EntryKind.CA,
    at=_at,
    back=lambda name: "/certificates#cas",
    read=_ca,
    in_words=ca_in_words,
)
_CHANGE = EntryForm(
    family=_CAS,
    path="change",
    cls=TrustedCa,
    part=lambda entry: entry,
    operation=ca.alter,
    title=later("Change %(name)s"),
    wanted=_altered,
)
ROUTES = (
    Route("GET", "/certificates", identity.listed, listed),
    Route("POST", "/certificates/identities", identity.take_in, imported),
    Route("POST", "/certificates/requests", identity.request, asked),
    Route("POST", "/certificates/identities/<name>/complete", identity.complete, answered),
    Route("POST", "/certificates/identities/<name>/undo-plan", identity.undo_plan, plan_undone),
    Route("POST", "/certificates/identities/<name>/remove", identity.remove, removed),
    Route("POST", "/certificates/page", authority.page_import, page_imported),
    Route("POST", "/certificates/page/reset", authority.page_reset, page_reset),
    Route("POST", "/certificates/cas", ca.add, ca_added),
    Route("GET", "/certificates/cas/<name>/change", ca.alter, _CHANGE.asked),
    Route("POST", "/certificates/cas/<name>/change", ca.alter, _CHANGE.sent),
    Route("POST", "/certificates/cas/<name>/remove", ca.remove, ca_removed),
    Route("POST", "/certificates/cas/<name>/addresses", crl.approve, decided),
    Route("POST", "/certificates/cas/<name>/fetch", crl.fetch, fetched),
    Route("POST", "/certificates/lists", crl.load, loaded, large=True),
    Route("POST", "/certificates/lists/<number>/remove", crl.remove, list_removed),
)
