"""What a daemon does not use is not in its memory, and what lives for each session takes little of it."""

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net import connection
from smartproxy.net.deadline import Deadline
from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import Inbox, LegEnd
from smartproxy.net.tls.verdict import Verification
from smartproxy.net.transport import tls
from smartproxy.net.transport.facts import TlsFacts
from smartproxy.net.transport.thrift import RestingTls
from smartproxy.oftp2 import codec
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.policy.admission import Visit
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.relay.events import Arrived, SharedEnd
from smartproxy.relay.legs import Legs
from smartproxy.relay.openings import CallWish, Opening, SessionFacts
from smartproxy.relay.reports import FileLedger, Reporter
from smartproxy.relay.session import Session
from smartproxy.server.worker import DistantVisit
from smartproxy.tunnel.data import DataLeg
from smartproxy.tunnel.marks import Attach, End, MarkSplitter, RawSplitter
from tests.process.clock import PATIENCE_SECONDS
from tests.unit.samples import ssid

NOBODY = [
    "alembic",
    "docutils",
    "hypothesis",
    "idlelib",
    "jinja2",
    "mako",
    "multiprocessing",
    "pydoc",
    "readline",
    "smartproxy.backend",
    "smartproxy.testing",
    "sqlalchemy",
    "sqlite3",
    "tkinter",
    "twisted.conch",
    "twisted.mail",
    "twisted.names",
    "twisted.trial",
    "twisted.words",
    "unittest",
    "xml",
]
"""Modules that neither server nor client uses."""

WITHOUT = {
    "server": (*NOBODY, "hyperlink", "smartproxy.client", "treq", "twisted.cred", "twisted.web", "wsgiref"),
    "client": (*NOBODY, "smartproxy.server"),
    "plain_server": (*NOBODY, "hyperlink", "smartproxy.client", "treq", "twisted.cred", "twisted.web"),
    "plain_client": (*NOBODY, "hyperlink", "smartproxy.server", "treq", "twisted.cred", "twisted.web"),
}
"""By daemon: modules whose memory it must not take, nor what they import."""


class Imports(SynchronousTestCase):
    """A daemon imports what it uses."""

    def test_what_daemons_do_not_use(self) -> None:
        """What ``twistd`` loads for a daemon has none of these in it, and nothing below them."""
        paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        for daemon, unused in WITHOUT.items():
            program = (
                f"import sys, twisted.scripts.twistd, twisted.internet.reactor, smartproxy.tap.{daemon};"
                "print(*sys.modules)"
            )
            loaded = subprocess.run(
                [sys.executable, "-c", program],
                env=paths,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=PATIENCE_SECONDS,
            ).stdout.split()
            self.assertIn(f"smartproxy.tap.{daemon}", loaded)
            found = [each for each in loaded for name in unused if each == name or each.startswith(f"{name}.")]
            self.assertEqual(found, [], daemon)


class Slots(SynchronousTestCase):
    """Each session has some thirty objects, and a thousand sessions may be quiet for hours."""

    def test_no_dictionaries(self) -> None:
        """What lives as long as a session, or is made for each of its events, has no dictionary of attributes."""
        for kind in (
            Arrived,
            Attach,
            CallWish,
            CertificateFacts,
            ChainFacts,
            DataLeg,
            Deadline,
            DistantVisit,
            End,
            FileLedger,
            Inbox,
            LegEnd,
            Legs,
            MarkSplitter,
            Monitor,
            Opening,
            RawSplitter,
            Reporter,
            RestingTls,
            Session,
            SessionDriver,
            SessionFacts,
            SharedEnd,
            TlsFacts,
            Verification,
            VerifiedPartner,
            Visit,
            connection._SendSide,
            tls.TlsTransport,
            tls._SendSide,
        ):
            self.assertEqual(kind.__dictoffset__, 0, kind)


class Quiet(SynchronousTestCase):
    """What a session holds while nothing happens."""

    def test_what_was_observed(self) -> None:
        """A monitor keeps nothing of a command that it has told, nor the password in the Responder's SSID."""
        monitor = Monitor()
        monitor.judge(Role.RESPONDER, SSRM_BUFFER)
        told = [
            monitor.judge(role, frame(codec.encode(ssid(pswd=password)))).observations[0]
            for role, password in ((Role.INITIATOR, "FIRST"), (Role.RESPONDER, "SECOND"))
        ]
        answer = told[1].value
        # The list and the call hold each; the observation, the name here and the call hold the answer.
        self.assertEqual([sys.getrefcount(told[0]), sys.getrefcount(told[1])], [2, 2])
        self.assertEqual(sys.getrefcount(answer), 3)
