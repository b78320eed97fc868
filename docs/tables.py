"""A Sphinx extension: the tables of the documents, made from the program's own.

``.. table-of:: NAME`` puts in place what :data:`TABLES` makes under that name, so that no page can say something else
than the code does.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import rooms
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import smartproxy
from smartproxy.logs.catalogue import ALWAYS, EVENTS, EventType
from smartproxy.logs.fields import FIELDS
from smartproxy.logs.levels import heading, subject
from smartproxy.oftp2 import errors, grammars, states
from smartproxy.oftp2.commands import COMMANDS, Command
from smartproxy.oftp2.errors import ANOMALIES, EsidReason, SessionFault
from smartproxy.oftp2.fields import Field, Rule
from smartproxy.oftp2.roles import Level
from smartproxy.oftp2.states import TABLE, Transition
from smartproxy.oftp2.witness import Party, State
from smartproxy.policy import faults, limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES
from smartproxy.policy.explanations import EXPLANATIONS

Row = Sequence[str]

_LEVELS = (Level.OFTP_1_2, Level.OFTP_1_4, Level.OFTP_2_0)
_LEVEL_TITLES = {Level.OFTP_1_2: "levels 1, 2", Level.OFTP_1_4: "level 4", Level.OFTP_2_0: "level 5"}


def text(words: str) -> str:
    """Put plain text into reStructuredText; names and values in single or double backquotes are literal."""
    parts = re.split(r"(`+[^`]+`+)", words)
    return "".join(
        literal(part.strip("`")) if part.startswith("`") else re.sub(r"([\\*`|_])", r"\\\1", part) for part in parts
    )


def literal(words: str) -> str:
    """Show a name or a value."""
    return f"``{words}``" if words else ""


def section(title: str, mark: str) -> Iterator[str]:
    """A heading."""
    yield from ("", title, mark * len(title), "")


def table(titles: Row, rows: Iterable[Row], widths: Sequence[int]) -> Iterator[str]:
    """A table."""
    yield from ("", ".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", "")
    for row in (titles, *rows):
        for index, cell in enumerate(row):
            yield f"   {'*' if index == 0 else ' '} - {cell}"
    yield ""


def first_line(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def commands() -> Iterator[str]:
    """The 18 commands, every field at every release level."""
    for command in COMMANDS:
        yield from section(f"{command.NAME} ({command.OCTET.decode()})", "-")
        yield f"{text(first_line(command))} RFC 5024 section {command.SECTION}."
        levels = [level for level in _LEVELS if level in command.LAYOUTS]
        titles = ["field", *(_LEVEL_TITLES[level] for level in levels), "may be"]
        widths = [12, *(12 for _ in levels), 64 - 12 * len(levels) + 24]
        yield from table(titles, _fields(command, levels), widths)


def _fields(command: type[Command], levels: Sequence[Level]) -> Iterator[Row]:
    layouts = {level: {field.name: field for field in command.LAYOUTS[level].fields} for level in levels}
    names = dict.fromkeys(name for level in reversed(levels) for name in layouts[level])
    for name in names:
        fields = {level: layouts[level].get(name) for level in levels}
        newest = next(field for level in reversed(levels) if (field := fields[level]) is not None)
        yield [literal(name), *(_place(fields[level]) for level in levels), _allowed(newest)]


def _place(field: Field | None) -> str:
    if field is None:
        return "\u2013"
    return f"{'behind' if field.position is None else field.position}: {field.describe()}"


def _allowed(field: Field) -> str:
    words = _rule(field.rule)
    if field.counts:
        words = f"octets in the field behind it; {words}"
    return words + ("; never shown" if field.secret else "")


def _rule(rule: Rule) -> str:
    words = _grammar(rule.grammar)
    if rule.tolerated is not None and rule.anomaly is not None:
        words += f"; default profile: {_grammar(rule.tolerated)} (:ref:`{rule.anomaly} <anomaly-{rule.anomaly}>`)"
    return words


def _grammar(grammar: grammars.Grammar) -> str:
    match grammar:
        case grammars.Values(allowed=allowed):
            return ", ".join(_value(value) for value in sorted(allowed))
        case grammars.Decimal(ranges=ranges) | grammars.Binary(ranges=ranges):
            return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in ranges)
    return text(first_line(type(grammar)).removesuffix("."))


def _value(value: bytes) -> str:
    if not value.strip(b" "):
        return "blank"
    shown = value.decode("latin-1")
    return literal(shown.rstrip(" ")) if shown.isprintable() and value.isascii() else literal(value.hex().upper() + "h")


def witness() -> Iterator[str]:
    """The witness table, a table for each state."""
    by_state: dict[State, list[tuple[Party, str, Transition]]] = {state: [] for state in State}
    for (state, party, command), step in TABLE.items():
        by_state[state].append((party, command, step))
    for state, steps in by_state.items():
        yield from section(state.name, "-")
        yield f"{text(state.value[0].upper() + state.value[1:])}."
        if not steps:
            yield from ("", "Nothing is allowed; octets that were under way are dropped.", "")
            continue
        rows = [
            [party.name.capitalize(), literal(command), _next(step), _guards(step), text(step.rfc)]
            for party, command, step in steps
        ]
        yield from table(["who", "sends", "leads to", "if", "RFC 5024"], rows, [12, 10, 30, 28, 20])


def _next(step: Transition) -> str:
    if step.instead is None:
        return literal(step.next.name)
    condition, other = step.instead
    return f"{literal(step.next.name)}; {literal(other.name)} if {text(condition.__name__.replace('_', ' '))}"


def _guards(step: Transition) -> str:
    return ", ".join(f":ref:`{guard.name} <guard-{guard.name}>`" for guard in step.guards)


def conditions() -> Iterator[str]:
    """The conditions that steps of the witness table have."""
    found = [thing for thing in vars(states).values() if isinstance(thing, states.Guard | states.FieldGuard)]
    for guard in sorted(found, key=lambda guard: guard.name):
        yield from ("", f".. _guard-{guard.name}:", "", f"{literal(guard.name)} (RFC 5024 {text(guard.predicate)})")
        yield f"   {text(guard.meaning)}"


def anomalies() -> Iterator[str]:
    """The tolerated departures."""
    for number, words in ANOMALIES.items():
        yield from ("", f".. _anomaly-{number}:", "", f"{number}", f"   {text(words[0].upper() + words[1:])}.")


def reasons() -> Iterator[str]:
    """The errors that end a session, and the reason code that the offender is told."""
    rows = [
        [literal(fault.__name__), f"{fault.reason:02d}", text(fault.reason.phrase), text(first_line(fault))]
        for fault in _faults(SessionFault)
    ]
    yield from table(["error", "ESID", "text sent", "meaning"], rows, [20, 8, 32, 40])


def _faults(fault: type[SessionFault]) -> Iterator[type[SessionFault]]:
    for child in fault.__subclasses__():
        if child.__module__ in (errors.__name__, faults.__name__):
            yield child
            yield from _faults(child)


def esid_reasons() -> Iterator[str]:
    """The ESID reason codes."""
    rows = [[f"{reason:02d}", text(reason.phrase) or "\u2013"] for reason in EsidReason]
    yield from table(["code", "text sent"], rows, [10, 90])


def events() -> Iterator[str]:
    """The event catalogue."""
    for group, entries in groupby(EVENTS.values(), key=lambda event: event.group):
        yield from section(group, "-")
        for event in entries:
            yield from _event(event)


def _event(event: EventType) -> Iterator[str]:
    yield from ("", f".. _event-{event.name}:", "")
    yield f"{literal(event.name)} \u2013 {event.level.label} \u2013 {event.audience.value}"
    yield f"   {text(event.doc)}"
    yield ""
    required = [literal(name) for name in event.fields if name in event.required]
    optional = [literal(name) for name in event.fields if name not in event.required and name not in ALWAYS]
    if required:
        yield f"   Always: {', '.join(required)}."
    if optional:
        yield f"   Optional: {', '.join(optional)}."


def log_categories() -> Iterator[str]:
    """The categories of the log: headings of the catalogue with their subjects."""
    rows = []
    for group, entries in groupby(EVENTS.values(), key=lambda event: event.group):
        found = list(entries)
        subjects = dict.fromkeys(subject(event.name) for event in found)
        rows.append([literal(heading(found[0].name)), ", ".join(map(literal, subjects)), text(group)])
    yield from table(["heading", "its subjects", "in the catalogue"], rows, [24, 52, 24])


def fields() -> Iterator[str]:
    """The fields of events."""
    rows = [[literal(field.name), field.kind.value, text(field.doc)] for _, field in sorted(FIELDS.items())]
    yield from table(["field", "type", "meaning"], rows, [22, 14, 64])


def causes() -> Iterator[str]:
    """The causes that events name, in the order of their subjects."""
    rows = [[literal(cause.value), text(cause.meaning)] for cause in sorted(Cause)]
    yield from table(["cause", "meaning"], rows, [34, 66])


def settings() -> Iterator[str]:
    """The numbers that a configuration may set."""
    rows = [
        [literal(name.lower()), str(limit.default), f"{limit.least} to {limit.most}", limit.unit, text(meaning)]
        for name, limit, meaning in _documented()
    ]
    yield from table(["name", "default", "may be", "unit", "meaning"], rows, [24, 10, 16, 12, 38])


def _documented() -> Iterator[tuple[str, limits.Limit, str]]:
    """The limits of the module with the comments that stand before them."""
    source = inspect.getsource(limits)
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        value = getattr(limits, node.target.id)
        if isinstance(value, limits.Limit):
            comments: list[str] = []
            index = node.lineno - 2
            while lines[index].startswith("#:"):
                comments.insert(0, lines[index].removeprefix("#:").strip())
                index -= 1
            yield node.target.id, value, " ".join(comments)


def certificate_refusals() -> Iterator[str]:
    """Why a certificate is refused, and what to do."""
    rows = []
    for cause, row in CERTIFICATE_CAUSES.items():
        rows.append([literal(cause.value), text(row.message), text(row.advice)])
    yield from table(["cause", "meaning", "what to do"], rows, [20, 36, 44])


def explanations() -> Iterator[str]:
    """What partners are told."""
    rows = [[literal(key), text(words.happened), text(words.remedy)] for key, words in EXPLANATIONS.items()]
    yield from table(["cause", "what the partner is told", "what it has to do"], rows, [22, 38, 40])


def layers() -> Iterator[str]:
    """The packages with their layers, as their own docstrings describe them."""
    layer = rooms.layers()
    rows = []
    for package in pkgutil.iter_modules(smartproxy.__path__):
        if package.ispkg:
            words = inspect.getdoc(importlib.import_module(f"smartproxy.{package.name}")) or ""
            duty = " ".join(re.sub(r"^Layer \d: ", "", words).partition("\n\n")[0].split())
            rows.append([literal(package.name), str(layer[package.name]), text(duty[:1].upper() + duty[1:])])
    yield from table(["package", "layer", "duty"], sorted(rows, key=lambda row: row[1]), [14, 8, 78])


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "anomalies": anomalies,
    "causes": causes,
    "certificate-refusals": certificate_refusals,
    "commands": commands,
    "conditions": conditions,
    "esid-reasons": esid_reasons,
    "events": events,
    "explanations": explanations,
    "fields": fields,
    "layers": layers,
    "log-categories": log_categories,
    "reasons": reasons,
    "settings": settings,
    "witness": witness,
}


class TableOf(SphinxDirective):
    """``.. table-of:: NAME``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        lines = "\n".join(TABLES[self.arguments[0]]())
        return self.parse_text_to_nodes(lines, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx about the directive."""
    app.add_directive("table-of", TableOf)
    return {"parallel_read_safe": True}
