"""Every event that the source emits stands in the catalogue, in the form in which it is emitted."""

import ast
import re
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.catalogue import EVENTS
from tests.source import Module, modules, outermost_name, parse

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


def named_events(everything: Mapping[str, Module]) -> set[str]:
    """Find every string in the source that is the name of an event."""
    return {
        node.value
        for module in everything.values()
        if module.name != "smartproxy.logs.catalogue"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in EVENTS
    }


class Calls(SynchronousTestCase):
    """The package as it is."""

    def test_every_call_fits_the_catalogue(self) -> None:
        """No literal name is unknown, no field is unknown to its event, no required one is missing."""
        self.assertEqual([], wrong_calls(modules()))

    def test_every_event_is_emitted(self) -> None:
        """The catalogue promises no event that nothing emits."""
        self.assertEqual([], sorted(EVENTS.keys() - named_events(modules())))


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

    def test_named(self) -> None:
        """An event counts as emitted if its name stands anywhere in the source."""
        self.assertEqual({"tunnel.down"}, named_events({"m": parse("m", "x = 'tunnel.down' if y else 'z'")}))
