"""Compare SmartProxy with HAProxy, nginx and stunnel in one run, and print tables.

    python compare.py --program build/bench/sessions --json build/bench/result.json [--quick] [--only TEST]

Each is two hops on loopback: TLS with the partner's certificate, TLS between the hops, plain TCP to the station. All
run at the same time; rounds take turns: one measurement of each, then the next round. SmartProxy's daemons are the real
ones, with a backend, and judge every octet twice; the others forward octets unread.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

sys.path.insert(0, str(Path(__file__).parent))

import tables
from daemons import BenchSite, free_port
from measures import Load, LoadFailed, Proxy
from rivals import RIVALS, VERSION, Hops, found, resolved

from smartproxy import __version__
from smartproxy.testing.pki import CredentialFiles, TestCa

ENDLESS: Final = 10**13
"""Octets of a file that ends when its time is over."""

CARRIED_SECONDS: Final = 0.8
"""Until the events of a session are stored."""

QUIET_SECONDS: Final = 3.0
"""After which idle sessions have given back what they can."""


@attrs.frozen(kw_only=True)
class Bulk:
    """One kind of stream."""

    buffer: int
    sessions: int
    layout: str = "u"
    credit: int = 99

    @property
    def cell(self) -> str:
        """Its row in the table."""
        words = {"u": "", "f80": "records of 80, ", "irregular": "irregular, ", "compressed": "compressed, "}
        credit = "" if self.credit == 99 else f"credit {self.credit}, "
        return f"{words[self.layout]}{self.buffer} octets, {credit}{self.sessions} session{'s' * (self.sessions > 1)}"


STREAM: Final = Bulk(buffer=4096, sessions=1, credit=64)

FULL: Final = (
    *(Bulk(buffer=buffer, sessions=sessions) for buffer in (65535, 16384, 2048) for sessions in (1, 8)),
    STREAM,
    Bulk(buffer=65535, sessions=8, layout="f80"),
    Bulk(buffer=65535, sessions=8, layout="irregular"),
)
QUICK: Final = (
    Bulk(buffer=65535, sessions=8),
    Bulk(buffer=2048, sessions=8),
    STREAM,
    Bulk(buffer=65535, sessions=8, layout="f80"),
    Bulk(buffer=65535, sessions=8, layout="irregular"),
)


class Bench:
    """One run.

    :param load: the generator.
    :param proxies: what is compared, the base of all ratios first.
    :ivar rows: what was measured.
    """

    def __init__(self, load: Load, proxies: Sequence[Proxy], *, rounds: int, seconds: float, quick: bool) -> None:
        self.rows: list[tables.Row] = []
        self._load = load
        self._proxies = proxies
        self._direct = Proxy(tables.DIRECT, load.station_port, None, None)
        self._rounds, self._seconds, self._quick = rounds, seconds, quick

    def run(self, only: str | None) -> None:
        """Measure all, or one test."""
        tests: dict[str, Callable[[], None]] = {
            "rest": self.rest,
            "files": self.small_files,
            "sessions": self.new_sessions,
            "bulk": self.bulk,
            "idle": self.idle,
        }
        for name, test in tests.items():
            if only in (None, name):
                test()

    def rest(self) -> None:
        """Memory before there is any session."""
        for proxy in self._proxies:
            proxy.look()
            self._keep(
                "at rest", "since the start", proxy, 0, dict(zip(("outer", "inner"), proxy.resident(), strict=True))
            )

    def small_files(self) -> None:
        """Files of 1,000 octets, one after the other in one session."""
        files = 1000 if self._quick else 3000
        with self._station(buffer=2048, credit=64):
            for number, proxy in self._turns([self._direct, *self._proxies]):
                self._measure("small files", f"{files} files", proxy, number, files=files, buffer=2048, credit=64)

    def new_sessions(self) -> None:
        """Sessions with one small file, eight at a time."""
        options = {"buffer": 2048, "credit": 64, "seconds": self._seconds, "sessions": 10**6, "parallel": 8}
        with self._station(buffer=2048, credit=64):
            for number, proxy in self._turns(self._proxies):
                self._measure("new sessions", "8 at a time, one file each", proxy, number, **options)

    def bulk(self) -> None:
        """Large files."""
        for kind in QUICK if self._quick else FULL:
            shared = {"buffer": kind.buffer, "credit": kind.credit, "layout": kind.layout}
            with self._station(**shared):
                for number, proxy in self._turns(self._proxies):
                    options = {**shared, "parallel": kind.sessions, "seconds": self._seconds, "size": ENDLESS}
                    self._measure("bulk", kind.cell, proxy, number, settle=0.1, **options)

    def idle(self) -> None:
        """Memory of sessions that do nothing; the second time, since the first one leaves room for the next."""
        sessions = 200 if self._quick else 1000
        with self._station(buffer=2048, credit=64):
            for proxy in self._proxies:
                proxy.look()
                before = proxy.resident()
                during: list[tuple[int, int]] = []

                def look(proxy: Proxy = proxy, during: list[tuple[int, int]] = during) -> None:
                    time.sleep(QUIET_SECONDS)
                    during.append(proxy.resident())

                resting = self._load.rest(proxy, look, files=0, parallel=sessions, buffer=2048, credit=64, shaking=32)
                outer, inner = ((after - base) / resting for base, after in zip(before, during[0], strict=True))
                self._keep("idle sessions", f"{sessions} sessions", proxy, 0, {"outer": outer, "inner": inner})

    @contextmanager
    def _station(self, **options: Any) -> Iterator[None]:
        station = self._load.station(**options)
        try:
            yield
        finally:
            station.terminate()
            station.wait()

    def _turns(self, proxies: Sequence[Proxy]) -> Iterator[tuple[int, Proxy]]:
        for proxy in proxies:
            proxy.look()
        for number in range(self._rounds):
            for proxy in proxies:
                yield number, proxy

    def _measure(self, test: str, cell: str, proxy: Proxy, number: int, settle: float = 0, **options: Any) -> None:
        try:
            result = self._load.run(proxy, settle=settle or CARRIED_SECONDS, **options)
        except LoadFailed as failed:
            print(f"bench: {test}, {cell}, {proxy.name}: {failed}", file=sys.stderr)
        else:
            self._keep(test, cell, proxy, number, result)

    def _keep(self, test: str, cell: str, proxy: Proxy, number: int, result: dict[str, Any]) -> None:
        if not number and proxy in (self._direct, self._proxies[0]):
            print(f"bench: {test}: {cell}", file=sys.stderr)
        self.rows.append({"test": test, "cell": cell, "pair": proxy.name, "round": number, **result})


@contextmanager
def rival(name: str, folder: Path, certificates: dict[str, Path], station: int) -> Iterator[Proxy]:
    """Run another program as two hops."""
    folder.mkdir()
    hops = Hops(
        folder=folder,
        port=free_port(),
        tunnel=free_port(),
        between=free_port(),
        station=station,
        **certificates,
    )
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for argv in RIVALS[name](hops):
            with (folder / "output.log").open("ab") as output:
                processes.append(subprocess.Popen(resolved(argv), stdout=output, stderr=output, cwd=folder))
            time.sleep(0.5)
        for process in processes:
            if process.poll() is not None:
                raise LoadFailed(f"{name} ended: {(folder / 'output.log').read_text()[-500:]}")
        inner, outer = processes
        yield Proxy(name, hops.port, outer.pid, inner.pid)
    finally:
        for process in processes:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    cpus = [
        line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")
    ]
    versions = {"SmartProxy": __version__, "Python": platform.python_version(), "Linux": platform.release()}
    for name, argv in VERSION.items():
        if found(name):
            done = subprocess.run(resolved(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            words = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
            versions[name] = words.group() if words else "?"
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "versions": versions,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


async def compare(reactor: Any, arguments: argparse.Namespace) -> None:
    """Start everything, measure, and print."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    authority = TestCa.root("benchmark CA")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    certificates = {"authority": folder / "ca.pem"}
    for name in ("outer", "inner"):
        made = authority.issue(f"{name}.example", sans=[f"DNS:{name}.example"])
        certificates[name] = folder / f"{name}.pem"
        certificates[name].write_bytes(made.chain_pem + made.key_pem)
    partner: CredentialFiles = authority.issue("partner.example").write(folder, "partner")
    load = Load(program=arguments.program.absolute(), partner=partner, station_port=free_port())
    facts = machine()
    (folder / "site").mkdir()
    site = BenchSite(reactor, folder / "site", load.station_port)
    with ExitStack() as running:
        proxies = []
        for name in RIVALS:
            if not found(name):
                print(f"bench: {name} is missing", file=sys.stderr)
                continue
            try:
                proxies.append(running.enter_context(rival(name, folder / name, certificates, load.station_port)))
            except LoadFailed as failed:
                print(f"bench: {failed}", file=sys.stderr)
        try:
            await site.open(partner)
            assert site.server is not None and site.client is not None
            proxies.append(Proxy(tables.OURS, site.port, site.server.pid, site.client.pid))
            bench = Bench(
                load,
                proxies,
                rounds=arguments.rounds or (3 if arguments.quick else 5),
                seconds=arguments.seconds or (0.7 if arguments.quick else 1.0),
                quick=arguments.quick,
            )
            await deferToThread(bench.run, arguments.only)
        finally:
            await site.stop()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": facts, "rows": bench.rows}, indent=1) + "\n")
    print(f"{facts['cpu']}, {facts['cores']} cores, load {facts['load']:.2f} before, {facts['time']}")
    print(", ".join(f"{name} {version}" for name, version in facts["versions"].items()))
    print("median (least-most) of the rounds, and the ratio to the first column")
    for line in tables.lines(bench.rows):
        print(line)


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the generator, made of sessions.c")
    parser.add_argument("--json", type=Path, required=True, help="file for all that is measured")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, streams and sessions: about 3 minutes")
    parser.add_argument("--only", choices=("rest", "files", "sessions", "bulk", "idle"), help="one of the tests")
    parser.add_argument("--rounds", type=int, help="[5, quick 3]")
    parser.add_argument("--seconds", type=float, help="of each stream [1, quick 0.7]")
    arguments = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(compare(reactor, arguments)), ())


if __name__ == "__main__":
    main()
