"""``smartproxy ignore``: rules that silence events which are known and harmless."""

from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from smartproxy.policy.alerts import IgnoreRule
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, end_of, moment, subject
from smartproxy.tap.commands.console import Console, WrongUse, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.ignore import KnownIgnoreRule, TriedRule

_ALWAYS = "always"
_EXAMPLES = """\
  smartproxy ignore add acme-test --text "certificate.refused ACME" --description "see 4711" --until 14d
  smartproxy ignore change acme-test --until 2026-12-31
  smartproxy ignore list"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "ignore", "rules that silence events which are known and harmless", _EXAMPLES)
    make = action(
        actions,
        "add",
        "Silence events of WARNING and above whose line has a text in it: they are stored and marked, and start "
        "neither event script nor mail. Bugs of the program, violations of the tunnel's protocol and what operators "
        "did cannot be silenced.",
        add,
        _EXAMPLES,
        changes=True,
        tried=True,
    )
    alter = action(
        actions, "change", "Change a rule; what is not given stays.", change, _EXAMPLES, changes=True, tried=True
    )
    for parser in (make, alter):
        parser.add_argument("name", metavar="NAME", help="what the rule is called")
        declared.add_arguments(parser, IgnoreRule, defaults=parser is make)
        _add_times(parser)
    action(actions, "list", "List the rules, with their hits.", show_all)
    action(actions, "remove", "Remove a rule.", remove, changes=True, tried=True).add_argument("name", metavar="NAME")


def _add_times(parser: ArgumentParser) -> None:
    parser.add_argument("--from", dest="valid_from", type=_begin, metavar="TIME", help="when it begins, or 'always'")
    parser.add_argument(
        "--until",
        dest="valid_until",
        type=_end,
        metavar="TIME",
        help="when it ends and removes itself: a date (its last second), a time (UTC), 12h, 14d, or 'always'",
    )


def _begin(text: str) -> Any:
    return text if text == _ALWAYS else moment(text)


def _end(text: str) -> Any:
    return text if text == _ALWAYS else end_of(text)


def add(console: Console) -> None:
    """Add a rule."""
    from smartproxy.backend.operations import ignore as operations

    values = _given(console)
    if "text" not in values:
        raise WrongUse("ignore add: --text is needed: what stands in the lines that are to be silenced")
    addition = operations.IgnoreAddition(name=console.arguments.name, rule=values)
    _tell(console, console.call(operations.add, addition))


def change(console: Console) -> None:
    """Change a rule."""
    from smartproxy.backend.operations import ignore as operations

    values = _given(console)
    if not values:
        raise WrongUse("ignore change: say what is to be changed, such as --until 14d")
    alteration = operations.IgnoreAlteration(name=console.arguments.name, rule=values)
    _tell(console, console.call(operations.alter, alteration))


def show_all(console: Console) -> None:
    """List rules."""
    from smartproxy.backend.operations import ignore as operations
    from smartproxy.backend.operations.shapes import Nothing

    found = console.call(operations.listed, Nothing()).items
    heads = (*declared.heads(IgnoreRule), "FROM", "UNTIL", "HITS", "LAST HIT", "EVENT")
    cells = [
        (
            *declared.cells(each.rule),
            when(each.rule.valid_from, _ALWAYS),
            when(each.rule.valid_until, _ALWAYS),
            each.hits,
            when(each.last_hit, "never"),
            each.last_event or "-",
        )
        for each in found
    ]
    console.answer([_document(each) for each in found], table(heads, cells, "there is no ignore rule"))


def remove(console: Console) -> None:
    """Remove a rule."""
    from smartproxy.backend.operations import ignore as operations
    from smartproxy.backend.operations.shapes import Named

    was = console.call(operations.remove, Named(name=console.arguments.name))
    console.answer(_document(was), f"ignore rule {was.rule.name} is removed; it silenced {was.hits} events")


def _given(console: Console) -> dict[str, Any]:
    wanted = console.arguments
    values = declared.given(wanted, IgnoreRule)
    for name in ("valid_from", "valid_until"):
        said = getattr(wanted, name)
        if said is not None:
            values[name] = None if said == _ALWAYS else said
    return values


def _tell(console: Console, done: "TriedRule") -> None:
    for warning in done.warnings:
        console.warn(warning)
    name, tried = done.rule.name, f"{done.tried} events of WARNING and above of the last 7 days"
    console.answer(
        {"name": name, "would_have_hit": done.hits, "of": done.tried},
        f"ignore rule {name} is in force; it would have silenced {done.hits} of the {tried}",
    )


def _document(state: "KnownIgnoreRule") -> dict[str, object]:
    return {
        **declared.document(state.rule),
        "hits": state.hits,
        "last_hit": state.last_hit,
        "last_event": state.last_event,
    }
