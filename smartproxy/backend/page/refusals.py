"""Refusals and early ends, by cause and partner, written like advice; and the buttons that do what is advised.

What a button does takes its values from the event that tells of the refusal, never from the form; it is shown with its
difference before it is done.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs

from smartproxy.backend.errors import BackendError, NotFound
from smartproxy.backend.operations import ca as cas
from smartproxy.backend.operations import crl, ignore, partner_views, proposing
from smartproxy.backend.operations import partner as partners
from smartproxy.backend.operations import refusal as operations
from smartproxy.backend.operations.operation import Operation
from smartproxy.backend.operations.performing import Terms
from smartproxy.backend.operations.refusal import KnownRefusal, KnownRefusals, RefusalList, RefusalsWanted
from smartproxy.backend.operations.shapes import Named, Nothing, Word
from smartproxy.backend.page.filters import read_filters
from smartproxy.backend.page.partner_names import TypedPartner, typed_partner
from smartproxy.backend.page.refusal_advice import (
    STRANGERS,
    AdviceButton,
    RefusalAdvice,
    advice_of,
    text_for_partner,
    title_of,
)
from smartproxy.backend.page.rendering import moment_of
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.backend.refusals_explained import key_of
from smartproxy.logs.render import escape as made_visible
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import OF_THIS_SITE
from smartproxy.policy.explanations import explanation
from smartproxy.policy.partners import CertificatePin, Partner, Purpose

DAYS = (1, 7, 30)
_DAYS = Word(tuple(map(str, DAYS)))
IGNORED_DAYS = (1, 7, 30)
GROUPS_MOST = 50
_WORD_MOST = 200
_TRUSTED = ("certificate.no_partner", "certificate.self_signed", "certificate.unknown_ca")
_PINNED_DIGITS = 16

_COMMON_NAME = re.compile(r"(?:^|,)CN=([^,+]+)")
_NAME_MOST = 60
# Who it is, within a sentence and at its beginning.
_LIKELY = (later("most likely %(name)s"), later("Most likely %(name)s"))
_NAMED = (later("a caller that calls itself %(name)s"), later("A caller that calls itself %(name)s"))
_UNKNOWN = (later("an unknown caller"), later("An unknown caller"))


@attrs.frozen(kw_only=True)
class ShownGroup:
    """Refusals of one cause and one partner, as the list shows them.

    :ivar titled: whether the cause has a title of its own, so that it has to be told beside it.
    :ivar kind: ``bad`` if a partner is kept out, ``warn`` if something of a partner's ended early.
    """

    group: KnownRefusals
    title: str
    steps: Sequence[str]
    ways: Sequence[AdviceButton]
    titled: bool
    kind: str


async def listed(visit: PageVisit) -> Shown:
    """The refusals of some days."""
    filters = await read_filters(visit, RefusalsWanted, ("partner", "days"), {"days": _DAYS}, limit=GROUPS_MOST)
    days = int(filters.own.get("days", DAYS[1]))
    since = visit.now - timedelta(days=days)
    wanted = attrs.evolve(filters.wanted, since=since)
    found = RefusalList(items=(), since=since, whole=True, left_out=0)
    if not filters.faults:
        found = (await visit.call(operations.listed, wanted)).answer
    filters = filters.after(found.items)
    told = [each for each in found.items if not _is_stranger(each)]
    proposals = (await visit.call(proposing.listed, proposing.ProposalsWanted())).answer.items
    likely = {each.sha256: each.partner for each in proposals}
    return visit.render(
        "refusals.html",
        filters.status,
        groups=[_group(visit, each, likely) for each in told],
        strangers=[each for each in found.items if _is_stranger(each)],
        whole=found.whole,
        left_out=found.left_out,
        likely=likely,
        filters=filters,
        days=days,
        choices=[(each, visit.counted("%(count)s day", "%(count)s days", each)) for each in DAYS],
    )


async def shown(visit: PageVisit) -> Shown:
    """One refusal: what was presented beside what is known, why, and what one can do."""
    return await _page(visit, await _refusal(visit))


async def _page(visit: PageVisit, found: KnownRefusal, typed: TypedPartner | None = None) -> Shown:
    fields = found.event.fields
    partner = _partner(found)
    sha256 = str(fields.get("certificate_sha256") or "")
    proposed = [
        each
        for each in (await visit.call(proposing.listed, proposing.ProposalsWanted())).answer.items
        if each.sha256 == sha256
    ]
    whose = partner or (proposed[0].partner if proposed else None)
    entry, known = None, None
    if whose is not None:
        # It may have been removed since.
        with contextlib.suppress(NotFound):
            entry = await _entry(visit, whose)
            items = (await visit.call(partner_views.certificates, Named(name=whose))).answer.items
            known = next((each for each in items if each.rule and each.sha256), None)
    names = await _names(visit, str(fields.get("subject") or "")) if found.key in _TRUSTED else []
    advice = _advice(found.key, fields, outgoing=found.outgoing)
    renderer = visit.backstage.renderer
    languages = renderer.languages
    return visit.render(
        "refusal.html",
        422 if typed is not None else 200,
        found=found,
        title=_title(visit, found, fields, partner, whose),
        steps=() if advice is None else advice.steps,
        ways=_ways(visit, advice),
        titled=bool(title_of(found.key, outgoing=found.outgoing)),
        codes=[] if entry is None else entry.codes,
        ends=moment_of(fields.get("not_after")),
        partner=partner if entry is not None else None,
        known=known,
        sha256=sha256,
        proposed=proposed,
        trusted=found.key in _TRUSTED and sha256 and not proposed,
        names=names,
        meant=typed.name if typed is not None else partner or "",
        fault="" if typed is None else typed.fault,
        lists=await _unapproved(visit, str(fields.get("ca") or "")) if found.key in OF_THIS_SITE else [],
        quotes=[
            (code, text_for_partner(found, found.event.time, languages[code], renderer.said[code]))
            for code in languages
        ],
        ignored_days=IGNORED_DAYS,
        now=visit.now,
    )


async def trusted(visit: PageVisit) -> Shown:
    """Recognize a partner by the certificate that was refused."""
    found = await _refusal(visit)
    sha256 = str(found.event.fields.get("certificate_sha256") or "")
    if found.key not in _TRUSTED or not sha256:
        raise _not_here(visit)
    typed = await typed_partner(visit, visit.form.one("partner"))
    if not typed.name:
        typed = attrs.evolve(typed, fault=visit.text("Type the partner's name."))
    if typed.fault:
        return await _page(visit, found, typed)
    name = typed.name
    wanted = partners.RuleAddition(name=name, rules=(CertificatePin(sha256=sha256),))
    return await _checked(
        visit,
        partners.add_rules,
        wanted,
        title=visit.text("Recognize %(name)s by this certificate?", name=name),
        done=visit.text("%(name)s is recognized by the certificate: its next call is let in.", name=name),
    )


async def code_added(visit: PageVisit) -> Shown:
    """Let a partner use the code that it gave."""
    found = await _refusal(visit)
    name = _partner(found)
    if found.key != Cause.IDENTITY_CODE or not found.code or name is None:
        raise _not_here(visit)
    entry = await _entry(visit, name)
    wanted = partners.PartnerAlteration(name=name, partner={"codes": (*entry.codes, found.code)})
    return await _checked(
        visit,
        partners.alter,
        wanted,
        title=visit.text("Let %(name)s use the code %(code)s?", name=name, code=found.code),
        done=visit.text("%(name)s may use the code: its next call is let in.", name=name),
    )


async def purpose_allowed(visit: PageVisit) -> Shown:
    """Take certificates for clients and servers from a partner, whoever calls."""
    found = await _refusal(visit)
    name = _partner(found) or visit.form.one("partner")
    if found.key != "certificate.wrong_purpose" or not name:
        raise _not_here(visit)
    wanted = partners.PartnerAlteration(name=name, partner={"purpose": Purpose.SERVER_AUTH})
    return await _checked(
        visit,
        partners.alter,
        wanted,
        title=visit.text("Take certificates for clients and servers from %(name)s?", name=name),
        done=visit.text("Certificates for clients and servers are taken from %(name)s.", name=name),
    )


async def list_approved(visit: PageVisit) -> Shown:
    """Download a CA's revocation list from an address that its certificates name."""
    found = await _refusal(visit)
    name, url = str(found.event.fields.get("ca") or ""), visit.form.one("url")
    if url not in await _unapproved(visit, name):
        raise _not_here(visit)
    return await _checked(
        visit,
        crl.approve,
        crl.Approval(ca=name, addresses=(url,)),
        title=visit.text("Download revocation lists of %(name)s from there?", name=name),
        done=visit.text("The address is approved: the list is downloaded within minutes."),
    )


