"""A worker of the server, and connections that its supervisor takes back."""

import socket
from typing import Any
from unittest.mock import Mock, call

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.server.words import Displaced, Left, PartnerCame
from smartproxy.server.worker import ServerCraft
from tests.adapters.rig import Journal
from tests.adapters.tunnel_kit import authority, identity


class Reactor(Clock):
    """A clock, and the streams that it would read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.addReader = self.readers.append
        self.removeReader = self.removeWriter = lambda stream: None


class Displacing(SynchronousTestCase):
    """One connection, which makes room for another one."""

    def test_before_its_hello_is_whole(self) -> None:
        """It is closed, and the supervisor is told that it has left: it would keep it for as long as the worker lives.

        A second word about it has no effect.
        """
        reactor = Reactor()
        journal = Journal(reactor)
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        worker: Any = Mock(reactor=reactor, events=journal.events)
        worker.link.take_socket = lambda: ours
        craft = ServerCraft(worker, identity(), authority().certificate_pem.decode("ascii"))
        craft.sessions.generation = Mock(server=ServerConfiguration())
        answers = craft.responders()
        answers[PartnerCame](visit=7, host="192.0.2.7", port=40000, known=0, age=0)
        theirs.send(b"\x16\x03")
        (stream,) = reactor.readers
        stream.doRead()
        for _ in range(2):
            answers[Displaced](visit=7)
        reactor.advance(0)
        self.assertEqual(theirs.recv(1), b"")
        self.assertEqual(worker.link.tell.call_args_list, [call(Left, visit=7)])
        self.assertEqual(journal.the("connection.refused")["cause"], Cause.QUOTA_DISPLACED)
