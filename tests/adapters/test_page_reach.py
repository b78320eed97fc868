"""The page at an address of its own: opened and closed by settings, with a certificate that is renewed by itself."""

import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from smartproxy.backend import endings, page_certificate, settings
from smartproxy.backend.certificates import KeyAndChain, certificate_pin, certificates_to_pem, key_to_pem
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import ChangeRefused, Unusable
from smartproxy.backend.generations import changing
from smartproxy.backend.page_reach import PageReach
from smartproxy.backend.rounds import STORE_LOOK_SECONDS
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.policy.causes import Cause
from smartproxy.testing.pki import TestCa
from tests.adapters.api_site import AtOnce
from tests.adapters.test_backend_https import ADDRESS, Tcp
from tests.unit.sites import NOW, SiteCase


class Reached(SiteCase):
    """A backend whose page moves."""

    def setUp(self) -> None:
        """Follow the settings."""
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.ca = TestCa.root("Browsers", valid_from=NOW - timedelta(days=400), valid_until=NOW + timedelta(days=4000))
        self.clock = MemoryReactorClock()
        self.clock.advance(NOW.timestamp())
        self.told: list[dict[str, Value]] = []
        self.reach = PageReach(
            self.store, AtOnce(), Events(Logger(), self.told.append, self.clock, source="backend"), self.clock
        )
        self.page = Resource()
        self.page.admits = lambda request: None  # type: ignore[attr-defined]  # nothing is asked
        self.reach.serve(self.page)  # type: ignore[arg-type]  # any resource
        self.addCleanup(self.reach.stop)

    def set(self, **values: object) -> None:
        """Save settings, and let a look go by."""
        with self.change() as change:
            for key, value in values.items():
                settings.put(change, f"backend.page.{key}", value)
        self.clock.advance(STORE_LOOK_SECONDS)

    def pair(self, name: str) -> KeyAndChain:
        """A key with its certificate and its CA's."""
        issued = self.ca.issue(name)
        return KeyAndChain(key=issued.key, chain=(issued.certificate, self.ca.credential.certificate))

    def write(self, pair: KeyAndChain, key: KeyAndChain | None = None) -> None:
        """Put certificate and key into the file."""
        text = certificates_to_pem(pair.chain) + key_to_pem((key or pair).key)
        (self.folder / "page.pem").write_text(text)

    def shown(self) -> list[str]:
        """The chain that a browser is shown, by SHA-256."""
        (port,) = self.open()
        server, sent = port.buildProtocol(ADDRESS), Tcp()
        server.makeConnection(sent)
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_connect_state()
        for _ in range(4):
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                server.dataReceived(client.bio_read(1 << 16))
            if sent.value():
                client.bio_write(sent.value())
            sent.clear()
        server.connectionLost(Failure(ConnectionDone()))
        return [certificate_pin(each.to_cryptography()) for each in client.get_peer_cert_chain() or ()]

    def open(self) -> list[Any]:
        """What listens."""
        return [server[1] for server in self.clock.tcpServers][-1:] if self.reach.listens_at else []

    def names(self) -> list[str]:
        """The names of what was told since the last time."""
        found = [str(each["name"]) for each in self.told]
        self.told.clear()
        return found

    def test_moves(self) -> None:
        """It is opened where the settings say, shows the authority's certificate, and is closed when they say none."""
        self.assertEqual((self.reach.apart, self.reach.listens_at, self.names()), (False, (), []))
        self.set(address="127.0.0.1", port=4444)
        self.assertTrue(self.reach.apart)
        self.assertEqual(self.clock.tcpServers[-1][0], 4444)
        with self.store.reading() as session:
            issued = page_certificate.of_store(session).shown.certificate
        self.assertEqual(self.shown(), [certificate_pin(issued)])
        self.assertEqual(self.names(), ["page.certificate_used", "listener.opened"])
        self.clock.advance(10 * STORE_LOOK_SECONDS)
        self.assertEqual(self.names(), [])
        self.set(address=None)
        self.assertEqual((self.reach.apart, self.names()), (False, ["listener.closed"]))

    def test_uploaded(self) -> None:
        """What is uploaded is shown with its chain within a second, and what is renewed, and then the authority's."""
        self.set(address="127.0.0.1")
        for name in ("page.example", "again.example"):
            pair = self.pair(name)
            with self.change() as change:
                page_certificate.keep(change, pair)
            self.clock.advance(STORE_LOOK_SECONDS)
            self.assertEqual(self.shown(), [certificate_pin(each) for each in pair.chain])
        self.assertEqual(len(self.clock.tcpServers), 1)
        with self.change() as change:
            page_certificate.forget(change)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(len(self.shown()), 1)

    def test_file(self) -> None:
        """A file comes before what was uploaded; another one in its place is shown within a second."""
        with self.change() as change:
            page_certificate.keep(change, self.pair("uploaded.example"))
        for name in ("page.example", "again.example"):
            pair = self.pair(name)
            self.write(pair)
            self.set(address="127.0.0.1", certificate_file=str(self.folder / "page.pem"))
            self.assertEqual(self.shown(), [certificate_pin(each) for each in pair.chain])
        renewed = self.pair("renewed.example")
        self.write(renewed)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(self.shown()[0], certificate_pin(renewed.chain[0]))

    def test_bad_file(self) -> None:
        """A file that cannot be used leaves what was shown; it is told if it stays so, once for each cause."""
        good = self.pair("page.example")
        self.write(good)
        self.set(address="127.0.0.1", certificate_file=str(self.folder / "page.pem"))
        self.names()
        self.write(self.pair("other.example"), key=good)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(self.names(), [])
        self.clock.pump([STORE_LOOK_SECONDS] * 3)
        self.assertEqual(self.names(), ["page.certificate_failed"])
        (self.folder / "page.pem").unlink()
        self.clock.pump([STORE_LOOK_SECONDS] * 3)
        (told,) = self.told
        self.assertIn("cannot be read: No such file", str(told["message"]))
        self.assertEqual(self.shown()[0], certificate_pin(good.chain[0]))
        self.names()
        self.write(good)
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(self.names(), [])

    def test_never_usable(self) -> None:
        """Without a file that can be used the page is there with the certificate of the store."""
        self.set(address="127.0.0.1", certificate_file="/nowhere/page.pem")
        self.assertEqual(len(self.shown()), 1)

    def test_key_apart(self) -> None:
        """The key may stand in a file of its own."""
        pair = self.pair("page.example")
        (self.folder / "page.pem").write_text(certificates_to_pem(pair.chain))
        (self.folder / "page.key").write_text(key_to_pem(pair.key))
        files = {"certificate_file": str(self.folder / "page.pem"), "key_file": str(self.folder / "page.key")}
        self.set(address="127.0.0.1", **files)
        self.assertEqual(self.shown()[0], certificate_pin(pair.chain[0]))

    def test_files_are_set_here(self) -> None:
        """Which files the backend reads is said on its own machine only."""
        page = changing(self.store, by="alice", what="test", now=NOW, channel=Channel.PAGE)
        with self.assertRaises(ChangeRefused), page as change:
            settings.put(change, "backend.page.key_file", "/etc/shadow")

    def test_refused_upload(self) -> None:
        """A certificate for another key is refused."""
        key, other = self.pair("a.example"), self.pair("b.example")
        with self.assertRaises(Unusable), self.change() as change:
            page_certificate.keep(change, KeyAndChain(key=key.key, chain=other.chain))

    def test_end_is_told(self) -> None:
        """The end of its certificate is told in time, uploaded or of a file, while it has an address of its own."""
        issued = self.ca.issue("page.example", valid_from=NOW - timedelta(days=90), valid_until=NOW + timedelta(days=5))
        pair = KeyAndChain(key=issued.key, chain=(issued.certificate,))

        def told() -> list[str]:
            with self.store.reading() as session:
                return [each.advice for each in endings.known(session) if each.cause is Cause.ENDING_PAGE]

        with self.change() as change:
            page_certificate.keep(change, pair)
        self.assertEqual(told(), [])
        self.set(address="127.0.0.1")
        self.assertIn("page-import", told()[0])
        self.assertEqual(self.reach.until, NOW + timedelta(days=5))
        self.write(pair)
        self.set(certificate_file=str(self.folder / "page.pem"))
        self.assertIn("file", told()[0])
        self.set(certificate_file="/nowhere")
        self.assertEqual(told(), [])
