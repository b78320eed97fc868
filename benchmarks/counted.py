"""Run a daemon that counts its Python calls and its system calls, between two signals.

    python counted.py FOLDER [twistd's arguments]

SIGRTMIN+1 begins to count. SIGRTMIN+2 ends it and writes ``FOLDER/NAME.json``, NAME being the plugin's: how often each
Python function was entered, and how often each function of C was called from one. A function is entered anew each time
a generator or coroutine goes on. While nothing is counted, nothing is slowed down.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

BEGIN: Final = signal.SIGRTMIN + 1
END: Final = signal.SIGRTMIN + 2

SYSTEM: Final = frozenset(
    (
        "recv",
        "recv_into",
        "send",
        "sendmsg",
        "poll",
        "register",
        "unregister",
        "modify",
        "accept",
        "connect",
        "shutdown",
    )
)
"""What of the functions of C is a system call on the way of a session."""


class CallCounts:
    """What the main thread of this process called."""

    def __init__(self) -> None:
        self.python: Counter[CodeType] = Counter()
        self.c: Counter[str] = Counter()

    def begin(self) -> None:
        """Count from now on, from nothing."""
        self.python, self.c = Counter(), Counter()
        sys.setprofile(self.profile())

    def end(self) -> None:
        """Count no longer."""
        sys.setprofile(None)

    def profile(self) -> Callable[[FrameType, str, Any], None]:
        """What Python tells of each call."""
        python, c = self.python, self.c

        def profile(frame: FrameType, what: str, argument: Any) -> None:
            if what == "call":
                python[frame.f_code] += 1
            elif what == "c_call":
                c[argument.__qualname__] += 1

        return profile

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        functions: Counter[str] = Counter()
        for code, count in self.python.items():
            functions[f"{shortened(code.co_filename)}:{code.co_firstlineno} {code.co_qualname}"] += count
        system = {name: count for name, count in self.c.items() if name.rpartition(".")[2] in SYSTEM}
        return {"python": functions, "c": self.c, "system": system}


def shortened(path: str) -> str:
    """A source file from the package on."""
    for mark in ("site-packages/", "lib/python", "/smartproxy/"):
        _, found, after = path.partition(mark)
        if found:
            return "smartproxy/" + after if mark == "/smartproxy/" else after
    return path


def install(folder: Path, name: str) -> CallCounts:
    """Count between the two signals."""
    counts = CallCounts()

    def begin(number: int, frame: FrameType | None) -> None:
        counts.begin()

    def end(number: int, frame: FrameType | None) -> None:
        counts.end()
        unfinished = folder / f"{name}.json.new"
        unfinished.write_text(json.dumps(counts.as_json()))
        os.replace(unfinished, folder / f"{name}.json")

    signal.signal(BEGIN, begin)
    signal.signal(END, end)
    return counts


def main() -> None:
    """Become twistd."""
    folder = Path(sys.argv[1])
    sys.argv[:2] = ["twistd"]
    install(folder, next(each for each in sys.argv if each.startswith("smartproxy-")))
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
