"""``smartproxy ignore``: rules that silence events which are known and harmless."""

from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import NAME
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, end_of, moment, subject
from smartproxy.tap.commands.console import CommandFailed, Console, WrongUse, table, when

if TYPE_CHECKING:
    from smartproxy.backend.alerts.ignore_rules import IgnoreRuleState, IgnoreTrial

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
    )
    alter = action(actions, "change", "Change a rule; what is not given stays.", change, _EXAMPLES, changes=True)
    for parser in (make, alter):
        parser.add_argument("name", metavar="NAME", help="what the rule is called")
        declared.add_arguments(parser, IgnoreRule, defaults=parser is make)
        _add_times(parser)
    action(actions, "list", "List the rules, with their hits.", show_all)
    action(actions, "remove", "Remove a rule.", remove, changes=True).add_argument("name", metavar="NAME")


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
    from smartproxy.backend.alerts import ignore_rules

    name, values = console.arguments.name, _given(console)
    if "text" not in values:
        raise WrongUse("ignore add: --text is needed: what stands in the lines that are to be silenced")
    try:
        rule = IgnoreRule(name=NAME.read(name, "NAME"), **values)
    except DocumentRefused as refused:
        raise CommandFailed(str(refused)) from refused
    with console.changing(f"ignore add {name}") as changing:
        trial = ignore_rules.add(changing, rule)
    _tell(console, name, trial)


def change(console: Console) -> None:
    """Change a rule."""
    from smartproxy.backend.alerts import ignore_rules

    name, values = console.arguments.name, _given(console)
    if not values:
        raise WrongUse("ignore change: say what is to be changed, such as --until 14d")
    with console.changing(f"ignore change {name}") as changing:
        trial = ignore_rules.alter(changing, name, **values)
    _tell(console, name, trial)


def show_all(console: Console) -> None:
    """List rules."""
    from smartproxy.backend.alerts import ignore_rules

    with console.reading() as session:
        found = ignore_rules.listed(session)
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
    from smartproxy.backend.alerts import ignore_rules

    name = console.arguments.name
    with console.changing(f"ignore remove {name}") as changing:
        was = ignore_rules.remove(changing, name)
    console.answer(_document(was), f"ignore rule {name} is removed; it silenced {was.hits} events")


def _given(console: Console) -> dict[str, Any]:
    wanted = console.arguments
    values = declared.given(wanted, IgnoreRule)
    for name in ("valid_from", "valid_until"):
        said = getattr(wanted, name)
        if said is not None:
            values[name] = None if said == _ALWAYS else said
    return values


def _tell(console: Console, name: str, trial: "IgnoreTrial") -> None:
    tried = f"{trial.tried} events of WARNING and above of the last 7 days"
    console.answer(
        {"name": name, "would_have_hit": trial.hits, "of": trial.tried},
        f"ignore rule {name} is in force; it would have silenced {trial.hits} of the {tried}",
    )


def _document(state: "IgnoreRuleState") -> dict[str, object]:
    return {
        **declared.document(state.rule),
        "hits": state.hits,
        "last_hit": state.last_hit,
        "last_event": state.last_event,
    }
