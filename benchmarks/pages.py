"""How fast the admin page answers on a store full of events: each page's first answers, and their size.

    python benchmarks/pages.py [--sessions 100000] [--partners 150] [--answers 9] [--database sqlite|postgresql]

A real backend on loopback, called over https as a browser calls it. The first page, with all that it is made of, may
have 100 KB and take 200 ms; each other page 300 ms. It ends with status 1 and the names of those that miss. Run it
where ``tests`` can be imported.
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
from datetime import UTC, datetime
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
ASSET: Final = re.compile(r'(?:src|href)="(/static/[^"]+)"')


@attrs.frozen(kw_only=True)
class PageFigures:
    """What one page took.

    :ivar octets: of the document; of the first page, with all that it is made of.
    """

    path: str
    status: int
    milliseconds: tuple[float, ...]
    octets: int

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.milliseconds)

    @property
    def most(self) -> float:
        """The longest."""
        return max(self.milliseconds)

    @property
    def misses(self) -> str:
        """What is missed, if something is."""
        first = self.path == "/"
        wrong = []
        if self.status != 200:
            wrong.append(f"status {self.status}")
        if self.median > (FIRST_MS if first else LIST_MS):
            wrong.append(f"more than {FIRST_MS if first else LIST_MS} ms")
        if first and self.octets > FIRST_OCTETS:
            wrong.append(f"more than {FIRST_OCTETS} octets")
        return ", ".join(wrong)


def looked_at(routes: tuple[Route, ...]) -> list[Route]:
    """The routes that answer with a page or a part of one, and to users alone."""
    return [route for route in routes if route.method == "GET" and "event-stream" not in route.path]


def measure(caller: PageCaller, path: str, answers: int) -> PageFigures:
    """Ask for a page several times."""
    times = []
    for _ in range(answers):
        begun = time.perf_counter()
        answer = caller.get(path, Accept_Encoding="gzip")
        times.append((time.perf_counter() - begun) * 1000)
    octets = len(answer.body)
    if path == "/" and answer.headers.get("content-encoding") != "gzip":
        octets += sum(len(caller.get(each, Accept_Encoding="gzip").body) for each in set(ASSET.findall(answer.text)))
    return PageFigures(path=path, status=answer.status, milliseconds=tuple(times), octets=octets)


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
            for route in looked_at(ROUTES):
                yield measure(caller, path_of(route, parts), answers)
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
        print(f"{'page':48} {'p50 ms':>8} {'max ms':>8} {'octets':>9}")
        for each in run(database, filling, told.answers):
            found.setdefault(database.value, []).append(each)
            print(f"{each.path:48} {each.median:8.0f} {each.most:8.0f} {each.octets:9} {each.misses}", flush=True)
    if told.json is not None:
        told.json.parent.mkdir(parents=True, exist_ok=True)
        told.json.write_text(json.dumps({name: list(map(attrs.asdict, each)) for name, each in found.items()}))
    missed = [f"{name}: {each.path}: {each.misses}" for name, every in found.items() for each in every if each.misses]
    print("\n".join(["", *missed]) if missed else "\nno page misses its bound")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
