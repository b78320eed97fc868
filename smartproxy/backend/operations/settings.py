"""Operations on the settings: listeners, deadlines, limits, penalties, the station."""

import difflib
import json
from collections import Counter
from collections.abc import Iterable

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import settings
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations.operation import Effect, Family, Transaction, every_operation
from smartproxy.backend.operations.shapes import AnyJson
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, Flag, Lines

_NAMES_MOST = 1000
_TEXT = Lines(most=1000)


@attrs.frozen(kw_only=True)
class SettingValue:
    """A setting and its value.

    :ivar name: its dotted name.
    """

    name: str = attrs.field(metadata=kind(NAME))
    value: object = attrs.field(metadata=kind(AnyJson()))


@attrs.frozen(kw_only=True)
class SettingValues:
    """Settings and their values."""

    items: tuple[SettingValue, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(SettingValue), least=1, most=_NAMES_MOST))
    )

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return " ".join(f"{each.name} {_word(each.value)}" for each in self.items)


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _state(session: Session, name: str) -> SettingValues:
    found = [each for each in settings.listed(session) if each.is_set]
    return SettingValues(items=tuple(SettingValue(name=each.name, value=each.value) for each in found))


SETTINGS = Family("settings", "settings", key="", state=_state)


@attrs.frozen(kw_only=True)
class SettingsWanted:
    """Which settings.

    :ivar prefix: a name, or the beginning of names; ``None`` for all.
    """

    prefix: str | None = attrs.field(
        default=None,
        metadata=kind(Optional(NAME), people=ForPeople(help="a setting's name, or the beginning of names")),
    )


@attrs.frozen(kw_only=True)
class SettingNames:
    """Which settings, each by its whole name."""

    names: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=NAME, least=1, most=_NAMES_MOST)))

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return " ".join(self.names)


@attrs.frozen(kw_only=True)
class KnownSetting:
    """A setting.

    :ivar set: whether it was set, and is not the default only because nobody did.
    :ivar range: what it may be, in words.
    :ivar unit: what its number counts.
    """

    name: str = attrs.field(metadata=kind(NAME))
    value: object = attrs.field(metadata=kind(AnyJson()))
    default: object = attrs.field(metadata=kind(AnyJson()))
    is_set: bool = attrs.field(metadata=kind(Flag(), key="set"))
    range: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    unit: str | None = attrs.field(metadata=kind(Optional(_TEXT)))


@attrs.frozen(kw_only=True)
class KnownSettings:
    """Settings, in the order of the document."""

    items: tuple[KnownSetting, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownSetting))))


@SETTINGS.reading("show", "Show settings with their values, and which of them were set.", path="GET ")
def show(look: Transaction, wanted: SettingsWanted) -> KnownSettings:
    """The settings whose names begin so."""
    return KnownSettings(
        items=tuple(
            KnownSetting(**attrs.asdict(each, recurse=False))
            for each in settings.listed(look.session, wanted.prefix or "")
        )
    )


@SETTINGS.changing("set", "Set settings, together or not at all.", path="PATCH ")
def put(change: Change, wanted: SettingValues) -> SettingValues:
    """Set them; what a value may be is judged with the whole configuration.

    :raises ChangeRefused: where one is named twice, or operations are named that there are not.
    :raises NotFound: where there is none of this name, or it would have no effect.
    """
    _see_once(each.name for each in wanted.items)
    for each in wanted.items:
        settings.see_used(each.name)
        if each.name == settings.FOUR_EYES:
            _see_operations(each.value)
    for each in wanted.items:
        settings.put(change, each.name, each.value)
    return wanted


@SETTINGS.changing("reset", "Reset settings to their defaults.", path="POST :reset")
def reset(change: Change, wanted: SettingNames) -> SettingValues:
    """Reset them; the answer has the defaults.

    :raises ChangeRefused: where one is named twice.
    """
    _see_once(wanted.names)
    for name in wanted.names:
        settings.reset(change, name)
    defaults = {name: settings.default_of(name) for name in wanted.names}
    return SettingValues(items=tuple(SettingValue(name=name, value=value) for name, value in defaults.items()))


def _see_once(names: Iterable[str]) -> None:
    """See that each setting is named once: of two values one would be lost without a word.

    :raises ChangeRefused: with the first that is not.
    """
    name, times = max(Counter(names).items(), key=lambda each: each[1])
    if times > 1:
        raise ChangeRefused(f"{name} is named {times} times; name each setting once")


def _see_operations(names: object) -> None:
    """See that these operations change something: another name would be without effect.

    What is no name of an operation at all is refused as every wrong value is.

    :raises ChangeRefused: with the first that does not.
    """
    known = {name for name, each in every_operation().items() if each.effect is not Effect.READ}
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; was {near[0]} meant?" if near else ""
            raise ChangeRefused(f"{settings.FOUR_EYES}: there is no operation {name!r} that changes anything{meant}")
