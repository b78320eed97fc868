"""How many Python calls the daemons need for a small file, for a session and for a DATA buffer, and which.

    python benchmarks/calls.py [--top 40] [--files 400] [--only files|sessions|buffers] [--json FILE] ...

It counts in the SmartProxy that Python imports: the installed one, or with ``PYTHONPATH=.`` that of the checkout.

Real daemons on loopback, as installed: events go to the backend, the log is written as text. The input is fixed. What
one session with more files calls beyond one with fewer is divided by the files that it has more, so that what a session
costs by itself is left out; the same with buffers. Calls of functions of C stand beside those of Python functions.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

sys.path.insert(0, str(Path(__file__).parent))

import counted
from daemons import PARTNER, STATION_CODE, BenchSite
from exchange import FixedPartner, FixedStation

CREDIT: Final = 64
SMALL: Final = 100
"""Octets of a small file."""
BATCHES: Final = (" Carrier._send", " ToldSessions._tell_once")
"""What the clock has sent: a batch of events or records, and which sessions run; the names' ends."""
DAEMONS: Final = ("smartproxy-server", "smartproxy-client", "smartproxy-backend")
SETTLED_SECONDS: Final = 1.0
"""Until what is collected for a moment, such as events, has gone its way."""


Calls = dict[str, dict[str, Counter[str]]]
"""For each daemon: Python functions, functions of C, and those of them that are system calls, by name."""


class CountedSite(BenchSite):
    """A site whose daemons count their calls when they are told to."""

    def __init__(self, reactor: Any, folder: Path, buffer_size: int, level: str) -> None:
        self.fixed = FixedStation(STATION_CODE, buffer_size, CREDIT)
        super().__init__(reactor, folder, self.fixed.port, level)
        self.counts = folder / "counts"
        self.counts.mkdir()
        self._buffer_size = buffer_size

    async def count(self, octets: int, files: int, sessions: int = 1) -> Calls:
        """What each daemon calls during sessions, one after the other, with so many files of this size each."""

        def session() -> None:
            partner = FixedPartner(
                self.port,
                code=PARTNER,
                station=STATION_CODE,
                certificate=self.files.certificate,
                key=self.files.key,
                buffer_size=self._buffer_size,
                credit=CREDIT,
            )
            partner.send(octets, files)
            partner.close()

        def all_sessions() -> None:
            for _ in range(sessions):
                session()

        programs = [program for program in (self.server, self.client, self.backend) if program is not None]
        for program in programs:
            (self.counts / f"{program.name}.json").unlink(missing_ok=True)
            os.kill(program.pid, counted.BEGIN)
        await deferToThread(all_sessions)
        await deferLater(self.reactor, SETTLED_SECONDS)
        found = {}
        for program in programs:
            os.kill(program.pid, counted.END)
            path = self.counts / f"{program.name}.json"
            while not path.exists():
                await deferLater(self.reactor, 0.02)
            found[program.name] = {name: Counter(counts) for name, counts in json.loads(path.read_text()).items()}
        return found

    def runner(self, name: str) -> Sequence[str]:
        """What runs a daemon: :mod:`counted`."""
        return [sys.executable, str(Path(counted.__file__)), str(self.counts)]


def difference(few: Calls, many: Calls) -> Calls:
    """What is called beyond what fewer units call."""
    found: Calls = {}
    for name, kinds in many.items():
        found[name] = {kind: Counter(counts) for kind, counts in kinds.items()}
        for kind, counts in found[name].items():
            counts.subtract(few[name][kind])
    return found


def show(title: str, found: Calls, units: float, top: int) -> dict[str, dict[str, float]]:
    """Print what each daemon calls for each unit."""
    figures = {}
    for name in DAEMONS:
        kinds = found[name]
        figures[name] = {kind: round(counts.total() / units, 3) for kind, counts in kinds.items()}
        batches = sum(count for function, count in kinds["python"].items() if function.endswith(BATCHES))
        figures[name]["batches"] = round(batches / units, 3)
        print(f"\n{name}, {title}: {figures[name]['python']:.2f} Python calls, {figures[name]['c']:.2f} calls of C")
        system = ", ".join(f"{call} {count / units:.3f}" for call, count in kinds["system"].most_common())
        print(f"  batches by the clock: {figures[name]['batches']:.3f}")
        print(f"  system calls: {figures[name]['system']:.3f} ({system})")
        for function, count in kinds["python"].most_common(top):
            if count / units >= 0.005:
                print(f"  {count / units:9.3f}  {function}")
        print("  of C:")
        for function, count in kinds["c"].most_common(top // 4):
            print(f"  {count / units:9.3f}  {function}")
    return figures


async def measure(reactor: Any, arguments: argparse.Namespace) -> None:
    """Start a site and count."""
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="calls-") as folder:
        site = CountedSite(reactor, Path(folder), arguments.buffer, arguments.log_level)
        try:
            await site.open()
            await site.count(SMALL, 40)
            if arguments.only in (None, "files"):
                found = difference(await site.count(SMALL, 40), await site.count(SMALL, 40 + arguments.files))
                kept["file"] = show("for each small file", found, arguments.files, arguments.top)
            if arguments.only in (None, "sessions"):
                found = difference(await site.count(SMALL, 1, 5), await site.count(SMALL, 1, 5 + arguments.sessions))
                kept["session"] = show("for each session with a file", found, arguments.sessions, arguments.top)
            if arguments.only in (None, "buffers"):
                octets = arguments.megabytes * 500_000
                found = difference(await site.count(octets, 1), await site.count(octets, 3))
                buffers = 2 * octets / (arguments.buffer - 1 - arguments.buffer // 64)
                title = f"for each DATA buffer of {arguments.buffer}"
                kept["buffer"] = show(title, found, buffers, arguments.top)
        finally:
            await site.stop()
            site.fixed.stop()
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=int, default=40, help="functions to print for each daemon [40]")
    parser.add_argument("--files", type=int, default=400, help="small files that are counted [400]")
    parser.add_argument("--sessions", type=int, default=40, help="sessions that are counted [40]")
    parser.add_argument("--megabytes", type=int, default=40, help="octets of DATA that are counted, in 10**6 [40]")
    parser.add_argument("--buffer", type=int, default=2048, help="size of Exchange Buffers [2048]")
    parser.add_argument("--only", choices=("files", "sessions", "buffers"), help="one of these")
    parser.add_argument("--log-level", default="info", help="of the daemons; each writes one log, as text [info]")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    arguments = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(measure(reactor, arguments)), ())


if __name__ == "__main__":
    main()
