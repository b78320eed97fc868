"""The tables of facts in ``tests/data``, read once."""

from functools import cache
from pathlib import Path

import attrs

DATA = Path(__file__).parent.parent / "data"
LEVELS = (1, 2, 4, 5)


def table(name: str) -> list[dict[str, str]]:
    """The rows of a tab separated file; lines that start with ``#`` are remarks, the first other line names columns."""
    lines = [line for line in (DATA / name).read_text().splitlines() if not line.startswith("#")]
    columns = lines[0].split("\t")
    return [dict(zip(columns, line.split("\t"), strict=True)) for line in lines[1:]]


@attrs.frozen
class Fact:
    """One field of one command at one release level.

    :ivar position: the RFC's position, ``None`` where the RFC leaves it open.
    :ivar width: octets, ``None`` for ``n``.
    """

    level: int
    command: str
    position: int | None
    field: str
    fixed: bool
    letter: str
    width: int | None
    rule: str
    argument: str


@cache
def facts() -> dict[tuple[int, str], tuple[Fact, ...]]:
    """{(level, command): fields in order}, layouts and values joined."""
    values = {
        (int(level), row["field"]): row["rule"].partition(" ")
        for row in table("rfc5024_values.tsv")
        for level in row["levels"].split(",")
    }
    found: dict[tuple[int, str], list[Fact]] = {}
    for row in table("rfc5024_fields.tsv"):
        kind, letter, width = row["format"][0], row["format"][2], row["format"][4:-1]
        for level in map(int, row["levels"].split(",")):
            rule, _, argument = values.get((level, row["field"]), ("command", "", ""))
            found.setdefault((level, row["command"]), []).append(
                Fact(
                    level=level,
                    command=row["command"],
                    position=None if row["position"] == "-" else int(row["position"]),
                    field=row["field"],
                    fixed=kind == "F",
                    letter=letter,
                    width=None if width == "n" else int(width),
                    rule=rule,
                    argument=argument.replace("_", " "),
                )
            )
    return {key: tuple(fields) for key, fields in found.items()}
