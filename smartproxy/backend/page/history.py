"""The history: who changed what, when and why, what it made different, and a way back to any generation."""

from smartproxy.backend.errors import BackendError, ChangedMeanwhile
from smartproxy.backend.operations import history
from smartproxy.backend.operations.history import GenerationsWanted, GenerationWanted, PlannedRollBack, RollBackWanted
from smartproxy.backend.page.differences import KINDS
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.policy import limits

GENERATIONS_SHOWN = 50

WAYS = (later("command"), later("api"), later("page"), later("backend"))
"""How a change came in, by the channel's code."""


async def listed(visit: PageVisit) -> Shown:
    """The newest generations, or those before a number."""
    before = visit.argument("before")
    wanted = GenerationsWanted(before=_number(before), limit=GENERATIONS_SHOWN)
    part = (await visit.call(history.listed, wanted)).answer
    return visit.render("history.html", generations=part.items[::-1], next=part.next, newest=before == "")


async def shown(visit: PageVisit) -> Shown:
    """What one generation changed."""
    found = (await visit.call(history.show, GenerationWanted(number=_wanted(visit)))).answer
    (newest,) = (await visit.call(history.listed, GenerationsWanted(limit=1))).answer.items
    rows = await visit.rows(found.differences)
    return visit.render("generation.html", found=found.generation, rows=rows, newest=newest.number)


async def planned(visit: PageVisit) -> Shown:
    """What a roll-back would do."""
    return await _plan(visit)


async def rolled_back(visit: PageVisit) -> Shown:
    """Roll back, unless something was changed since the plan was looked at."""
    number, newest = _wanted(visit), _number(visit.form.one("newest"))
    if visit.form.one("typed") != str(number) or newest is None:
        return await _plan(visit, visit.text("Type the generation's number to confirm; nothing is changed."))
    wanted = RollBackWanted(number=number, newest=newest)
    try:
        done = (await visit.call(history.roll_back, wanted, visit.terms)).answer
    except ChangedMeanwhile as meanwhile:
        return await _plan(visit, meanwhile=meanwhile)
    except BackendError as error:
        return await _plan(visit, str(error))
    told = visit.text(
        "Generation %(new)s has the settings, CAs, partners and ignore rules of generation %(old)s.",
        new=done.generation,
        old=number,
    )
    return visit.redirect(f"/history/{done.generation}", told)


async def undone(visit: PageVisit) -> Shown:
    """Take a change back that was just made, and go to the list of what it was about: that is there in any case."""
    number = _wanted(visit)
    await visit.call(history.undo, GenerationWanted(number=number))
    told = visit.text("Undone: all is as it was in generation %(number)s.", number=number - 1)
    return visit.redirect("/" + visit.form.one("next").lstrip("/").partition("/")[0], told)


async def _plan(visit: PageVisit, fault: str = "", meanwhile: ChangedMeanwhile | None = None) -> Shown:
    plan: PlannedRollBack = (await visit.call(history.plan, GenerationWanted(number=_wanted(visit)))).answer
    kept = [
        (f"{visit.text(KINDS[each.difference.subject])} {each.difference.name}".rstrip(), each.why)
        for each in plan.kept
    ]
    return visit.render(
        "roll_back.html",
        status=409 if meanwhile else 422 if fault else 200,
        plan=plan,
        rows=await visit.rows(plan.differences),
        kept=kept,
        fault=fault,
        meanwhile=meanwhile,
        comment=visit.form.one("comment"),
    )


def _wanted(visit: PageVisit) -> int:
    """The generation that the path names.

    :raises PageRefused: when it is no number.
    """
    number = _number(visit.named["number"])
    if number is None:
        raise PageRefused(404, visit.text("This is not there"), visit.text("A generation has a number."))
    return number


def _number(text: str) -> int | None:
    """A generation's number, if it is one."""
    if not (text.isdecimal() and text.isascii() and len(text) < len(str(limits.GENERATION.most))):
        return None
    return int(text)


ROUTES = (
    Route("GET", "/history", history.listed, listed),
    Route("GET", "/history/<number>", history.show, shown),
    Route("GET", "/history/<number>/roll-back", history.plan, planned),
    Route("POST", "/history/<number>/roll-back", history.roll_back, rolled_back),
    Route("POST", "/history/<number>/undo", history.undo, undone),
)
