"""How fast the admin page answers on a store full of events: each page, each list with its filters, and their size.

    python benchmarks/pages.py [--sessions 100000] [--partners 150] [--answers 9] [--database sqlite|postgresql]

A real backend on loopback, called over https as a browser calls it. The first page, with all that it is made of, may
have 100 KB and take 200 ms; each other page 300 ms; what reads very much as a whole 1 s. Told are the clock, the CPU
time that the backend used, and that of PostgreSQL's processes; of several answers the middle one. The two CPU times
together are judged: other programs on the machine lengthen the clock only. Nobody else calls meanwhile, so there is
nothing to wait for. It ends with status 1 and the names of the pages that miss. Run it where ``tests`` can be imported.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

sys.path.insert(0, os.getcwd())

from smartproxy.backend import authority
from smartproxy.backend.generations import changing
from smartproxy.backend.location import Location
from smartproxy.backend.page.pages import ROUTES
from smartproxy.backend.page.routes import Route
from smartproxy.backend.store import Store
from smartproxy.policy.permissions import AdminRole
from smartproxy.policy.places import DATABASE_VARIABLE
from tests.databases import Database, server
from tests.filled import Filling, fill
from tests.process.backends import PACKAGE, BackendProcess
from tests.process.page_calls import PageCaller, add_user, examples, log_in, path_of

FIRST_MS: Final = 200
FIRST_OCTETS: Final = 100_000
LIST_MS: Final = 300
WHOLE_MS: Final = 1000
WHOLE: Final = ("/events/csv", "/events/json", "/audit/verdict")
"""5,000 events to take away; the whole audit trail, which a page asks for when it is shown."""
LISTS: Final = (
    "/?span=hour",
    "/?span=month",
    "/events?level=error",
    "/events?level=info&until={old}",
    "/events?name=session.ended",
    "/events?name=file.",
    "/events?name=licence.",
    "/events?name=session.&level=warning",
    "/events?partner={partner}",
    "/events?partner={partner}&name=session.refused",
    "/events?session={session}",
    "/events?source=command",
    "/events?until={old}",
    "/partners?q=A",
    "/refusals?days=30",
    "/refusals?partner={partner}",
    "/search?q=DELJIT.0001",
    "/search?q=192.0.2.7",
    "/search?q=203.0.113.9",
    "/sessions?partner={partner}",
    "/sessions?file=DELJIT",
    "/sessions?file=NONE",
    "/sessions?file=DELJIT.0001&partner={partner}",
    "/sessions?outcome=lost",
    "/sessions?outcome=running",
    "/sessions?before=100",
)
"""Lists as a reader asks for them, beside each page as its link opens it; ``{old}`` is a time long ago."""
OLD: Final = timedelta(days=20)
ASSET: Final = re.compile(r'(?:src|href)="(/static/[^"]+)"')


@attrs.frozen(kw_only=True)
class PageFigures:
    """What one page took.

    :ivar clock: milliseconds by the clock, of the middle answer; so are the others.
    :ivar cpu: milliseconds of CPU time of the backend.
    :ivar database: those of PostgreSQL's processes.
    :ivar octets: of the document; of the first page, with all that it is made of.
    """

    path: str
    status: int
    clock: float
    cpu: float
    database: float
    octets: int

    @property
    def must(self) -> int:
        """The milliseconds that it may take."""
        return FIRST_MS if self.path == "/" else WHOLE_MS if self.path in WHOLE else LIST_MS

    @property
    def misses(self) -> str:
        """What is missed, if something is."""
        wrong = []
        if self.status >= 500 or (self.status != 200 and self.path == "/"):
            wrong.append(f"status {self.status}")
        if self.cpu + self.database > self.must:
            wrong.append(f"more than {self.must} ms")
        if self.path == "/" and self.octets > FIRST_OCTETS:
            wrong.append(f"more than {FIRST_OCTETS} octets")
        return ", ".join(wrong)


def looked_at(routes: tuple[Route, ...]) -> list[Route]:
    """The routes that answer with a page or a part of one, and to users alone."""
    return [route for route in routes if route.method == "GET" and "event-stream" not in route.path]


def cpu_ms(pid: int) -> float:
    """The CPU time of a process, by the clock that Linux keeps of it (clock_getcpuclockid(3)); 0 if it has ended."""
    try:
        return time.clock_gettime(~pid << 3 | 2) * 1000
    except OSError:
        return 0.0


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def measure(caller: PageCaller, path: str, answers: int, backend: int, database: int | None) -> PageFigures:
    """Ask for a page several times.

    :param backend: the backend's process.
    :param database: PostgreSQL's, if there is one.
    """
    clocks, cpus, databases = [], [], []
    for _ in range(answers):
        servers = [] if database is None else children(database)
        begun, used, served = time.perf_counter(), cpu_ms(backend), sum(map(cpu_ms, servers))
        answer = caller.get(path, Accept_Encoding="gzip")
        clocks.append((time.perf_counter() - begun) * 1000)
        cpus.append(cpu_ms(backend) - used)
        databases.append(sum(map(cpu_ms, servers)) - served)
    octets = len(answer.body)
    if path == "/" and answer.headers.get("content-encoding") != "gzip":
        octets += sum(len(caller.get(each, Accept_Encoding="gzip").body) for each in set(ASSET.findall(answer.text)))
    return PageFigures(
        path=path,
        status=answer.status,
        clock=statistics.median(clocks),
        cpu=statistics.median(cpus),
        database=statistics.median(databases),
        octets=octets,
    )


def run(database: Database, filling: Filling, answers: int) -> Iterator[PageFigures]:
    """Fill a store, start a backend on it, and ask for all pages."""
    with tempfile.TemporaryDirectory(prefix="smartproxy-pages-") as name:
        folder, environment = Path(name), {**os.environ, "PYTHONPATH": PACKAGE}
        url = None if database is Database.SQLITE else server().new()
        if url is not None:
            environment[DATABASE_VARIABLE] = url
        store = Store.open(Location.of(str(folder / "state"), url, {}), make=True)
        with changing(store, by="alice", what="authority create", now=filling.now) as change:
            made = authority.create(change, "Muster GmbH", ["localhost"])
        ca = folder / "ca.pem"
        ca.write_text(made.certificate_pem)
        begun = time.monotonic()
        events = fill(store, filling)
        print(f"{database.value}: {events} events of {filling.sessions} sessions in {time.monotonic() - begun:.0f} s")
        add_user(store, AdminRole.ADMINISTRATOR)
        backend = BackendProcess(folder, environment, folder / "state")
        try:
            caller = PageCaller(backend.port, str(ca), log_in(store, AdminRole.ADMINISTRATOR))
            parts = examples(store)
            postgres = None if url is None else server().pid
            names = {"partner": parts["partners"], "session": parts["sessions"], "old": f"{filling.now - OLD:%Y-%m-%d}"}
            for path in [path_of(each, parts) for each in looked_at(ROUTES)] + [each.format(**names) for each in LISTS]:
                yield measure(caller, path, answers, backend.process.pid, postgres)
        finally:
            backend.end()
            store.close()


def main() -> None:
    """Fill, measure, and say what misses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--partners", type=int, default=150)
    parser.add_argument("--answers", type=int, default=9)
    parser.add_argument("--database", type=Database, action="append", choices=list(Database))
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    filling = Filling(now=datetime.now(UTC), sessions=told.sessions, partners=told.partners)
    found: dict[str, list[PageFigures]] = {}
    for database in told.database or list(Database):
        print("milliseconds of the middle answer, and octets; a status other than 200 is shown")
        print(f"{'page':48} {'must':>6} {'clock':>6} {'cpu':>6} {'db cpu':>6} {'octets':>9}")
        for each in run(database, filling, told.answers):
            found.setdefault(database.value, []).append(each)
            figures = " ".join(f"{value:6.0f}" for value in (each.must, each.clock, each.cpu, each.database))
            status = "" if each.status == 200 else str(each.status)
            print(f"{each.path:48} {figures} {each.octets:9} {status} {each.misses}".rstrip(), flush=True)
    if told.json is not None:
        told.json.parent.mkdir(parents=True, exist_ok=True)
        told.json.write_text(json.dumps({name: list(map(attrs.asdict, each)) for name, each in found.items()}))
    missed = [f"{name}: {each.path}: {each.misses}" for name, every in found.items() for each in every if each.misses]
    print("\n".join(["", *missed]) if missed else "\nno page misses its bound")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
