"""Partners: their list, and one partner with its certificates, what was seen of it, its sheet, and a test.

What changes an entry by a form is in :mod:`smartproxy.backend.page.partner_forms`.
"""

from typing import Any

import attrs

from smartproxy.backend.errors import BackendError
from smartproxy.backend.operations import partner as operations
from smartproxy.backend.operations import partner_views, proposing, sheets, trial
from smartproxy.backend.operations.events import EventsWanted
from smartproxy.backend.operations.events import listed as list_events
from smartproxy.backend.operations.operation import Operation
from smartproxy.backend.operations.shapes import Named
from smartproxy.backend.page.dropped_certificates import WIDTH, facts_in, of_partner, time_line
from smartproxy.backend.page.filters import read_filters
from smartproxy.backend.page.form_fields import label_of, value_words
from smartproxy.backend.page.rendering import in_path
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageRefused, PageVisit, local
from smartproxy.backend.states import EntryKind
from smartproxy.logs.catalogue import EVENTS
from smartproxy.policy.faults import Step
from smartproxy.policy.partners import Outbound, Partner
from smartproxy.policy.schema import declarations
from smartproxy.policy.session_record import SESSION_ID
from smartproxy.policy.sheet_words import Language
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Line

PAGE_ENTRIES = 50
_LAST_EVENTS = 10
STEP_WORDS = {
    Step.POLICY: later("The partner may be called"),
    Step.SOURCE: later("The address that the server calls from"),
    Step.NAME: later("The partner's host is found"),
    Step.CONNECT: later("The connection is made"),
    Step.TLS: later("TLS, and the partner's certificate"),
    Step.SSRM: later("The partner's greeting (SSRM)"),
}
STATE_WORDS = {
    partner_views.PartnerState.ALL: later("all"),
    partner_views.PartnerState.ENABLED: later("enabled"),
    partner_views.PartnerState.DISABLED: later("disabled"),
    partner_views.PartnerState.NEVER_SEEN: later("never seen"),
    partner_views.PartnerState.PROPOSED: later("with a new certificate"),
}


async def listed(visit: PageVisit) -> Shown:
    """The partners that are looked for."""
    search, nothing = partner_views.PartnerSearch, partner_views.FoundPartners(items=(), next=None, count=0)
    filters = await read_filters(visit, search, ("q", "state", "after"), {"q": Line()}, limit=PAGE_ENTRIES)
    wanted = attrs.evolve(filters.wanted, word=filters.own.get("q"))
    return visit.render(
        "partners.html",
        filters.status,
        found=nothing if filters.faults else (await visit.call(partner_views.search, wanted)).answer,
        filters=filters,
        older=[(name, text) for name, text in filters.given.items() if name != "after"],
        states=[(each.value, visit.text(STATE_WORDS[each])) for each in partner_views.PartnerState],
        now=visit.now,
    )


async def shown(visit: PageVisit) -> Shown:
    """One partner."""
    name = visit.named["name"]
    known = (await visit.call(operations.show, Named(name=name))).answer
    certificates = (await visit.call(partner_views.certificates, Named(name=name))).answer.items
    proposed = [
        each
        for each in (await visit.call(proposing.listed, proposing.ProposalsWanted())).answer.items
        if each.partner == name
    ]
    events = (await visit.call(list_events, EventsWanted(partner=name, limit=_LAST_EVENTS))).answer.items
    return visit.render(
        "partner.html",
        partner=known.partner,
        last_session=max((each.proved for each in certificates if each.proved), default=None),
        ends=max((each.not_after for each in certificates if each.not_after and each.rule), default=None),
        certificates=certificates,
        line=time_line(of_partner(certificates, visit.now), visit.now),
        line_width=WIDTH,
        proposed=proposed,
        events=[*reversed(events)],
        about=EVENTS,
        values=_values(visit, known.partner),
        calls=[] if known.partner.outbound is None else _values(visit, known.partner.outbound),
        now=visit.now,
    )


async def enabled(visit: PageVisit) -> Shown:
    """Let a partner connect and be called, once that is confirmed."""
    name = visit.named["name"]
    if not visit.confirmed:
        title = visit.text("Let %(name)s connect and be called again?", name=name)
        return await _foreseen(visit, operations.enable, Named(name=name), title)
    await visit.call(operations.enable, Named(name=name))
    return visit.redirect(at(name), visit.text("%(name)s may connect and be called again.", name=name))


async def disabled(visit: PageVisit) -> Shown:
    """Let a partner connect and be called no more, once it is confirmed whom that refuses."""
    name = visit.named["name"]
    if not visit.confirmed:
        title = visit.text("Let %(name)s connect and be called no more?", name=name)
        return await _foreseen(visit, operations.disable, Named(name=name), title)
    await visit.call(operations.disable, Named(name=name))
    told = visit.text(
        "%(name)s may not connect or be called any more. Sessions that run end when they are idle.", name=name
    )
    return visit.redirect(at(name), told, "warn")


