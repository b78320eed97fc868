"""The rules that silence events: their hits, and how to add, change and remove one.

What a rule would change and silence is shown first; it is done when the reader has seen that.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from smartproxy.backend.errors import BackendError, ChangedMeanwhile, NotFound, Unusable
from smartproxy.backend.operations import ignore
from smartproxy.backend.operations.ignore import IgnoreAddition, IgnoreAlteration, TriedRule
from smartproxy.backend.operations.operation import Operation
from smartproxy.backend.operations.performing import Terms, tag_of
from smartproxy.backend.operations.shapes import Named, Nothing
from smartproxy.backend.page.rendering import in_path
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.typed_times import as_typed, moment
from smartproxy.backend.page.visit import PageVisit
from smartproxy.backend.states import EntryKind
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.schema import read_object
from smartproxy.policy.strict_json import DocumentRefused

TIMES = {"valid_from": later("From (UTC)"), "valid_until": later("Until (UTC)")}
_FIELDS = {"text": later("Text"), "description": later("Description"), **TIMES}
_BESIDE = later("Something is missing or wrong; it stands beside its field. Nothing was changed.")
_ADDED = later("The rule is in force. Of the %(tried)s events of the last 7 days it would have silenced %(hits)s.")
_CHANGED = later("The rule is changed. Of the %(tried)s events of the last 7 days it would have silenced %(hits)s.")


async def listed(visit: PageVisit) -> Shown:
    """All rules, and the form for one more."""
    given = {"text": visit.argument("text"), "name": "", "description": "", "valid_from": "", "valid_until": ""}
    return await _page(visit, given)


async def added(visit: PageVisit) -> Shown:
    """Show what a new rule would do, and add it once that is confirmed."""
    try:
        wanted = IgnoreAddition(name=visit.form.one("name"), rule=_rule(visit))
        if not visit.confirmed:
            title = visit.text("Add the rule %(name)s?", name=wanted.name)
            return await _check(visit, ignore.add, wanted, visit.terms, "/ignore", title, visit.text("Add the rule"))
        done = (await visit.call(ignore.add, wanted, visit.terms)).answer
    except BackendError as error:
        return await _page(visit, _sent(visit), str(error))
    return _done(visit, _ADDED, done)


async def shown(visit: PageVisit) -> Shown:
    """The form of one rule."""
    return await _form(visit)


async def changed(visit: PageVisit) -> Shown:
    """Show what a change would do, and make it once that is confirmed, unless somebody else changed the rule."""
    name = visit.named["name"]
    try:
        wanted = IgnoreAlteration(name=name, rule=_rule(visit))
        if not visit.confirmed:
            title = visit.text("Change %(name)s?", name=name)
            done_by = visit.text("Make this change")
            return await _check(visit, ignore.alter, wanted, _terms(visit), f"/ignore/{in_path(name)}", title, done_by)
        done = (await visit.call(ignore.alter, wanted, _terms(visit))).answer
    except ChangedMeanwhile as meanwhile:
        if await _is_so(visit):
            return visit.redirect("/ignore", visit.text("It is so already."), "warn")
        return await _form(visit, _sent(visit), meanwhile=meanwhile)
    except BackendError as error:
        return await _form(visit, _sent(visit), str(error))
    return _done(visit, _CHANGED, done)


async def removed(visit: PageVisit) -> Shown:
    """Remove a rule, unless somebody else changed it since it was shown."""
    try:
        was = (await visit.call(ignore.remove, Named(name=visit.named["name"]), _terms(visit))).answer
    except ChangedMeanwhile as meanwhile:
        return await _form(visit, meanwhile=meanwhile)
    told = visit.text("The rule is removed. It silenced %(hits)s events.", hits=was.hits)
    return visit.redirect("/ignore", told)


async def _check(
    visit: PageVisit,
    operation: Operation[Any, TriedRule],
    wanted: IgnoreAddition | IgnoreAlteration,
    terms: Terms,
    action: str,
    title: str,
    confirm: str,
) -> Shown:
    """Show what a rule would change, and what it would have silenced lately.

    :raises BackendError: when it cannot be made.
    """
    rehearsed = await visit.rehearse(operation, wanted, terms)
    rows = await visit.rows(rehearsed.foreseen.differences, (EntryKind.IGNORE, wanted.name))
    trial = rehearsed.answer
    if not rows:
        return visit.redirect("/ignore", visit.text("Nothing was changed: it is as it was."), "warn")
    assert isinstance(trial, TriedRule)
    doubts = visit.doubts(trial.warnings)
    return visit.render(
        "ignore_check.html", rows=rows, trial=trial, doubts=doubts, action=action, title=title, confirm=confirm
    )


def _done(visit: PageVisit, text: str, done: TriedRule) -> bytes:
    """Tell what a rule would have silenced, and what lets one doubt it."""
    return visit.warned("/ignore", visit.text(text, tried=done.tried, hits=done.hits), done.warnings)


def _terms(visit: PageVisit) -> Terms:
    """A change counts for the rule as its reader has seen it."""
    seen = visit.form.one("seen")
    return attrs.evolve(visit.terms, seen=[seen] if seen else None)


async def _page(visit: PageVisit, given: Mapping[str, str], fault: str = "") -> Shown:
    found = (await visit.call(ignore.listed, Nothing())).answer.items
    faults = _faults(visit, given) if fault else {}
    return visit.render(
        "ignore.html",
        status=422 if fault else 200,
        rules=found,
        given=given,
        fault=visit.text(_BESIDE) if faults else fault,
        faults=faults,
        now=visit.now,
    )


async def _form(
    visit: PageVisit,
    given: Mapping[str, str] | None = None,
    fault: str = "",
    meanwhile: ChangedMeanwhile | None = None,
) -> Shown:
    done = await visit.call(ignore.listed, Nothing())
    name = visit.named["name"]
    found = next((each for each in done.answer.items if each.rule.name == name), None)
    if found is None:
        raise NotFound(visit.text("There is no ignore rule of this name; it may have been removed."))
    there = _given(found.rule)
    given = given or there
    faults = _faults(visit, {**given, "name": name}) if fault else {}
    return visit.render(
        "ignore_rule.html",
        status=409 if meanwhile else 422 if fault else 200,
        found=found,
        tag=tag_of(found.rule),
        given=given,
        fault=visit.text(_BESIDE) if faults else fault,
        faults=faults,
        meanwhile=meanwhile,
        others=[
            (visit.text(what), there[name] or None, given[name] or None)
            for name, what in _FIELDS.items()
            if there[name] != given[name]
        ],
    )


async def _is_so(visit: PageVisit) -> bool:
    """Whether the rule is as it was typed already."""
    found = (await visit.call(ignore.listed, Nothing())).answer.items
    typed = {name: text for name, text in _sent(visit).items() if name != "name"}
    return any(each.rule.name == visit.named["name"] and _given(each.rule) == typed for each in found)


def _given(rule: IgnoreRule) -> Mapping[str, str]:
    return {
        "text": rule.text,
        "description": rule.description or "",
        **{name: "" if (each := getattr(rule, name)) is None else as_typed(each) for name in TIMES},
    }


def _faults(visit: PageVisit, given: Mapping[str, str]) -> Mapping[str, str]:
    """What is wrong with what was typed, by the names of the fields."""
    found = {}
    entry = {"name": given["name"], "text": given["text"], "description": given["description"] or None}
    try:
        read_object(IgnoreRule, entry)
    except DocumentRefused as refused:
        found = {each.where.rpartition(".")[2]: each.message for each in (refused, *refused.others)}
    for name in TIMES:
        try:
            moment(visit, given[name])
        except Unusable as bad:
            found[name] = str(bad)
    return found


def _sent(visit: PageVisit) -> Mapping[str, str]:
    return {name: visit.form.one(name) for name in ("name", "text", "description", *TIMES)}


def _rule(visit: PageVisit) -> dict[str, object]:
    """The fields of a rule that were sent.

    :raises Unusable: when a time is none.
    """
    found: dict[str, object] = {
        "text": visit.form.one("text"),
        "description": visit.form.one("description") or None,
    }
    found |= {name: moment(visit, visit.form.one(name)) for name in TIMES}
    return found


ROUTES = (
    Route("GET", "/ignore", ignore.listed, listed),
    Route("POST", "/ignore", ignore.add, added),
    Route("GET", "/ignore/<name>", ignore.listed, shown),
    Route("POST", "/ignore/<name>", ignore.alter, changed),
    Route("POST", "/ignore/<name>/remove", ignore.remove, removed),
)