async def ignored(visit: PageVisit) -> Shown:
    """Silence what this certificate causes, for some days."""
    found = await _refusal(visit)
    sha256 = str(found.event.fields.get("certificate_sha256") or "")
    days = next((each for each in IGNORED_DAYS if str(each) == visit.form.one("days")), None)
    if not sha256 or days is None:
        raise _not_here(visit)
    name = f"certificate {sha256[:_PINNED_DIGITS]}"
    # The same for everybody on this day: where two administrators have to want it, both make the same call.
    until = (visit.now + timedelta(days=days)).replace(hour=23, minute=59, second=59, microsecond=0)
    rule = {"text": sha256, "description": found.key, "valid_until": until}
    operation: Operation[Any, Any] = ignore.add
    wanted: object = ignore.IgnoreAddition(name=name, rule=rule)
    if any(each.rule.name == name for each in (await visit.call(ignore.listed, Nothing())).answer.items):
        operation, wanted = ignore.alter, ignore.IgnoreAlteration(name=name, rule={"valid_until": until})
    return await _checked(
        visit,
        operation,
        wanted,
        title=visit.text("Ignore this certificate for some days?"),
        done=visit.text("Events about this certificate start nothing until then. It stays refused."),
    )


async def _checked(visit: PageVisit, operation: Operation[Any, Any], wanted: Any, *, title: str, done: str) -> Shown:
    """Show what would be, and do it once that is confirmed."""
    if visit.confirmed:
        await visit.call(operation, wanted, Terms(comment=f"refusal {visit.named['number']}"))
        return visit.redirect("/refusals", done)
    foreseen = (await visit.rehearse(operation, wanted)).foreseen
    rows = await visit.rows(foreseen.differences)
    back = f"/refusals/{visit.named['number']}"
    return visit.confirmation(title, rows, refusals=foreseen.refusals, back=back)


