"""Every event that the source emits stands in the catalogue, in the form in which it is emitted."""

import ast
import re
from collections.abc import Iterator, Mapping

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.catalogue import EVENTS, EventType
from smartproxy.logs.event_types import Emitter
from smartproxy.logs.fields import CODE
from tests.source import Module, modules, outermost_name, parse
from tests.test_layers import reachable

NAME = re.compile(r"^[a-z_]+\.[a-z_]+$")
EMITTING = re.compile(r"(emit|report)$", re.IGNORECASE)


def wrong_calls(everything: Mapping[str, Module]) -> list[str]:
    """Find calls of ``emit``, ``Report`` and their like whose literal name or fields the catalogue does not know."""
    wrong = []
    for module in everything.values():
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(args=[ast.Constant(value=str(name)), *rest]) if NAME.match(name) and EMITTING.search(
                    outermost_name(node.func)
                ):
                    wrong += [f"{module.at(node)} {problem}" for problem in _problems(name, node, rest)]
    return wrong


def _problems(name: str, call: ast.Call, rest: list[ast.expr]) -> list[str]:
    if name not in EVENTS:
        return [f"no event is named {name}"]
    event = EVENTS[name]
    fields = [keyword.arg for keyword in call.keywords]
    for argument in rest:
        if isinstance(argument, ast.Dict):
            fields += [str(key.value) if isinstance(key, ast.Constant) else None for key in argument.keys]
    known = {field for field in fields if field is not None}
    problems = [f"{name} has no field {field}" for field in sorted(known - event.fields.keys())]
    positional = any(not isinstance(argument, ast.Dict) for argument in rest)
    if None not in fields and not positional:
        problems += [f"{name} lacks {field}" for field in sorted(event.required - known)]
    return problems


def calls(everything: Mapping[str, Module]) -> Iterator[tuple[Module, ast.Call, EventType, dict[str, ast.expr], bool]]:
    """Find calls that emit an event of the catalogue: its fields as far as they can be read, and whether all can."""
    for module in everything.values():
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(args=[ast.Constant(value=str(name)), *rest]) if name in EVENTS and EMITTING.search(
                    outermost_name(node.func)
                ):
                    pass
                case _:
                    continue
            fields: dict[str | None, ast.expr] = {keyword.arg: keyword.value for keyword in node.keywords}
            whole = True
            for argument in rest:
                if isinstance(argument, ast.Dict):
                    for key, value in zip(argument.keys, argument.values, strict=True):
                        fields[str(key.value) if isinstance(key, ast.Constant) else None] = value
                else:
                    whole = False
            whole = whole and None not in fields
            yield module, node, EVENTS[name], {key: value for key, value in fields.items() if key is not None}, whole


def sentence_causes(everything: Mapping[str, Module]) -> list[str]:
    """Find events whose cause is a sentence, or that have a cause and no message."""
    wrong = []
    for module, node, event, fields, whole in calls(everything):
        match fields.get("cause"):
            case None:
                continue
            case ast.Constant(value=str(text)) if CODE.fullmatch(text) is None:
                wrong.append(f"{module.at(node)} {event.name}: the cause is the sentence {text!r}")
            case ast.JoinedStr() | ast.Call(func=ast.Name(id="str")):
                wrong.append(f"{module.at(node)} {event.name}: the cause is words that are made up")
            case _ if whole and "message" not in fields:
                wrong.append(f"{module.at(node)} {event.name}: there is a cause and no message")
    return wrong


DECLARING = {f"smartproxy.logs.{name}" for name in ("catalogue", "backend_events", "session_events", "site_events")}


def named_events(everything: Mapping[str, Module]) -> set[str]:
    """Find every string in the source that is the name of an event."""
    return {
        node.value
        for module in everything.values()
        if module.name not in DECLARING
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in EVENTS
    }


ROOTS = {
    Emitter.SERVER: ("smartproxy.tap.server", "smartproxy.server"),
    Emitter.CLIENT: ("smartproxy.tap.client",),
    Emitter.BACKEND: ("smartproxy.tap.backend", "smartproxy.tap.command", "smartproxy.tap.commands"),
    Emitter.PLAIN: ("smartproxy.tap.plain_server", "smartproxy.tap.plain_client"),
}
"""Where each daemon begins."""
NOT_RUN: dict[str, tuple[Emitter, frozenset[str]]] = {
    "smartproxy.relay.reports": (Emitter.SERVER, frozenset({"station.unreachable"})),
    "smartproxy.tunnel.client": (Emitter.SERVER, frozenset({"tunnel.failed"})),
    "smartproxy.tunnel.port": (Emitter.CLIENT, frozenset({"connection.closed"})),
}
"""Events of modules that a daemon loads, and of which it does not run the part that emits them."""


def loaded(everything: Mapping[str, Module]) -> dict[str, Emitter]:
    """Which daemons load each module."""
    found: dict[str, Emitter] = {}
    for daemon, roots in ROOTS.items():
        for name in reachable(roots, everything):
            found[name] = found.get(name, Emitter(0)) | daemon
    return found


