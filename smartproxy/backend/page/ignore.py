"""The rules that silence events: their hits, and how to add, change and remove one."""

from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from smartproxy.backend.errors import BackendError, ChangedMeanwhile, NotFound
from smartproxy.backend.operations import alerts
from smartproxy.backend.operations.alerts import IgnoreAddition, IgnoreAlteration, TriedRule
from smartproxy.backend.operations.performing import Terms, tag_of
from smartproxy.backend.operations.shapes import Named, Nothing
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageVisit
from smartproxy.policy.alerts import IgnoreRule

TIMES = {"valid_from": later("From (UTC)"), "valid_until": later("Until (UTC)")}
_FIELDS = {"text": later("Text"), "description": later("Description"), **TIMES}
_ADDED = later("The rule is in force. Of the %(tried)s events of the last 7 days it would have silenced %(hits)s.")
_CHANGED = later("The rule is changed. Of the %(tried)s events of the last 7 days it would have silenced %(hits)s.")


async def listed(visit: PageVisit) -> Shown:
    """All rules, and the form for one more."""
    given = {"text": visit.argument("text"), "name": "", "description": "", "valid_from": "", "valid_until": ""}
    return await _page(visit, given)


async def added(visit: PageVisit) -> Shown:
    """Add a rule."""
    try:
        rule = _rule(visit)
        done = (
            await visit.call(alerts.add, IgnoreAddition(name=visit.form.one("name"), rule=rule), visit.terms)
        ).answer
    except (BackendError, ValueError) as error:
        return await _page(visit, _sent(visit), str(error))
    return _done(visit, _ADDED, done)


async def shown(visit: PageVisit) -> Shown:
    """The form of one rule."""
    return await _form(visit)


async def changed(visit: PageVisit) -> Shown:
    """Change a rule, unless somebody else did since it was shown."""
    name = visit.named["name"]
    try:
        done = (await visit.call(alerts.alter, IgnoreAlteration(name=name, rule=_rule(visit)), _terms(visit))).answer
    except ChangedMeanwhile as meanwhile:
        return await _form(visit, _sent(visit), meanwhile=meanwhile)
    except (BackendError, ValueError) as error:
        return await _form(visit, _sent(visit), str(error))
    return _done(visit, _CHANGED, done)


async def removed(visit: PageVisit) -> Shown:
    """Remove a rule, unless somebody else changed it since it was shown."""
    try:
        was = (await visit.call(alerts.remove, Named(name=visit.named["name"]), _terms(visit))).answer
    except ChangedMeanwhile as meanwhile:
        return await _form(visit, meanwhile=meanwhile)
    told = visit.text("The rule is removed. It silenced %(hits)s events.", hits=was.hits)
    return visit.redirect("/ignore", told)


def _done(visit: PageVisit, text: str, done: TriedRule) -> bytes:
    """Tell what a rule would have silenced, and what lets one doubt it."""
    saying = visit.backstage.renderer.said[visit.language]
    doubts = [f"{saying.plain(each)}." for each in done.warnings]
    told = visit.text(text, tried=done.tried, hits=done.hits)
    return visit.redirect("/ignore", " ".join([told, *doubts]), "warn" if doubts else "good")


def _terms(visit: PageVisit) -> Terms:
    """A change counts for the rule as its reader has seen it."""
    seen = visit.form.one("seen")
    return attrs.evolve(visit.terms, seen=[seen] if seen else None)


async def _page(visit: PageVisit, given: Mapping[str, str], fault: str = "") -> Shown:
    found = (await visit.call(alerts.listed, Nothing())).answer.items
    return visit.render(
        "ignore.html", status=422 if fault else 200, rules=found, given=given, fault=fault, now=visit.now
    )


async def _form(
    visit: PageVisit,
    given: Mapping[str, str] | None = None,
    fault: str = "",
    meanwhile: ChangedMeanwhile | None = None,
) -> Shown:
    done = await visit.call(alerts.listed, Nothing())
    name = visit.named["name"]
    found = next((each for each in done.answer.items if each.rule.name == name), None)
    if found is None:
        raise NotFound(visit.text("There is no ignore rule of this name; it may have been removed."))
    there = _given(found.rule)
    given = given or there
    return visit.render(
        "ignore_rule.html",
        status=409 if meanwhile else 422 if fault else 200,
        found=found,
        tag=tag_of(found.rule),
        given=given,
        fault=fault,
        meanwhile=meanwhile,
        others=[
            (visit.text(what), there[name] or None, given[name] or None)
            for name, what in _FIELDS.items()
            if there[name] != given[name]
        ],
    )


def _given(rule: IgnoreRule) -> Mapping[str, str]:
    return {
        "text": rule.text,
        "description": rule.description or "",
        **{name: "" if (each := getattr(rule, name)) is None else f"{each:%Y-%m-%dT%H:%M}" for name in TIMES},
    }


def _sent(visit: PageVisit) -> Mapping[str, str]:
    return {name: visit.form.one(name) for name in ("name", "text", "description", *TIMES)}


def _rule(visit: PageVisit) -> dict[str, object]:
    """The fields of a rule that were sent.

    :raises ValueError: when a time is none.
    """
    found: dict[str, object] = {
        "text": visit.form.one("text"),
        "description": visit.form.one("description") or None,
    }
    for name in TIMES:
        said = visit.form.one(name)
        try:
            found[name] = datetime.fromisoformat(said).replace(tzinfo=UTC) if said else None
        except ValueError:
            text = visit.text("%(text)s is no time; write one such as 2026-11-20T10:00 (UTC).", text=said)
            raise ValueError(text) from None
    return found


ROUTES = (
    Route("GET", "/ignore", alerts.listed, listed),
    Route("POST", "/ignore", alerts.add, added),
    Route("GET", "/ignore/<name>", alerts.listed, shown),
    Route("POST", "/ignore/<name>", alerts.alter, changed),
    Route("POST", "/ignore/<name>/remove", alerts.remove, removed),
)
