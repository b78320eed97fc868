"""Callers that connect all the time, and count whom nobody took."""

import socket
import threading
from types import TracebackType
from typing import Self

from tests.process.clock import PATIENCE_SECONDS

EVERY_SECONDS = 0.02


class SteadyCallers:
    """One connection after the other to each of some ports, in a thread of its own.

    :param ports: local ones.
    :ivar made: how many connections were made.
    :ivar refused: what was said to the others.
    """

    def __init__(self, *ports: int) -> None:
        self.made = 0
        self.refused: list[str] = []
        self._ports = ports
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._call, name="steady-callers")

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _call(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            for port in self._ports:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
                except OSError as error:
                    self.refused.append(f"{port}: {error}")
                else:
                    self.made += 1
