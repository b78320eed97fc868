"""The backend's first start: an empty store, a link, and what changes when the site is there."""

import contextlib
from socket import gethostname
from typing import Any, cast
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import authority
from smartproxy.backend.authority import SiteAuthority
from smartproxy.backend.errors import StoreBusy
from smartproxy.backend.first_start import (
    PREFIX,
    SITE_LOOK_SECONDS,
    AwaitedSite,
    SetupLink,
    reached_by,
    temporary_identity,
)
from smartproxy.backend.location import Location
from smartproxy.backend.operations import nodes
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.service import BackendService
from smartproxy.backend.store import StoreThreads
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.loads import TELL_SECONDS
from smartproxy.policy.permissions import AdminRole
from tests.adapters.api_site import AtOnce
from tests.unit.sites import NOW, SiteCase

AT = HostPort("127.0.0.1", 8443)


class Link(SynchronousTestCase):
    """The link."""

    def setUp(self) -> None:
        """Make one that was not handed out yet."""
        self.clock = Clock()
        self.link = SetupLink(self.clock)

    def made(self) -> str:
        """Hand it out; its token."""
        link = self.link.made(AT)
        begin = f"https://127.0.0.1:8443/setup/{PREFIX}"
        self.assertTrue(link.startswith(begin), link)
        return link.rpartition("/")[2]

    def test_admits(self) -> None:
        """It admits its own token, as long as it lives, until it is closed; of the token only a digest is kept."""
        self.assertFalse(self.link.admits(""))
        token = self.made()
        self.assertEqual(len(token), len(PREFIX) + 43)
        self.assertTrue(self.link.admits(token))
        self.assertNotIn(token, repr(self.link))
        for other in ("", token[:-1], token.swapcase(), self.made().replace(PREFIX, "")):
            self.assertFalse(self.link.admits(other), other)
        token = self.made()
        self.clock.advance(limits.SETUP_LINK_SECONDS - 1)
        self.assertTrue(self.link.admits(token))
        self.clock.advance(1)
        self.assertFalse(self.link.admits(token) or self.link.open)

    def test_last(self) -> None:
        """Only the newest works, and none after its work is done."""
        first, second = self.made(), self.made()
        self.assertEqual([self.link.admits(first), self.link.admits(second)], [False, True])
        self.link.close()
        self.assertFalse(self.link.admits(second) or self.link.open)


class Identity(SynchronousTestCase):
    """The temporary certificate."""

    def test_names(self) -> None:
        """It is for the name that the link has, and for loopback; what is no name is left out."""
        for host, first in (("192.0.2.7", "192.0.2.7"), ("proxy.example", "proxy.example"), ("a b", "localhost")):
            certificate = temporary_identity(host, NOW).certificate
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            self.assertEqual(str(next(iter(names)).value), first)
            self.assertIn("127.0.0.1", [str(each.value) for each in names])
            self.assertTrue(certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc)

    def test_reached_by(self) -> None:
        """A port at all addresses is called by the machine's name."""
        with patch("socket.gethostname", return_value="inside"):
            found = [reached_by(each) for each in ("", "0.0.0.0", "::", "127.0.0.1", "proxy.example")]
        self.assertEqual(found, ["inside", "inside", "inside", "127.0.0.1", "proxy.example"])


class StartedCase(SiteCase):
    """A backend that has started on the store, without threads."""

    def setUp(self) -> None:
        """Start it, without threads."""
        super().setUp()
        self.logged: list[LogEvent] = []
        keep = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)
        for name, replacement in (("run", AtOnce.run), ("start", lambda pool: None), ("stop", lambda pool: None)):
            patched = patch.object(StoreThreads, name, replacement)
            patched.start()
            self.addCleanup(patched.stop)
        self.reactor = MemoryReactorClock()
        self.service = BackendService(self.reactor, self.location, "127.0.0.1", 8443)
        self.service.startService()
        self.addCleanup(lambda: self.successResultOf(self.service.stopService()))

    def shown(self) -> x509.Certificate:
        """The certificate that a new connection is shown."""
        ((_, factory, _, _),) = self.reactor.tcpServers
        port: Any = factory
        context = port.tls._context
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        server = SSL.Connection(context, None)
        client.set_connect_state()
        server.set_accept_state()
        for _ in range(4):
            for one, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(65536))
        certificate = client.get_peer_certificate()
        assert certificate is not None
        return certificate.to_cryptography()


