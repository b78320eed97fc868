"""The ports that a daemon opens: why one cannot be opened."""

import errno
import os
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.listeners import Listeners, listen_for_clients
from smartproxy.policy.settings import Listener
from tests.adapters.rig import Journal


class FailingReactor(MemoryReactorClock):
    """A reactor that opens no port.

    :ivar error: what the system says.
    """

    error: Any = None

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Part of the interface."""
        raise CannotListenError(interface, port, self.error)


class Failures(SynchronousTestCase):
    """A port that cannot be opened is one event with its cause."""

    def test_causes(self) -> None:
        """Each error of the system has a stable cause, the system's words as message, and an advice."""
        for number, cause in (
            (errno.EADDRINUSE, "port.in_use"),
            (errno.EACCES, "port.not_allowed"),
            (errno.EADDRNOTAVAIL, "port.no_address"),
            (errno.EMFILE, "port.unusable"),
        ):
            reactor = FailingReactor()
            journal = Journal(reactor)
            reactor.error = OSError(number, os.strerror(number))
            Listeners(reactor, Factory, journal.events).have((Listener(address="192.0.2.1", port=6619),), "asked")
            event = journal.the("listener.failed")
            self.assertEqual((event["cause"], event["address"], event["port"]), (cause, "192.0.2.1", 6619))
            self.assertIn(os.strerror(number), str(event["message"]))
            self.assertTrue(event["advice"])

    def test_error_without_a_number(self) -> None:
        """An error that is none of the system's has a cause, too."""
        reactor = FailingReactor()
        journal = Journal(reactor)
        reactor.error = ValueError("no port")
        self.assertRaises(CannotListenError, listen_for_clients, reactor, Factory(), "", 1, journal.events)
        self.assertEqual(journal.the("listener.failed")["cause"], "port.unusable")
