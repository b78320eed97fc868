"""Where the daemon's database work is done: a small pool of threads of its own, so that nothing else waits for it."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

THREADS_MOST = 4
"""SQLite lets one write at a time and calls are short: more threads would only wait for each other."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner(Protocol):
    """What runs blocking work without holding the reactor; in tests, at once."""

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run the work; the Deferred has its result or its exception."""


class StoreThreads:
    """A :class:`Runner` with threads, between :meth:`start` and :meth:`stop`."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=THREADS_MOST, name="smartproxy-store")

    def start(self) -> None:
        """Make the threads."""
        self._pool.start()

    def stop(self) -> None:
        """End the threads when they have done what they were given."""
        self._pool.stop()

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run the work in a thread."""
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)