def undeclared(everything: Mapping[str, Module]) -> list[str]:
    """Find calls that emit an event in a daemon that does not stand at it in the catalogue."""
    daemons = loaded(everything)
    wrong = []
    for module, node, event, _, _ in calls(everything):
        missing = daemons.get(module.name, Emitter(0)) & ~event.emitters
        daemon, names = NOT_RUN.get(module.name, (Emitter(0), frozenset()))
        if event.name in names:
            missing &= ~daemon
        if missing:
            wrong.append(f"{module.at(node)} {event.name}: emitted by {missing}, too")
    return wrong


def needless(everything: Mapping[str, Module]) -> list[str]:
    """Find daemons that stand at an event in the catalogue and load no module that names it."""
    daemons = loaded(everything)
    able: dict[str, Emitter] = {}
    for module in everything.values():
        for name in named_events({module.name: module}):
            able[name] = able.get(name, Emitter(0)) | daemons.get(module.name, Emitter(0))
    return [
        f"{name}: {left}" for name, event in EVENTS.items() if (left := event.emitters & ~able.get(name, Emitter(0)))
    ]


class Calls(SynchronousTestCase):
    """The package as it is."""

    def test_every_call_fits_the_catalogue(self) -> None:
        """No literal name is unknown, no field is unknown to its event, no required one is missing."""
        self.assertEqual([], wrong_calls(modules()))

    def test_causes_are_codes(self) -> None:
        """Each cause is a code, and a sentence for people stands beside it."""
        self.assertEqual([], sentence_causes(modules()))

    def test_every_event_is_emitted(self) -> None:
        """The catalogue promises no event that nothing emits."""
        self.assertEqual([], sorted(EVENTS.keys() - named_events(modules())))

    def test_daemons(self) -> None:
        """At each event stand the daemons that emit it: no other can report it to the backend."""
        self.assertEqual(([], []), (undeclared(modules()), needless(modules())))


class Planted(SynchronousTestCase):
    """The checks find what they are for."""

    def judge(self, text: str) -> list[str]:
        """Judge a module of one line."""
        return wrong_calls({"m": parse("m", text)})

    def test_wrong_calls(self) -> None:
        """Unknown names, unknown fields and missing fields are found in each way of emitting."""
        self.assertEqual(["m:1 no event is named tunnel.sideways"], self.judge("events.emit('tunnel.sideways')"))
        self.assertEqual(["m:1 tunnel.down lacks cause"], self.judge("self.emit('tunnel.down')"))
        self.assertEqual(
            ["m:1 tunnel.down has no field dataset"], self.judge("emit('tunnel.down', cause='x', dataset='y')")
        )
        self.assertEqual(["m:1 tunnel.down has no field x"], self.judge("Report('tunnel.down', {'cause': c, 'x': y})"))
        self.assertEqual(["m:1 tunnel.down has no field x"], self.judge("self._report('tunnel.down', x=1, **more)"))

    def test_sentences(self) -> None:
        """A sentence as the cause, words that are made up, and a cause without a message are found in every form."""
        for text, problem in (
            ("emit('tunnel.down', cause='It is gone.', message='x')", "the cause is the sentence 'It is gone.'"),
            ("emit('tunnel.down', cause=f'{x}', message='x')", "the cause is words that are made up"),
            ("Report('tunnel.down', {'cause': str(e), 'message': 'x'})", "the cause is words that are made up"),
            ("emit('tunnel.down', cause=Cause.X)", "there is a cause and no message"),
            ("Report('tunnel.down', {'cause': Cause.X})", "there is a cause and no message"),
        ):
            found = sentence_causes({"m": parse("m", text)})
            self.assertEqual([f"m:1 tunnel.down: {problem}"], found, text)
        for text in (
            "emit('tunnel.down', cause=Cause.X, message='It is gone.')",
            "emit('tunnel.down', cause='tunnel.lost', message='It is gone.')",
            "emit('tunnel.down', cause=Cause.X, **more)",
            "emit('tunnel.down', **more)",
        ):
            self.assertEqual([], sentence_causes({"m": parse("m", text)}), text)

    def test_right_calls(self) -> None:
        """Right calls, calls whose fields cannot be read here, and calls of other things are left alone."""
        for text in (
            "emit('tunnel.down', cause='x')",
            "emit('tunnel.down', **fields)",
            "Report('tunnel.down', fields)",
            "Report('tunnel.down', {'cause': c, **more})",
            "emit(name)",
            "emit('not an event')",
            "send('a.b')",
        ):
            self.assertEqual([], self.judge(text), text)

    def test_foreign_daemons(self) -> None:
        """An event of one daemon that another emits is found, and a daemon that never does."""
        planted = {"smartproxy.tap.client": parse("smartproxy.tap.client", "emit('page.login', names=[])")}
        self.assertEqual(["smartproxy.tap.client:1 page.login: emitted by client, too"], undeclared(planted))
        self.assertIn("page.login: backend", needless(planted))

    def test_named(self) -> None:
        """An event counts as emitted if its name stands anywhere in the source."""
        self.assertEqual({"tunnel.down"}, named_events({"m": parse("m", "x = 'tunnel.down' if y else 'z'")}))
