"""Forms that add a partner, and change its entry or how it is called: typed, judged by a dry run, shown, then done.

Two administrators do not overwrite each other: a form carries the entry as it was shown. If it is another one by the
time of the change, the form comes again with what the other did, and with what was typed kept.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from smartproxy.backend.errors import BackendError, ChangedMeanwhile, CodeTaken
from smartproxy.backend.operations import ca as cas
from smartproxy.backend.operations import identity as identities
from smartproxy.backend.operations import partner as operations
from smartproxy.backend.operations.operation import Operation
from smartproxy.backend.operations.performing import tag_of
from smartproxy.backend.operations.shapes import Named, Nothing, Page
from smartproxy.backend.page.differences import compared
from smartproxy.backend.page.dropped_certificates import DroppedCertificate, facts_in
from smartproxy.backend.page.form_fields import fields_of, read_fields
from smartproxy.backend.page.partners import at
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.backend.states import EntryKind
from smartproxy.policy import limits
from smartproxy.policy.partners import Outbound, Partner, SubjectRule
from smartproxy.policy.schema import read_object, write_object
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
        return await _new(visit, facts=facts, faults={"codes": _taken(visit, taken)}, fault="")
    except BackendError as error:
        return await _new(visit, facts=facts, faults={}, fault=str(error))
    return visit.render(
        "partner_check.html",
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


@attrs.frozen(kw_only=True)
class EntryForm:
    """A form for a part of a partner's entry.

    :ivar path: its last part.
    :ivar part: what of the entry it shows; ``None`` where there is nothing yet.
    :ivar title: its title, with the partner's name.
    :ivar wanted: the operation's input of the values that changed.
    :ivar known: the names that values can be, by their keys, where there are such.
    """

    path: str
    cls: type[Any]
    part: Callable[[Partner], Any]
    operation: Operation[Any, Any]
    title: str
    wanted: Callable[[str, dict[str, Any]], Any]
    known: Callable[[PageVisit], Awaitable[Mapping[str, Sequence[str]]]] | None = None

    async def asked(self, visit: PageVisit) -> Shown:
        """The form with what is there."""
        entry = (await visit.call(operations.show, Named(name=visit.named["name"]))).answer.partner
        return await self._shown(visit, entry, self.part(entry), faults={}, fault="")

    async def sent(self, visit: PageVisit) -> Shown:
        """Judge a change, show it, and make it once that is confirmed."""
        name, base = visit.named["name"], await _base(visit)
        values, faults = read_fields(self.cls, visit.form)
        before = self.part(base)
        changed = {key: value for key, value in values.items() if before is None or value != getattr(before, key)}
        now_there = (await visit.call(operations.show, Named(name=name))).answer.partner
        if faults:
            return await self._shown(visit, base, before, faults=faults, fault="", typed=True)
        if not changed and now_there == base:
            return visit.redirect(at(name), visit.text("Nothing was changed: it is as it was."), "warn")
        wanted, terms = self.wanted(name, changed), attrs.evolve(visit.terms, seen=[tag_of(base)])
        try:
            if visit.confirmed:
                await visit.call(self.operation, wanted, terms)
                return visit.redirect(at(name), visit.text("%(name)s is changed.", name=name))
            foreseen = (await visit.rehearse(self.operation, wanted, terms)).foreseen
        except ChangedMeanwhile as meanwhile:
            now_there = (await visit.call(operations.show, Named(name=name))).answer.partner
            part = self.part(now_there)
            if part is not None and all(getattr(part, key) == value for key, value in changed.items()):
                return visit.redirect(at(name), visit.text("It is so already."), "warn")
            return await self._conflict(visit, base, now_there, changed, meanwhile)
        except CodeTaken as taken:
            beside = {"codes": _taken(visit, taken)}
            return await self._shown(visit, base, before, faults=beside, fault="", typed=True)
        except BackendError as error:
            return await self._shown(visit, base, before, faults={}, fault=str(error), typed=True)
        return visit.render(
            "partner_check.html",
            name=name,
            action=f"{at(name)}/{self.path}",
            rows=await visit.rows(foreseen.differences, (EntryKind.PARTNER, name)),
            refusals=foreseen.refusals,
            facts=None,
            kept={},
            title=visit.text("Change %(name)s?", name=name),
            confirm=visit.text("Make this change"),
            now=visit.now,
        )

    async def _conflict(
        self, visit: PageVisit, base: Partner, there: Partner, changed: dict[str, Any], meanwhile: ChangedMeanwhile
    ) -> bytes:
        """Show what another administrator did, and what was typed on top of it."""
        others = [(visit.text(what), *both) for what, *both in compared(write_object(base), write_object(there))]
        part = self.part(there)
        merged = self.cls(**changed) if part is None else attrs.evolve(part, **changed)
        return await self._shown(visit, there, merged, faults={}, fault="", others=others, meanwhile=meanwhile)

    async def _shown(
        self,
        visit: PageVisit,
        base: Partner,
        part: Any,
        *,
        faults: dict[str, str],
        fault: str,
        typed: bool = False,
        others: Any = (),
        meanwhile: ChangedMeanwhile | None = None,
    ) -> bytes:
        typed_form = visit.form if typed else None
        known = None if self.known is None else await self.known(visit)
        return visit.render(
            "partner_form.html",
            409 if meanwhile else 422 if faults or fault else 200,
            name=base.name,
            title=visit.text(self.title, name=base.name),
            path=self.path,
            fields=fields_of(self.cls, visit.text, entry=part, typed=typed_form, faults=faults, known=known),
            base=json.dumps(write_object(base)),
            fault=fault,
            others=others,
            meanwhile=meanwhile,
            called=base.outbound is not None,
        )


def _taken(visit: PageVisit, taken: CodeTaken) -> str:
    return visit.text("This code belongs to %(name)s already.", name=taken.owner)


async def never_called(visit: PageVisit) -> Shown:
    """Call a partner no more."""
    name = visit.named["name"]
    await visit.call(operations.outbound, operations.CallingAlteration(name=name, outbound=None))
    return visit.redirect(at(name), visit.text("%(name)s is not called any more.", name=name))


async def _base(visit: PageVisit) -> Partner:
    """The entry that the form was made of."""
    try:
        return await visit.backstage.runner.run(_read, visit.form.one("base"))
    except (ValueError, RecursionError, DocumentRefused) as error:
        raise PageRefused(
            400, visit.text("The form cannot be read"), visit.text("Go back to the partner, and open the form again.")
        ) from error


def _read(text: str) -> Partner:
    return read_object(Partner, json.loads(text))


def _altered(name: str, values: dict[str, Any]) -> operations.PartnerAlteration:
    return operations.PartnerAlteration(name=name, partner=values)


def _called(name: str, values: dict[str, Any]) -> operations.CallingAlteration:
    return operations.CallingAlteration(name=name, outbound=values)


ENTRY = EntryForm(
    path="change",
    cls=Partner,
    part=lambda entry: entry,
    operation=operations.alter,
    title=later("Change %(name)s"),
    wanted=_altered,
)
CALLS = EntryForm(
    path="calls",
    cls=Outbound,
    part=lambda entry: entry.outbound,
    operation=operations.outbound,
    title=later("Calls to %(name)s"),
    wanted=_called,
    known=_names_for_calls,
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
