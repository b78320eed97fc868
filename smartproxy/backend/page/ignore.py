"""The rules that silence events: their hits, and how to add, change and remove one."""

from collections.abc import Mapping
from datetime import UTC, datetime

from smartproxy.backend.errors import BackendError, NotFound
from smartproxy.backend.operations import alerts
from smartproxy.backend.operations.alerts import IgnoreAddition, IgnoreAlteration
from smartproxy.backend.operations.shapes import Named, Nothing
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.visit import PageVisit
from smartproxy.policy.alerts import IgnoreRule

TIMES = ("valid_from", "valid_until")


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
    told = visit.text(
        "The rule is in force. Of the %(tried)s events of the last 7 days it would have silenced %(hits)s.",
        tried=done.tried,
        hits=done.hits,
    )
    return visit.redirect("/ignore", told)


async def shown(visit: PageVisit) -> Shown:
    """The form of one rule."""
    return await _form(visit)


async def changed(visit: PageVisit) -> Shown:
    """Change a rule."""
    name = visit.named["name"]
    try:
        done = (await visit.call(alerts.alter, IgnoreAlteration(name=name, rule=_rule(visit)), visit.terms)).answer
    except (BackendError, ValueError) as error:
        return await _form(visit, _sent(visit), str(error))
    told = visit.text(
        "The rule is changed. Of the %(tried)s events of the last 7 days it would have silenced %(hits)s.",
        tried=done.tried,
        hits=done.hits,
    )
    return visit.redirect("/ignore", told)


async def removed(visit: PageVisit) -> Shown:
    """Remove a rule."""
    was = (await visit.call(alerts.remove, Named(name=visit.named["name"]))).answer
    told = visit.text("The rule is removed. It silenced %(hits)s events.", hits=was.hits)
    return visit.redirect("/ignore", told)


async def _page(visit: PageVisit, given: Mapping[str, str], fault: str = "") -> Shown:
    found = (await visit.call(alerts.listed, Nothing())).answer.items
    return visit.render(
        "ignore.html", status=422 if fault else 200, rules=found, given=given, fault=fault, now=visit.now
    )


async def _form(visit: PageVisit, given: Mapping[str, str] | None = None, fault: str = "") -> Shown:
    done = await visit.call(alerts.listed, Nothing())
    name = visit.named["name"]
    found = next((each for each in done.answer.items if each.rule.name == name), None)
    if found is None:
        raise NotFound(visit.text("There is no ignore rule of this name; it may have been removed."))
    return visit.render(
        "ignore_rule.html", status=422 if fault else 200, found=found, given=given or _given(found.rule), fault=fault
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