async def removal(visit: PageVisit) -> Shown:
    """What removing a partner would do."""
    return await _removal(visit, "")


async def removed(visit: PageVisit) -> Shown:
    """Remove a partner whose name was typed."""
    name = visit.named["name"]
    if visit.form.one("typed") != name:
        return await _removal(visit, visit.text("Type the name exactly as it is written: %(name)s", name=name))
    await visit.call(operations.remove, Named(name=name))
    return visit.redirect("/partners", visit.text("%(name)s is removed. The history can bring it back.", name=name))


async def _removal(visit: PageVisit, fault: str) -> Shown:
    name = visit.named["name"]
    foreseen = (await visit.rehearse(operations.remove, Named(name=name))).foreseen
    return visit.render(
        "partner_remove.html",
        422 if fault else 200,
        name=name,
        rows=await visit.rows(foreseen.differences, (EntryKind.PARTNER, name)),
        refusals=foreseen.refusals,
        fault=fault,
    )


async def certificate_added(visit: PageVisit) -> Shown:
    """Show a certificate that was dropped, and recognize the partner by it once that is confirmed."""
    name, fault, facts = visit.named["name"], "", None
    file = visit.form.file("file")
    try:
        if visit.confirmed:
            given = operations.GivenCertificate(pem=visit.form.one("pem") + "\n", key=visit.form.checked("key"))
            done = await visit.call(operations.add_rules, operations.RuleAddition(name=name, pinned=(given,)))
            told = visit.text(
                "%(name)s is recognized by the certificate, too; those that it had stay valid.", name=name
            )
            return visit.warned(at(name), told, done.answer.warnings)
        if file is None:
            fault = visit.text("Choose the file with the partner's certificate.")
        else:
            facts = await visit.backstage.runner.run(facts_in, file.octets, file.name)
    except BackendError as error:
        fault = str(error)
    status = 422 if fault else 200
    return visit.render("partner_certificate.html", status, name=name, facts=facts, fault=fault, now=visit.now)


async def certificate_removed(visit: PageVisit) -> Shown:
    """Show who would be refused without this certificate, and remove it once that is confirmed."""
    name, which = visit.named["name"], visit.form.one("which")
    wanted = operations.RuleRemoval(name=name, which=(which,))
    if visit.confirmed:
        await visit.call(operations.remove_rules, wanted)
        return visit.redirect(
            at(name), visit.text("%(name)s is not recognized by that certificate any more.", name=name)
        )
    foreseen = (await visit.rehearse(operations.remove_rules, wanted)).foreseen
    return visit.render(
        "partner_certificate_remove.html",
        name=name,
        which=which,
        rows=await visit.rows(foreseen.differences, (EntryKind.PARTNER, name)),
        refusals=foreseen.refusals,
    )


async def accepted(visit: PageVisit) -> Shown:
    """Trust a certificate that is proposed."""
    name = visit.named["name"]
    wanted = proposing.Acceptance(name=name, sha256=visit.form.one("sha256") or None)
    if not visit.confirmed:
        title = visit.text("Recognize %(name)s by this certificate?", name=name)
        return await _foreseen(visit, proposing.accept, wanted, title)
    done = await visit.call(proposing.accept, wanted)
    told = visit.text(
        "%(name)s is recognized by the new certificate (serial %(serial)s), too; the old one stays valid.",
        name=name,
        serial=done.answer.serial,
    )
    return visit.redirect(_back(visit), told)


async def _foreseen(visit: PageVisit, operation: Operation[Any, Any], wanted: object, title: str) -> Shown:
    """What a button would change, and the button that does it."""
    foreseen = (await visit.rehearse(operation, wanted)).foreseen
    rows = await visit.rows(foreseen.differences)
    return visit.confirmation(title, rows, refusals=foreseen.refusals, back=_back(visit))


def _back(visit: PageVisit) -> str:
    """Where a button of the partner's was pressed."""
    return local(visit.form.one("next") or at(visit.named["name"]))


