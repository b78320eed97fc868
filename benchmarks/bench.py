"""The measurements of a comparison: what is sent, in which order, and what is kept of it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs
import figures
import shares
from measures import Load, LoadFailed, Proxy

ENDLESS: Final = 10**13
"""Octets of a file that ends when its time is over."""

CARRIED_SECONDS: Final = 0.8
"""Until the events of a session are stored."""

DEATH_SESSIONS: Final = 100
"""Sessions that rest when a worker is killed."""

WORKER_SHARE: Final = 0.1
"""Of a core: what each worker may use where it is measured whether more of them bring more."""

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
    :param proxies: what is compared, the base of all ratios first and SmartProxy last.
    :ivar rows: what was measured.
    """

    def __init__(self, load: Load, proxies: Sequence[Proxy], *, rounds: int, seconds: float, quick: bool) -> None:
        self.rows: list[figures.Row] = []
        self.load = load
        self.proxies = proxies
        self._direct = Proxy(figures.DIRECT, load.station_port, None, None)
        self.rounds, self.seconds, self.quick = rounds, seconds, quick

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

    def arrangements(self) -> None:
        """What processes cost, and what they bring: memory, new sessions, large files, idle sessions, and a death."""
        self.rest()
        self.new_sessions()
        for kind in (Bulk(buffer=65535, sessions=8), Bulk(buffer=2048, sessions=8)):
            self._stream(kind)
        self.idle()
        self.held_workers()
        self.deaths()

    def rest(self) -> None:
        """Memory before there is any session."""
        for proxy in self.proxies:
            proxy.look()
            self.keep(
                "at rest", "since the start", proxy, 0, dict(zip(("outer", "inner"), proxy.resident(), strict=True))
            )

    def small_files(self) -> None:
        """Files of 1,000 octets, one after the other in one session."""
        files = 1000 if self.quick else 3000
        with self.station(buffer=2048, credit=64):
            for number, proxy in self.turns([self._direct, *self.proxies]):
                self._measure("small files", f"{files} files", proxy, number, files=files, buffer=2048, credit=64)

    def new_sessions(self) -> None:
        """Sessions with one small file, eight at a time."""
        options = {"buffer": 2048, "credit": 64, "seconds": self.seconds, "sessions": 10**6, "parallel": 8}
        with self.station(buffer=2048, credit=64):
            for number, proxy in self.turns(self.proxies):
                self._measure("new sessions", "8 at a time, one file each", proxy, number, **options)

    def bulk(self) -> None:
        """Large files."""
        for kind in QUICK if self.quick else FULL:
            self._stream(kind)

    def _stream(self, kind: Bulk) -> None:
        shared = {"buffer": kind.buffer, "credit": kind.credit, "layout": kind.layout}
        with self.station(**shared):
            for number, proxy in self.turns(self.proxies):
                options = {**shared, "parallel": kind.sessions, "seconds": self.seconds, "size": ENDLESS}
                self._measure("bulk", kind.cell, proxy, number, settle=0.1, **options)

    def held_workers(self) -> None:
        """Large files and new sessions by workers that have a small share of a core each, and others all they need."""
        if not shares.possible():
            self.say("workers cannot be held to a share of a core here")
            return
        counted = [proxy for proxy in self.proxies if proxy.name.endswith(("worker", "workers"))]
        options: dict[str, Any] = {"credit": 64, "seconds": max(self.seconds, 3.0)}
        streams = {**options, "buffer": 65535, "parallel": 16, "size": ENDLESS}
        calls = {**options, "buffer": 2048, "parallel": 16, "sessions": 10**6}
        for test, cell, sent in (
            ("held streams", "65535 octets, 16 sessions", streams),
            ("held sessions", "16 at a time, one file each", calls),
        ):
            with self.station(buffer=sent["buffer"], credit=64):
                for number, proxy in self.turns(counted):
                    with shares.held(proxy.all_workers(), WORKER_SHARE):
                        self._measure(test, cell, proxy, number, **sent)

    def deaths(self) -> None:
        """Kill a worker of the outer hop while sessions rest: how many are lost, and when the next one is there."""
        with self.station(buffer=2048, credit=64):
            for proxy in self.proxies:
                workers = proxy.workers()
                if not workers:
                    continue
                took: list[float] = []

                def kill(proxy: Proxy = proxy, took: list[float] = took) -> None:
                    before = set(proxy.workers())
                    begun = time.monotonic()
                    os.kill(min(before), signal.SIGKILL)
                    while time.monotonic() < begun + QUIET_SECONDS:
                        if set(proxy.workers()) - before:
                            took.append((time.monotonic() - begun) * 1e3)
                            return
                        time.sleep(0.005)

                left = self.load.survivors(proxy, kill, files=0, parallel=DEATH_SESSIONS, buffer=2048, credit=64)
                self.keep("death", f"{DEATH_SESSIONS} sessions", proxy, 0, {"lost": DEATH_SESSIONS - left})
                for milliseconds in took:
                    self.keep("replacement", f"{DEATH_SESSIONS} sessions", proxy, 0, {"ms": milliseconds})

    def idle(self) -> None:
        """Memory of sessions that do nothing; the second time, since the first one leaves room for the next."""
        sessions = 200 if self.quick else 1000
        with self.station(buffer=2048, credit=64):
            for proxy in self.proxies:
                proxy.look()
                before = proxy.resident()
                during: list[tuple[int, int]] = []

                def look(proxy: Proxy = proxy, during: list[tuple[int, int]] = during) -> None:
                    self.pause(QUIET_SECONDS)
                    during.append(proxy.resident())

                resting = self.load.rest(proxy, look, files=0, parallel=sessions, buffer=2048, credit=64, shaking=32)
                outer, inner = ((after - base) / resting for base, after in zip(before, during[0], strict=True))
                self.keep("idle sessions", f"{sessions} sessions", proxy, 0, {"outer": outer, "inner": inner})

    @contextmanager
    def station(self, **options: Any) -> Iterator[None]:
        """Have a station for the time being."""
        station = self.load.station(**options)
        try:
            yield
        finally:
            station.terminate()
            station.wait()

    def turns(self, proxies: Sequence[Proxy]) -> Iterator[tuple[int, Proxy]]:
        """Yield each of them in each round, with the round's number."""
        for proxy in proxies:
            proxy.look()
        for number in range(self.rounds):
            for proxy in proxies:
                yield number, proxy

    def _measure(self, test: str, cell: str, proxy: Proxy, number: int, settle: float = 0, **options: Any) -> None:
        try:
            result = self.load.run(proxy, settle=settle or CARRIED_SECONDS, **options)
        except LoadFailed as failed:
            self.say(f"{test}, {cell}, {proxy.name}: {failed}")
        else:
            self.keep(test, cell, proxy, number, result)

    def keep(self, test: str, cell: str, proxy: Proxy, number: int, result: dict[str, Any]) -> figures.Row:
        """Keep a measurement; the row, which can be added to."""
        if not number and proxy in (self._direct, self.proxies[0]):
            self.say(f"{test}: {cell}")
        self.rows.append({"test": test, "cell": cell, "pair": proxy.name, "round": number, **result})
        return self.rows[-1]

    @staticmethod
    def say(words: str) -> None:
        """Tell whoever waits."""
        print(f"bench: {words}", file=sys.stderr)

    @staticmethod
    def pause(seconds: float) -> None:
        """Let processes come to rest."""
        time.sleep(seconds)