async def _refusal(visit: PageVisit) -> KnownRefusal:
    number = visit.named["number"]
    if not number.isdecimal() or not number.isascii():
        raise _not_here(visit)
    found = (await visit.call(operations.explain, operations.RefusalWanted(what=number))).answer
    # As the list names it: of a certificate that nobody else issued, no CA is to be found out.
    return attrs.evolve(found, key=key_of(found.event.stored()))


async def _names(visit: PageVisit, subject: str) -> list[str]:
    """Partners to choose from: those with a certificate of the same subject first."""
    word = subject[:_WORD_MOST].strip()
    alike = []
    if word and word.isprintable():
        search = partner_views.PartnerSearch(word=word)
        alike = [each.name for each in (await visit.call(partner_views.search, search)).answer.items]
    every = (await visit.call(partner_views.names, Nothing())).answer.names
    return [*dict.fromkeys([*alike, *every])]


async def _unapproved(visit: PageVisit, name: str) -> list[str]:
    """The addresses of a CA's lists that its certificates name and that are not approved."""
    try:
        known = (await visit.call(cas.show, Named(name=name))).answer
    except BackendError:
        return []
    return [each for each in known.crl_urls if each not in known.ca.lists]


async def _entry(visit: PageVisit, name: str) -> Partner:
    return (await visit.call(partners.show, Named(name=name))).answer.partner


def _partner(found: KnownRefusal) -> str | None:
    name = found.event.fields.get("partner")
    return name if isinstance(name, str) and name else None


def _group(visit: PageVisit, group: KnownRefusals, likely: Mapping[str, str]) -> ShownGroup:
    fields = group.newest.fields
    whose = group.partner or likely.get(str(fields.get("certificate_sha256")))
    stopped = group.key.partition(".")[0] in ("certificate", "identity")
    advice = _advice(group.key, fields, outgoing=group.outgoing)
    return ShownGroup(
        group=group,
        title=_title(visit, group, fields, group.partner, whose),
        steps=() if advice is None else advice.steps,
        ways=_ways(visit, advice),
        titled=bool(title_of(group.key, outgoing=group.outgoing)),
        kind="" if whose is None else "bad" if stopped else "warn",
    )


def _advice(key: str, fields: Mapping[str, object], *, outgoing: bool) -> RefusalAdvice | None:
    ours = explanation(key, outgoing=outgoing).ours
    return advice_of(key, str(fields.get("cause", "")), ours=ours, outgoing=outgoing)


def _ways(visit: PageVisit, advice: RefusalAdvice | None) -> list[AdviceButton]:
    """The buttons of an advice that the user may use."""
    return [each for each in (advice.ways if advice else ()) if visit.reaches(each.place, posted=each.posted)]


def _title(
    visit: PageVisit,
    found: KnownRefusal | KnownRefusals,
    fields: Mapping[str, object],
    partner: str | None,
    whose: str | None,
) -> str:
    """What happened, in a sentence that begins with whom it happened to, or has it in it.

    :param whose: who it is by all appearances.
    """
    own, said = title_of(found.key, outgoing=found.outgoing), visit.backstage.renderer.said[visit.language]
    begins = not own or own.startswith("%(who)s")
    if whose is not None and partner is None:
        who = visit.text(_LIKELY[begins], name=whose)
    elif whose is not None:
        who = whose
    elif (named := _COMMON_NAME.search(str(fields.get("subject") or ""))) is not None:
        who = visit.text(_NAMED[begins], name=made_visible(named[1], _NAME_MOST))
    else:
        who = visit.text(_UNKNOWN[begins])
    return visit.text(own, who=who) if own else f"{who}: {said.plain(found.cause)}"


def _is_stranger(group: KnownRefusals) -> bool:
    return group.partner is None and group.key.partition(".")[0] in STRANGERS


def _not_here(visit: PageVisit) -> PageRefused:
    return PageRefused(
        404, visit.text("This is not there"), visit.text("Go back to the refusals: this one does not offer that.")
    )


ROUTES = (
    Route("GET", "/refusals", operations.listed, listed),
    Route("GET", "/refusals/<number>", operations.explain, shown),
    Route("POST", "/refusals/<number>/trust", partners.add_rules, trusted),
    Route("POST", "/refusals/<number>/code", partners.alter, code_added),
    Route("POST", "/refusals/<number>/purpose", partners.alter, purpose_allowed),
    Route("POST", "/refusals/<number>/list", crl.approve, list_approved),
    Route("POST", "/refusals/<number>/ignore", ignore.add, ignored),
)
