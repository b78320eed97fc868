"""How cost grows with the size of buffers, with sessions at the same time, and with the size of files.

Each row has ``test`` "growth", ``curve`` and ``x``; a file of the largest sizes is sent once only.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import figures
from bench import ENDLESS, QUIET_SECONDS, Bench
from measures import LoadFailed, Proxy

BUFFERS: Final = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65535, 99999)
SESSIONS: Final = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000, 1900)
"""At the same time. A client has 2,000 data connections at most, and some of them serve sessions that are ending."""

SIZES: Final = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9, 10**10)

WARM: Final = 0.005
"""Seconds for each session until all have begun their files."""

MANY: Final = 250
"""From so many sessions on, one round has to do: opening them takes long."""

SENT: Final = 2 * 10**8
"""Octets that the files of one measurement have together, if not one alone has more."""

LARGE: Final = 10**9
"""Files from this size on are sent once, by the two programs that matter most."""


def run(bench: Bench) -> None:
    """Measure all curves."""
    bench.rest()
    _buffers(bench)
    _sessions(bench)
    _sizes(bench)


def _buffers(bench: Bench) -> None:
    for size in BUFFERS:
        shared = {"buffer": size, "credit": 999}
        with bench.station(**shared):
            for number, proxy in bench.turns(bench.proxies):
                options = {**shared, "parallel": 8, "seconds": bench.seconds, "size": ENDLESS}
                _measure(bench, "buffers", size, proxy, number, partial(bench.load.run, proxy, settle=0.1, **options))


def _sessions(bench: Bench) -> None:
    shared = {"buffer": 16384, "credit": 16}
    for sessions in SESSIONS:
        with bench.station(**shared):
            for number, proxy in bench.turns(bench.proxies):
                if number and sessions >= MANY:
                    continue
                before, during = proxy.resident(), [0]

                def look(resting: int, proxy: Proxy = proxy, during: list[int] = during) -> None:
                    bench.pause(QUIET_SECONDS if resting >= MANY else 0)
                    during[0] = sum(proxy.resident())

                options = {**shared, "parallel": sessions, "size": ENDLESS}
                seconds = bench.seconds * (3 if sessions >= MANY else 1)
                load = partial(bench.load.run_together, proxy, 0.5 + WARM * sessions, seconds, look, **options)
                row = _measure(bench, "sessions", sessions, proxy, number, load)
                if row is not None:
                    row["resident"] = (during[0] - sum(before)) / sessions


def _sizes(bench: Bench) -> None:
    shared = {"buffer": 65535, "credit": 99}
    with bench.station(**shared):
        for size in SIZES:
            files = max(1, min(300, SENT // size))
            for number, proxy in bench.turns(bench.proxies):
                if size >= LARGE and (number or proxy not in (bench.proxies[0], bench.proxies[-1])):
                    continue
                before = sum(proxy.resident())
                load = partial(bench.load.run, proxy, settle=0.8, files=files, size=size, **shared)
                row = _measure(bench, "sizes", size, proxy, number, load)
                if row is not None:
                    row["resident"] = sum(proxy.resident()) - before


def _measure(
    bench: Bench, curve: str, x: int, proxy: Proxy, number: int, load: Callable[[], dict[str, float]]
) -> figures.Row | None:
    try:
        result = load()
    except LoadFailed as failed:
        bench.say(f"{curve}, {x}, {proxy.name}: {failed}")
        return None
    return bench.keep("growth", f"{curve}: {x}", proxy, number, {"curve": curve, "x": x, **result})
