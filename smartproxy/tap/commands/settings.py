"""``smartproxy settings``: listeners, deadlines, limits, penalties, the station."""

import difflib

from smartproxy.backend.setting_values import BadSettingValue, value_of_text, value_text
from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.console import CommandFailed, Console, WrongUse, table

_EXAMPLES = """\
  smartproxy settings show server.deadlines
  smartproxy settings set server.listeners 0.0.0.0:6619,[::]:6620
  smartproxy settings set client.station.host 192.0.2.20
  smartproxy settings set server.penalties.exempt 127.0.0.0/8,192.0.2.0/24"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "settings", "listeners, deadlines, limits, penalties, the station", _EXAMPLES)
    look = action(actions, "show", "Show settings with their values; those that were set are marked.", show, _EXAMPLES)
    look.add_argument(
        "prefix", metavar="NAME", nargs="?", default="", help="a setting's name, or the beginning of names"
    )
    summary = "Set a setting; several are set together or not at all."
    put = action(actions, "set", summary, put_values, _EXAMPLES, changes=True, tried=True)
    put.add_argument("pairs", metavar="NAME VALUE", nargs="+", help="name and value; lists are separated by commas")
    back = action(actions, "reset", "Reset settings to their defaults.", reset, changes=True, tried=True)
    back.add_argument("names", metavar="NAME", nargs="+")


def show(console: Console) -> None:
    """Show settings."""
    from smartproxy.backend.operations import settings as operations

    wanted = operations.SettingsWanted(prefix=console.arguments.prefix or None)
    found = console.call(operations.show, wanted).items
    cells = [
        (each.name, value_text(each.value), "set" if each.is_set else "", value_text(each.default), each.range or "")
        for each in found
    ]
    console.answer(
        {each.name: {"value": each.value, "default": each.default, "set": each.is_set} for each in found},
        table(("NAME", "VALUE", "", "DEFAULT", "MAY BE"), cells, ""),
    )


def put_values(console: Console) -> None:
    """Set settings."""
    from smartproxy.backend import settings
    from smartproxy.backend.operations import settings as operations

    given = console.arguments.pairs
    if len(given) % 2:
        raise WrongUse("settings set: give a value after each name")
    pairs = dict(zip(given[::2], given[1::2], strict=True))
    try:
        values = {name: value_of_text(name, text, settings.default_of(name)) for name, text in pairs.items()}
    except BadSettingValue as bad:
        raise CommandFailed(str(bad)) from bad
    _see_operations(values.get(settings.FOUR_EYES))
    items = tuple(operations.SettingValue(name=name, value=value) for name, value in values.items())
    console.call(operations.put, operations.SettingValues(items=items))
    console.answer(values, "\n".join(f"{name} is {value_text(value)}" for name, value in values.items()))


def _see_operations(names: object) -> None:
    """See that these operations change something: another name would be without effect.

    :raises CommandFailed: with the first that does not.
    """
    from smartproxy.backend.operations.operation import Effect
    from smartproxy.backend.operations.registry import OPERATIONS

    known = {name for name, each in OPERATIONS.items() if each.effect is not Effect.READ}
    for name in names if isinstance(names, list) else ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; was {near[0]} meant?" if near else ""
            raise CommandFailed(f"backend.four_eyes: there is no operation {name!r} that changes anything{meant}")


def reset(console: Console) -> None:
    """Reset settings to their defaults."""
    from smartproxy.backend.operations import settings as operations

    done = console.call(operations.reset, operations.SettingNames(names=tuple(console.arguments.names)))
    values = {each.name: each.value for each in done.items}
    console.answer(values, "\n".join(f"{name} is {value_text(value)} again" for name, value in values.items()))
