"""Forms that add a partner, and change its entry or how it is called: typed, judged by a dry run, shown, then done."""

from collections.abc import Mapping, Sequence
from typing import Any

from smartproxy.backend.errors import BackendError, CodeTaken
from smartproxy.backend.operations import ca as cas
from smartproxy.backend.operations import identity as identities
from smartproxy.backend.operations import partner as operations
from smartproxy.backend.operations.shapes import Named, Nothing, Page
from smartproxy.backend.page.dropped_certificates import DroppedCertificate, facts_in
from smartproxy.backend.page.entry_forms import EntryFamily, EntryForm, taken_code
from smartproxy.backend.page.form_fields import fields_of, read_fields
from smartproxy.backend.page.partners import at
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageVisit
from smartproxy.backend.states import EntryKind
from smartproxy.policy import limits
from smartproxy.policy.partners import Outbound, Partner, SubjectRule
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import NAME

_ODETTE = "O"


async def new(visit: PageVisit) -> Shown:
    """The form for a partner."""
    return await _new(visit, facts=None, faults={}, fault="")


async def added(visit: PageVisit) -> Shown:
    """Judge a new partner, show what would be, and add it once that is confirmed."""
    form = visit.form
    values, faults = read_fields(Partner, form)
    name, facts = form.one("name"), None
    try:
        facts = await _given_certificate(visit)
    except BackendError as error:
        faults["file"] = str(error)
    try:
        name = NAME.read(name, "name")
    except DocumentRefused as refused:
        faults["name"] = refused.message
    if "codes" in faults and not form.lines("codes"):
        taken_over = facts.odette_id if facts and (facts.odette_id or "").startswith(_ODETTE) else None
        faults["codes"] = visit.text("Give the partner's SSIDCODE.")
        if taken_over is not None:
            values["codes"] = (taken_over,)
            del faults["codes"]
    rules: tuple[SubjectRule, ...] = ()
    if form.one("ca") and form.one("serial_number"):
        rules = (SubjectRule(ca=form.one("ca"), serial_number=form.one("serial_number")),)
    if facts is None and not rules and "file" not in faults:
        faults["file"] = visit.text("Drop the partner's certificate here, or name a CA and the Odette ID below.")
    if faults:
        return await _new(visit, facts=facts, faults=faults, fault="")
    given = () if facts is None else (operations.GivenCertificate(pem=facts.pem),)
    entry = {**values, "name": name} | ({"certificates": rules} if rules else {})
    wanted = operations.PartnerAddition(partner=entry, pinned=given, force=form.checked("force"))
    try:
        if visit.confirmed:
            done = await visit.call(operations.add, wanted, visit.terms)
            told = visit.text("%(name)s is added and may connect.", name=name)
            return visit.warned(at(name), told, done.answer.warnings)
        foreseen = (await visit.rehearse(operations.add, wanted)).foreseen
    except CodeTaken as taken:
        return await _new(visit, facts=facts, faults={"codes": taken_code(visit, taken)}, fault="")
    except BackendError as error:
        return await _new(visit, facts=facts, faults={}, fault=str(error))
    return visit.render(
        "entry_check.html",
        name=name,
        action="/partners/+new",
        rows=await visit.rows(foreseen.differences, (EntryKind.PARTNER, name)),
        refusals=foreseen.refusals,
        facts=facts,
        kept={"codes": "\n".join(values["codes"]), "pem": "" if facts is None else facts.pem},
        title=visit.text("Add %(name)s?", name=name),
        confirm=visit.text("Add the partner"),
        now=visit.now,
    )


async def _new(visit: PageVisit, *, facts: DroppedCertificate | None, faults: dict[str, str], fault: str) -> Shown:
    known = await _cas(visit)
    typed = visit.form if visit.form.fields else None
    fields = fields_of(Partner, visit.text, typed=typed, faults=faults)
    return visit.render(
        "partner_new.html",
        422 if faults or fault else 200,
        first=[each for each in fields if each.required],
        more=[each for each in fields if not each.required],
        form=visit.form,
        facts=facts,
        faults=faults,
        fault=fault,
        cas=[("", visit.text("none")), *((name, name) for name in known)],
        now=visit.now,
    )


async def _cas(visit: PageVisit) -> list[str]:
    """The names of the site's CAs."""
    return [each.ca.name for each in (await visit.call(cas.listed, Page(limit=limits.PAGE.most))).answer.items]


async def _names_for_calls(visit: PageVisit) -> Mapping[str, Sequence[str]]:
    """The names that how a partner is called can refer to."""
    known = (await visit.call(identities.listed, Nothing())).answer.items
    return {"ca": await _cas(visit), "identity": [each.name for each in known if each.certificates]}


async def _given_certificate(visit: PageVisit) -> DroppedCertificate | None:
    """The certificate that was dropped, now or in a step before.

    :raises BackendError: when it is not one.
    """
    file = visit.form.file("file")
    octets, source = (file.octets, file.name) if file else (visit.form.one("pem").encode("utf-8"), "the certificate")
    return await visit.backstage.runner.run(facts_in, octets, source) if octets else None


async def never_called(visit: PageVisit) -> Shown:
    """Call a partner no more."""
    name = visit.named["name"]
    await visit.call(operations.outbound, operations.CallingAlteration(name=name, outbound=None))
    return visit.redirect(at(name), visit.text("%(name)s is not called any more.", name=name))


def _altered(name: str, values: dict[str, Any]) -> operations.PartnerAlteration:
    return operations.PartnerAlteration(name=name, partner=values)


def _called(name: str, values: dict[str, Any]) -> operations.CallingAlteration:
    return operations.CallingAlteration(name=name, outbound=values)


async def _partner(visit: PageVisit, name: str) -> Partner:
    return (await visit.call(operations.show, Named(name=name))).answer.partner


_PARTNERS = EntryFamily(cls=Partner, kind=EntryKind.PARTNER, at=at, back=at, read=_partner)
ENTRY = EntryForm(
    family=_PARTNERS,
    path="change",
    cls=Partner,
    part=lambda entry: entry,
    operation=operations.alter,
    title=later("Change %(name)s"),
    wanted=_altered,
)
CALLS = EntryForm(
    family=_PARTNERS,
    path="calls",
    cls=Outbound,
    part=lambda entry: entry.outbound,
    operation=operations.outbound,
    title=later("Calls to %(name)s"),
    wanted=_called,
    known=_names_for_calls,
    template="partner_calls.html",
)
ROUTES = (
    Route("GET", "/partners/+new", operations.add, new),
    Route("POST", "/partners/+new", operations.add, added),
    Route("GET", "/partners/<name>/change", operations.alter, ENTRY.asked),
    Route("POST", "/partners/<name>/change", operations.alter, ENTRY.sent),
    Route("GET", "/partners/<name>/calls", operations.outbound, CALLS.asked),
    Route("POST", "/partners/<name>/calls", operations.outbound, CALLS.sent),
    Route("POST", "/partners/<name>/never", operations.outbound, never_called),
)
