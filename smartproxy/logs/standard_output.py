"""Standard output of a daemon: a pipe or a terminal that nobody reads holds up no session.

Once its pipe is full, or somebody pressed Ctrl-S at its terminal, a write waits until that is over. So as soon as the
reactor runs, a thread writes, and lines wait for it within a bound; beyond it the oldest are dropped, counted and told.
The file itself is not made one that does not wait (``O_NONBLOCK``): a terminal is shared with other programs. Files are
written at once, and so is what is logged before the reactor runs, or when the thread has ended.
"""

import os
import select
import stat
import threading
from typing import Any

from twisted.internet.defer import Deferred, succeed

from smartproxy.logs.carrier import WAITING_MOST, Waiting
from smartproxy.logs.observers import AppenderTrouble, Stream
from smartproxy.policy.causes import Cause


class Output:
    """Standard output as a stream that never raises, and waits for nobody while the reactor runs.

    :param most: how many lines may wait.
    """

    def __init__(self, stream: Stream, trouble: AppenderTrouble, most: int = WAITING_MOST) -> None:
        self._stream = stream
        self._trouble = trouble
        self._queue: Waiting[str] = Waiting(most)
        # Held for the queue and for all that follows.
        self._changed = threading.Condition()
        self._apart = self._ending = False
        self._ended: Deferred[None] = Deferred()

    def write(self, text: str, /) -> None:
        """Write a line, or have it written."""
        if self._apart and self._queued(text):
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._failed(error)
        else:
            if self._trouble.cause is not None:
                self._trouble.over()

    def _queued(self, text: str) -> bool:
        """Leave a line to the thread; false if that has ended meanwhile."""
        with self._changed:
            if not self._apart:
                return False
            kept = self._queue.put(text)
            self._changed.notify()
        if not kept:
            self._trouble.failed(Cause.LOG_OVERFLOW, "lines are made faster than they are read")
        return True

    def flush(self) -> None:
        """Nothing is held back."""

    def start(self, reactor: Any) -> None:
        """Have a thread write as soon as the reactor runs, unless it is a file, or none of the system's."""
        descriptor = descriptor_of(self._stream)
        if descriptor is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            reactor.callWhenRunning(self._begin, reactor, descriptor)

    def stop(self) -> Deferred[None]:
        """Fires when all that waits is written."""
        with self._changed:
            self._ending = True
            self._changed.notify()
            return self._ended if self._apart else succeed(None)

    def _begin(self, reactor: Any, descriptor: int) -> None:
        self._apart = True
        # Not to hold up the end of the process: it may wait for a reader for ever.
        threading.Thread(target=self._write, args=(reactor, descriptor), name="smartproxy-output", daemon=True).start()

    def _write(self, reactor: Any, descriptor: int) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        while (text := self._next()) is not None:
            # Not by the stream: the interpreter would wait for its lock at the end.
            octets = text.encode(encoding, "backslashreplace")
            try:
                while octets:
                    octets = octets[os.write(descriptor, octets) :]
            except OSError as error:
                reactor.callFromThread(self._failed, error)
            else:
                if self._trouble.cause is not None and not self._queue:
                    reactor.callFromThread(self._trouble.over)
        reactor.callFromThread(self._ended.callback, None)

    def _next(self) -> str | None:
        """The next line; ``None`` when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ending)
            if not self._queue:
                self._apart = False
                return None
            return self._queue.popleft()

    def _failed(self, error: Exception) -> None:
        self._trouble.failed(Cause.LOG_FILE, str(error) or type(error).__name__)


def descriptor_of(stream: Stream) -> int | None:
    """The open file of the system that a stream writes to; ``None`` where there is none."""
    try:
        descriptor: int = getattr(stream, "fileno")()  # noqa: B009  Not every stream has it.
        os.fstat(descriptor)
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor


def takes(stream: Stream) -> bool:
    """Whether a stream takes a short line at once: it waits for no reader."""
    descriptor = descriptor_of(stream)
    if descriptor is None:
        return True
    asked = select.poll()
    asked.register(descriptor, select.POLLOUT)
    return bool(asked.poll(0))