async def rejected(visit: PageVisit) -> Shown:
    """Show what it means that a certificate is not the partner's, and decide it once that is confirmed."""
    name, sha256 = visit.named["name"], visit.form.one("sha256")
    if not visit.confirmed:
        known = (await visit.call(proposing.listed, proposing.ProposalsWanted())).answer.items
        found = next((each for each in known if (each.partner, each.sha256) == (name, sha256)), None)
        if found is None:
            why = visit.text("This certificate is not proposed any more: nothing is to be done.")
            raise PageRefused(404, visit.text("This is not there"), why)
        # It is nothing of the configuration, so that no rehearsal tells the difference.
        what = visit.text("Certificate with serial %(serial)s", serial=found.serial)
        before = visit.text("proposed as the next one of %(name)s", name=name)
        return visit.confirmation(
            visit.text("Is this certificate not one of %(name)s?", name=name),
            [(what, before, visit.text("rejected, and not proposed again"))],
            about=f"{sha256[:16]}…",
            note=visit.text("Whoever calls with it stays refused. %(name)s is let in with those it has.", name=name),
            back=_back(visit),
        )
    await visit.call(proposing.reject, proposing.Acceptance(name=name, sha256=sha256 or None))
    told = visit.text("The certificate is rejected: it stays refused, and is not proposed again.")
    return visit.redirect(_back(visit), told, "warn")


async def sheet(visit: PageVisit) -> Shown:
    """What the partner has to be told to connect."""
    name = visit.named["name"]
    wanted = visit.argument("language") or visit.language
    language = next((each for each in Language if each.value == wanted), Language.EN)
    made = (await visit.call(sheets.sheet, sheets.SheetWanted(name=name, language=language))).answer
    if visit.argument("as") == "text":
        visit.request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        visit.request.setHeader(b"content-disposition", b'attachment; filename="sheet.txt"')
        return made.text.encode("utf-8")
    languages = [each.value for each in Language]
    return visit.render("partner_sheet.html", name=name, sheet=made, chosen=language.value, sheet_languages=languages)


async def tested(visit: PageVisit) -> Shown:
    """Have a client call the partner up to its greeting."""
    name = visit.named["name"]
    begun = (await visit.call(trial.start, trial.TrialWanted(partner=name))).answer
    return visit.redirect(f"{at(name)}/test/{begun.session}")


async def test_shown(visit: PageVisit) -> Shown:
    """How far a test is."""
    return await _test(visit, "partner_test.html")


async def test_live(visit: PageVisit) -> Shown:
    """The same, as the part of the page that looks again by itself."""
    return await _test(visit, "partner_test_live.html")


async def _test(visit: PageVisit, template: str) -> Shown:
    name, session = visit.named["name"], visit.named["session"]
    try:
        SESSION_ID.read(session, "session")
    except DocumentRefused:
        raise _no_test(visit) from None
    await visit.call(operations.show, Named(name=name))
    found = (await visit.call(trial.result, trial.StartedTrial(session=session))).answer
    if not found.asked:
        raise _no_test(visit)
    event = found.event
    good = event is not None and event.name == "outbound.answered"
    failed = None
    if event is not None and not good:
        failed = next((each for each in Step if each == event.fields.get("step")), Step.POLICY)
    steps, every = [], tuple(Step)
    for number, step in enumerate(every):
        state = "open"
        if good or (failed is not None and number < every.index(failed)):
            state = "good"
        elif step is failed:
            state = "bad"
        elif failed is not None:
            state = "left"
        steps.append((state, visit.text(STEP_WORDS[step])))
    return visit.render(template, name=name, session=session, event=event, good=good, steps=steps)


def _no_test(visit: PageVisit) -> PageRefused:
    return PageRefused(404, visit.text("This is not there"), visit.text("Test the partner again."))


def at(name: str) -> str:
    """Where a partner is."""
    return f"/partners/{in_path(name)}"


def _values(visit: PageVisit, entry: Partner | Outbound) -> list[tuple[str, str, bool]]:
    """An entry's values in words: label, value, and whether it is the default."""
    return [
        (label_of(each, visit.text), value_words(each, getattr(entry, each.name), visit.text), value == each.default)
        for each in declarations(type(entry))
        if each.people.help
        for value in (getattr(entry, each.name),)
    ]


ROUTES = (
    Route("GET", "/partners", partner_views.search, listed),
    Route("GET", "/partners/<name>", operations.show, shown),
    Route("POST", "/partners/<name>/enable", operations.enable, enabled),
    Route("POST", "/partners/<name>/disable", operations.disable, disabled),
    Route("GET", "/partners/<name>/remove", operations.remove, removal),
    Route("POST", "/partners/<name>/remove", operations.remove, removed),
    Route("POST", "/partners/<name>/certificates", operations.add_rules, certificate_added),
    Route("POST", "/partners/<name>/certificates/remove", operations.remove_rules, certificate_removed),
    Route("POST", "/partners/<name>/accept", proposing.accept, accepted),
    Route("POST", "/partners/<name>/reject", proposing.reject, rejected),
    Route("GET", "/partners/<name>/sheet", sheets.sheet, sheet),
    Route("POST", "/partners/<name>/test", trial.start, tested),
    Route("GET", "/partners/<name>/test/<session>", trial.result, test_shown),
    Route("GET", "/partners/<name>/test/<session>/live", trial.result, test_live, by_itself=True),
)
