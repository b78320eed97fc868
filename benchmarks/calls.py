"""How many Python calls the daemons need for a small file and for a DATA buffer, and which.

    python benchmarks/calls.py [--top 40] [--files 400] [--megabytes 40] [--buffer 2048] [--only files|buffers]

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
from collections.abc import Callable, Sequence
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
DAEMONS: Final = ("smartproxy-server", "smartproxy-client", "smartproxy-backend")
SETTLED_SECONDS: Final = 1.0
"""Until what is collected for a moment, such as events, has gone its way."""


class CountedSite(BenchSite):
    """A site whose daemons count their calls when they are told to."""

    def __init__(self, reactor: Any, folder: Path, buffer_size: int, level: str) -> None:
        self.fixed = FixedStation(STATION_CODE, buffer_size, CREDIT)
        super().__init__(reactor, folder, self.fixed.port, level)
        self.counts = folder / "counts"
        self.counts.mkdir()
        self._buffer_size = buffer_size

    async def count(self, work: Callable[[FixedPartner], None]) -> dict[str, dict[str, Counter[str]]]:
        """What each daemon calls during one session."""

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
            work(partner)
            partner.close()

        programs = [program for program in (self.server, self.client, self.backend) if program is not None]
        for program in programs:
            (self.counts / f"{program.name}.json").unlink(missing_ok=True)
            os.kill(program.pid, counted.BEGIN)
        await deferToThread(session)
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


async def difference(site: CountedSite, octets: int, less: int, more: int) -> dict[str, dict[str, Counter[str]]]:
    """What a session with *more* files of this size calls beyond one with *less*; another one warms up."""
    await site.count(lambda partner: partner.send(octets, less))
    few = await site.count(lambda partner: partner.send(octets, less))
    many = await site.count(lambda partner: partner.send(octets, more))
    found: dict[str, dict[str, Counter[str]]] = {}
    for name, kinds in many.items():
        found[name] = {kind: Counter(counts) for kind, counts in kinds.items()}
        for kind, counts in found[name].items():
            counts.subtract(few[name][kind])
    return found


def show(title: str, found: dict[str, dict[str, Counter[str]]], units: float, top: int) -> dict[str, dict[str, float]]:
    """Print what each daemon calls for each unit."""
    figures = {}
    for name in DAEMONS:
        kinds = found[name]
        figures[name] = {kind: round(counts.total() / units, 3) for kind, counts in kinds.items()}
        print(f"\n{name}, {title}: {figures[name]['python']:.2f} Python calls, {figures[name]['c']:.2f} calls of C")
        system = ", ".join(f"{call} {count / units:.3f}" for call, count in kinds["system"].most_common())
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
            if arguments.only != "buffers":
                few = 40
                found = await difference(site, 100, few, few + arguments.files)
                kept["file"] = show("for each small file", found, arguments.files, arguments.top)
            if arguments.only != "files":
                octets = arguments.megabytes * 500_000
                found = await difference(site, octets, 1, 3)
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
    parser.add_argument("--megabytes", type=int, default=40, help="octets of DATA that are counted, in 10**6 [40]")
    parser.add_argument("--buffer", type=int, default=2048, help="size of Exchange Buffers [2048]")
    parser.add_argument("--only", choices=("files", "buffers"), help="only one of the two")
    parser.add_argument("--log-level", default="info", help="of the daemons; each writes one log, as text [info]")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    arguments = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(measure(reactor, arguments)), ())


if __name__ == "__main__":
    main()
