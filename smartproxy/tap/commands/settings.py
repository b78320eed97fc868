"""``smartproxy settings``: listeners, deadlines, limits, penalties, the station."""

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
        "prefix",
        metavar="NAME",
        nargs="?",
        default="",
        help="a setting's name, or the first words of names: server.deadlines",
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
    try:
        items = tuple(
            operations.SettingValue(name=name, value=value_of_text(name, text, settings.default_of(name)))
            for name, text in zip(given[::2], given[1::2], strict=True)
        )
    except BadSettingValue as bad:
        raise CommandFailed(str(bad)) from bad
    console.call(operations.put, operations.SettingValues(items=items))
    values = {each.name: each.value for each in items}
    console.answer(values, "\n".join(f"{name} is {value_text(value)}" for name, value in values.items()))


def reset(console: Console) -> None:
    """Reset settings to their defaults."""
    from smartproxy.backend.operations import settings as operations

    done = console.call(operations.reset, operations.SettingNames(names=tuple(console.arguments.names)))
    values = {each.name: each.value for each in done.items}
    console.answer(values, "\n".join(f"{name} is {value_text(value)} again" for name, value in values.items()))