class EmptyStore(StartedCase):
    """A backend whose store is empty."""

    founded = False

    def test_starts(self) -> None:
        """It listens, says on the console and in its log by which link, and runs nothing by itself."""
        (link, about) = self.service.invitation
        self.assertIn(f"https://127.0.0.1:8443/setup/{PREFIX}", link)
        self.assertIn("12 hours", link)
        shown = self.shown().fingerprint(hashes.SHA256()).hex(":").upper()
        self.assertIn(f"SHA-256 fingerprint is {shown}", about)
        lines = [str(each.get("line")) for each in self.logged]
        self.assertTrue(link in lines and about in lines)
        self.assertIsNone(self.service.duty)
        self.assertNotIn(link.rpartition("/")[2].encode(), self.held())

    def test_site_arrives(self) -> None:
        """When the site is there, new connections get its certificate, and the duties start; nothing is asked again."""
        self.reactor.advance(SITE_LOOK_SECONDS)
        self.assertEqual(self.stored("backend.site_found"), [])
        with self.change("authority create") as change:
            made = authority.create(change, "Muster GmbH", [])
        self.assertNotEqual(self.shown(), made.https_certificate)
        self.reactor.advance(SITE_LOOK_SECONDS)
        self.assertEqual(self.shown(), made.https_certificate)
        assert self.service.duty is not None and self.service.site is not None
        self.assertTrue(self.service.duty.here)
        self.assertEqual(self.service.site.site, "Muster GmbH")
        (found,) = self.stored("backend.site_found")
        self.assertEqual(found.fields["site"], "Muster GmbH")
        self.reactor.advance(SITE_LOOK_SECONDS)
        self.assertEqual(len(self.stored("backend.site_found")), 1)


class SiteWithoutUsers(StartedCase):
    """A store with a site that commands made."""

    def test_own_load(self) -> None:
        """A backend tells its own load every minute, under the place that its start names."""
        self.reactor.advance(TELL_SECONDS)
        caller = Caller(name="alice", scopes=AdminRole.AUDITOR.scopes)
        known = perform(self.store, nodes.listed, Nothing(), caller, now(self.reactor)).answer
        (backend,) = known.backends
        self.assertEqual(backend.host, gethostname())
        assert backend.load is not None
        self.assertIsNotNone(backend.load.cpu)

    def test_no_link(self) -> None:
        """Nobody is invited by a link; the log says which command makes an administrator."""
        self.assertEqual(self.service.invitation, ())
        self.assertIn("smartproxy user add NAME --role administrator", "".join(map(str, self.logged)))
        self.assertFalse(self.service._link.open)
        assert self.service.duty is not None
        self.assertTrue(self.service.duty.here)


class NoFolder(SynchronousTestCase):
    """A folder that is not there."""

    def test_made(self) -> None:
        """The store is made, for its owner only."""
        location = Location.of(self.mktemp(), environment={})
        service = BackendService(MemoryReactorClock(), location, "127.0.0.1", 8443)
        with patch.object(StoreThreads, "run", AtOnce.run), patch.object(StoreThreads, "start"):
            service.startService()
            self.successResultOf(service.stopService())
        assert location.file is not None
        self.assertEqual(location.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(location.directory.stat().st_mode & 0o777, 0o700)


class Looking(SiteCase):
    """Looking for a site while the store has its moods."""

    founded = False

    def test_busy(self) -> None:
        """A store that is busy is asked again; a fault is told."""
        clock = Clock()
        told: list[dict[str, Value]] = []
        found: list[SiteAuthority] = []
        events = Events(Logger(), told.append, clock, source="backend")
        awaited = AwaitedSite(self.store, AtOnce(), events, clock, found.append)
        with patch.object(awaited, "_load", side_effect=[StoreBusy(), ValueError("x"), None]):
            awaited.start()
            clock.advance(SITE_LOOK_SECONDS)
            clock.advance(SITE_LOOK_SECONDS)
        self.assertEqual([each["name"] for each in told], ["internal.error"])
        with self.change("authority create") as change:
            authority.create(change, "Muster GmbH", [])
        clock.advance(SITE_LOOK_SECONDS)
        self.assertEqual([each.site for each in found], ["Muster GmbH"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        awaited.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
