"""The settings: all of them, with default, range and what a change does; a change is shown before it is made."""

import attrs

from smartproxy.backend.errors import BackendError, ChangedMeanwhile
from smartproxy.backend.operations import settings
from smartproxy.backend.operations.performing import Rehearsed
from smartproxy.backend.operations.settings import (
    KnownSetting,
    SettingNames,
    SettingsWanted,
    SettingValue,
    SettingValues,
)
from smartproxy.backend.operations.shapes import Foreseen
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.setting_texts import BLOCKS, SettingBlock, block_of, text_of
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageVisit
from smartproxy.backend.setting_values import BadSettingValue, value_of_text, value_text


@attrs.frozen(kw_only=True)
class ShownSetting:
    """A setting as the page shows it.

    :ivar text: what it is, in the reader's language.
    :ivar value: what it is now, as it is written.
    :ivar told: the same, in the reader's language.
    :ivar choices: what it can be, where that is a few words.
    """

    name: str
    text: str
    value: str
    told: str
    default: str
    is_set: bool
    range: str
    choices: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ShownBlock:
    """Settings that belong together, as the page shows them."""

    block: SettingBlock
    settings: tuple[ShownSetting, ...]


async def listed(visit: PageVisit) -> Shown:
    """All settings, or those that were looked for."""
    known = (await visit.call(settings.show, SettingsWanted())).answer.items
    found = [_shown(visit, each) for each in known if block_of(each.name) is not None]
    words, only_set = visit.argument("q").casefold().split(), visit.argument("set") == "1"
    found = [
        each
        for each in found
        if (each.is_set or not only_set)
        and all(word in f"{each.name} {each.text} {each.value} {each.range}".casefold() for word in words)
    ]
    blocks = [
        ShownBlock(block=block, settings=tuple(each for each in found if block.holds(each.name))) for block in BLOCKS
    ]
    return visit.render(
        "settings.html",
        blocks=[each for each in blocks if each.settings],
        changed=sum(each.is_set for each in known),
        count=len(found),
        only_set=only_set,
    )


async def shown(visit: PageVisit) -> Shown:
    """The form of one setting."""
    return await _form(visit)


async def changed(visit: PageVisit) -> Shown:
    """Show what a change would do; with ``sure``, make it."""
    name, text = visit.named["name"], visit.form.one("value")
    try:
        default = (await _known(visit))[0].default
        value = value_of_text(name, text, default)
    except BadSettingValue as bad:
        return await _form(visit, text=text, fault=str(bad))
    wanted = SettingValues(items=(SettingValue(name=name, value=value),))
    try:
        return await _carry_out(visit, text, value, wanted=wanted)
    except ChangedMeanwhile as meanwhile:
        if (await _known(visit))[0].value == value:
            return visit.redirect("/settings", visit.text("It is so already."), "warn")
        return await _form(visit, text=text, meanwhile=meanwhile)
    except BackendError as error:
        return await _form(visit, text=text, fault=str(error))


async def reset(visit: PageVisit) -> Shown:
    """Show what the default would do; with ``sure``, have it again."""
    name = visit.named["name"]
    try:
        default = (await _known(visit))[0].default
        return await _carry_out(visit, value_text(default), default, names=SettingNames(names=(name,)))
    except ChangedMeanwhile as meanwhile:
        if not (await _known(visit))[0].is_set:
            return visit.redirect("/settings", visit.text("It is so already."), "warn")
        return await _form(visit, meanwhile=meanwhile)
    except BackendError as error:
        return await _form(visit, fault=str(error))


async def _carry_out(
    visit: PageVisit,
    text: str,
    value: object,
    wanted: SettingValues | None = None,
    names: SettingNames | None = None,
) -> Shown:
    """Change the setting if its reader is sure, and show what would change if not.

    :raises BackendError: when it cannot be changed.
    """
    name, sure = visit.named["name"], visit.form.checked("sure")
    seen = visit.form.one("seen")
    terms = attrs.evolve(visit.terms, seen=[seen] if seen else None, dry_run=not sure)
    try:
        if wanted is not None:
            await visit.call(settings.put, wanted, terms)
        elif names is not None:
            await visit.call(settings.reset, names, terms)
    except Rehearsed as rehearsed:
        return await _form(visit, text=text, foreseen=rehearsed.foreseen, after=told_value(visit, value))
    told = visit.text("%(name)s is %(value)s from now on.", name=name, value=told_value(visit, value))
    return visit.redirect("/settings", told)


async def _known(visit: PageVisit) -> tuple[KnownSetting, str]:
    """The setting that the path names, and the tag of the settings."""
    done = await visit.call(settings.show, SettingsWanted(prefix=visit.named["name"]))
    return done.answer.items[0], done.tag or ""


async def _form(
    visit: PageVisit,
    text: str | None = None,
    fault: str = "",
    foreseen: Foreseen | None = None,
    after: str = "",
    meanwhile: ChangedMeanwhile | None = None,
) -> Shown:
    known, tag = await _known(visit)
    block = block_of(known.name)
    found = _shown(visit, known)
    return visit.render(
        "setting.html",
        status=409 if meanwhile else 422 if fault else 200,
        found=found,
        choices=[(each, each) for each in found.choices],
        block=block,
        value=found.value if text is None and known.value is not None else text or "",
        fault=fault,
        meanwhile=meanwhile,
        foreseen=foreseen,
        after=after,
        tag=tag,
        back=visit.form.checked("reset"),
        comment=visit.form.one("comment"),
    )


_WORDS = {value_text(each): text for each, text in ((True, later("yes")), (False, later("no")))}
_WORDS |= {value_text(None): later("not set"), value_text([]): later("none")}


def told_value(visit: PageVisit, value: object) -> str:
    """A value for readers: what is a word of ours is in their language."""
    text = value_text(value)
    return visit.text(_WORDS[text]) if value is None or isinstance(value, bool) or value == [] else text


def _shown(visit: PageVisit, known: KnownSetting) -> ShownSetting:
    words = known.range or ""
    is_number = isinstance(known.default, int) and not isinstance(known.default, bool)
    choices: tuple[str, ...] = ("yes", "no") if isinstance(known.default, bool) else ()
    if words and not is_number and "," in words:
        choices = tuple(each.strip() for each in words.split(","))
    text = text_of(known.name)
    return ShownSetting(
        name=known.name,
        text=visit.text(text) if text else "",
        value=value_text(known.value),
        told=told_value(visit, known.value),
        default=told_value(visit, known.default),
        is_set=known.is_set,
        range=words,
        choices=choices,
    )


ROUTES = (
    Route("GET", "/settings", settings.show, listed),
    Route("GET", "/settings/<name>", settings.show, shown),
    Route("POST", "/settings/<name>", settings.put, changed),
    Route("POST", "/settings/<name>/reset", settings.reset, reset),
)
