"""Regular commands, read at one glance.

Duty: take a Command Exchange Buffer that is there as a whole and departs from the RFC in nothing, and make the command
of it. It is the fast way of :class:`smartproxy.oftp2.codec.Reader`, and takes only what is beyond doubt: about every
other buffer it says nothing, and the reader says what it is or what is wrong with it. Trusts no octet; raises nothing.

How it works. The fields of fixed width in front of a layout are one regular expression
(:meth:`smartproxy.oftp2.grammars.Grammar.regular`); the fields behind it are read one by one, each by the RFC's
grammar. What else a field may have to be (by the fields in front of it, by the state of the session) is looked at
after that. The layout of an SSID goes by its own first field; before a level is agreed only SSRM and SSID are read.

Standards: RFC 5024 section 5.3; RFC 2204 section 5.3.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from smartproxy.oftp2.commands import BY_OCTET, DATA, SSID, SSRM, Command
from smartproxy.oftp2.fields import Field, Rule
from smartproxy.oftp2.grammars import Values
from smartproxy.oftp2.roles import Level

NO_LIMITS: Final[Mapping[str, Rule]] = {}
"""What the state of a session leaves of the values of most commands: all."""


@attrs.frozen
class _Shape:
    """How the regular commands of one layout look.

    :ivar pattern: the fields of fixed width in front, in ISO 8859-1, a group for each.
    :ivar width: octets of these fields, with the command octet.
    :ivar front: their attributes, and how the value comes of the text.
    :ivar places: where each of them begins and ends.
    :ivar behind: the other fields, each with the attribute that says how long it is.
    :ivar depending: the fields that depend on others in front of them.
    :ivar absent: the attributes that this layout does not have.
    """

    pattern: re.Pattern[str]
    width: int
    front: tuple[tuple[str, Callable[[str], Any]], ...]
    places: Mapping[str, tuple[int, int]]
    behind: tuple[tuple[Field, str], ...]
    depending: tuple[Field, ...]
    absent: Mapping[str, None]


def _value(field: Field) -> Callable[[str], Any]:
    """What turns the text of a field into its value."""
    if field.format == "9":
        return int
    if field.format == "X":
        grammar = field.rule.grammar
        padded = not isinstance(grammar, Values) or any(value.endswith(b" ") for value in grammar.allowed)
        return str.rstrip if padded else str
    return lambda text: field.decode(text.encode("latin-1"))


def _shape(kind: type[Command], level: Level) -> _Shape | None:
    """The shape of a command at a level; nothing if it has none."""
    fields = kind.LAYOUTS[level].fields
    fixed = next((index for index, field in enumerate(fields) if field.width is None), len(fields))
    pattern, position, places = "", 1, {}
    for field in fields[1:fixed]:
        width = field.width or 0
        part = field.rule.grammar.regular(width)
        if part is None:
            return None
        places[field.attribute] = position, position + width
        pattern, position = f"{pattern}({part})", position + width
    present = {field.attribute for field in fields}
    return _Shape(
        pattern=re.compile(f".{pattern}", re.DOTALL | re.ASCII),
        width=position,
        front=tuple((field.attribute, _value(field)) for field in fields[1:fixed]),
        places=places,
        behind=tuple(
            (field, before.attribute) for before, field in zip(fields[fixed - 1 :], fields[fixed:], strict=False)
        ),
        depending=tuple(field for field in fields[1:fixed] if field.depends is not None),
        absent={name: None for name in kind.GIVEN if name not in present},
    )


_SHAPES: Final[Mapping[tuple[str, Level | None], _Shape | None]] = {
    (kind.NAME, level): _shape(kind, level)
    for level, kinds in BY_OCTET.items()
    for kind in kinds.values()
    if kind not in (SSID, DATA)
} | {(SSRM.NAME, None): _shape(SSRM, Level.OFTP_2_0)}
_SSIDS: Final[Mapping[bytes, _Shape | None]] = {str(level.value).encode(): _shape(SSID, level) for level in Level}
"""The shapes of SSID, by its first field."""


def read(
    kind: type[Command], level: Level | None, octets: bytes, limits: Mapping[str, Rule] = NO_LIMITS
) -> Command | None:
    """Read a whole Command Exchange Buffer whose command octet has been judged.

    :param level: the agreed release level.
    :param limits: further rules by attribute, as for the reader.
    :return: the command, if it is regular; ``None`` says nothing about it.
    """
    shape = _SSIDS.get(octets[1:2]) if kind is SSID else _SHAPES.get((kind.NAME, level))
    if shape is None:
        return None
    if not shape.front and not shape.behind:
        return kind(**shape.absent) if len(octets) == shape.width else None
    front = octets[: shape.width]
    found = shape.pattern.fullmatch(front.decode("latin-1"))
    if found is None:
        return None
    values: dict[str, Any] = {}
    # No comprehension: that would be a call of its own for each command.
    for (name, value), text in zip(shape.front, found.groups(), strict=True):
        values[name] = value(text)
    for field in shape.depending:
        assert field.depends is not None
        begin, end = shape.places[field.attribute]
        rule = field.depends(values)
        if rule is not None and rule.grammar.fault(octets[begin:end], end - begin) is not None:
            return None
    position = shape.width
    for field, before in shape.behind:
        width = values[before] if field.width is None else field.width
        text = octets[position : position + width]
        position += width
        if len(text) != width or (width and not _is_right(field, values, text)):
            return None
        values[field.attribute] = field.decode(text)
    if position != len(octets):
        return None
    for name, rule in limits.items():
        place = shape.places.get(name)
        if place is None or rule.grammar.fault(octets[place[0] : place[1]], place[1] - place[0]) is not None:
            return None
    for name, _ in kind.LENGTHS:
        values.pop(name, None)
    return kind(**values, **shape.absent)


def _is_right(field: Field, values: Mapping[str, Any], octets: bytes) -> bool:
    if field.rule.grammar.fault(octets, len(octets)) is not None:
        return False
    rule = None if field.depends is None else field.depends(values)
    return rule is None or rule.grammar.fault(octets, len(octets)) is None
