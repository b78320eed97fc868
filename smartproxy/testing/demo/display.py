"""What the demonstration shows: a line of progress while it works, and tables."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO

import attrs

_REDRAW_SECONDS = 0.1


@attrs.define
class Display:
    """Writes to a terminal, or to a file that is read later.

    On a terminal the line of progress is rewritten in place; elsewhere each step is a line, without the progress of
    files in between.
    """

    out: TextIO = attrs.field(factory=lambda: sys.stdout)
    _begun: float = attrs.field(factory=time.monotonic)
    _drawn: float = 0.0
    _width: int = 0
    _step: str = ""

    @property
    def seconds(self) -> float:
        """How long it has been working."""
        return time.monotonic() - self._begun

    def step(self, words: str) -> None:
        """Something new is being done."""
        self._step = words
        if self.out.isatty():
            self._draw(words)
        else:
            self.print(f"{self.seconds:5.1f} s  {words}")

    def progress(self, words: str) -> None:
        """It goes on."""
        if self.out.isatty() and time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self._draw(f"{self._step}: {words}")

    def print(self, text: str = "") -> None:
        """Write lines that stay."""
        self._clear()
        self.out.write(text + "\n")
        self.out.flush()

    def _draw(self, words: str) -> None:
        line = f"{self.seconds:5.1f} s  {words}"[:118]
        self._clear()
        self.out.write(line)
        self.out.flush()
        self._width = len(line)
        self._drawn = time.monotonic()

    def _clear(self) -> None:
        if self._width:
            self.out.write("\r" + " " * self._width + "\r")
            self._width = 0


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), below: Sequence[str] = ()
) -> str:
    """Rows below heads, in columns.

    :param right: the columns that are numbers.
    :param below: a line below each row that is too long for a column.
    """
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]

    def cells(line: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()

    made = [cells(line) for line in rows]
    if below:
        made = [f"{line}\n    {more}" for line, more in zip(made, below, strict=True)]
    return "\n".join([cells(heads), cells(["-" * width for width in widths]), *made])
