"""The client's copy: a start while the backend cannot be reached, and what the file is worth to others."""

import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable, Document
from smartproxy.client.condition import ClientCondition
from smartproxy.client.copy import CopyFile, CopyRefused, Kept
from smartproxy.client.service import FLUSH_SECONDS, ClientService
from smartproxy.client.token import TokenInForce
from smartproxy.logs.emit import Events
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import first_certificate_in
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.limits import CLOCK_TOLERANCE_SECONDS, RETRY_SECONDS_MOST
from smartproxy.testing.pki import CLIENT_AUTH
from smartproxy.tunnel.credential import ClientCredential
from tests.adapters.test_client_service import AnsweringBackend, ClientTestCase, generation
from tests.adapters.tunnel_kit import Events as SeenEvents
from tests.adapters.tunnel_kit import authority, credential
from tests.unit.odd_files import block, of_no_version

TOKEN, URL = "spc_" + "A" * 43, "https://backend.example"
DOWN = BackendUnavailable("connection refused")


class CopyCase(ClientTestCase):
    """A client that keeps a copy, and can be started again."""

    def setUp(self) -> None:
        """Construct it; nothing is started."""
        super().setUp()
        self.path = Path(self.mktemp())
        self.service = self.client()

    def client(self, token: str = TOKEN) -> ClientService:
        """Another start of the client."""
        return ClientService(
            self.network.clock,
            backend=cast(Backend, self.backend),
            servers=[HostPort("dmz.example", 2878)],
            copy=lambda events: CopyFile(self.path, TokenInForce(token), URL, events),
            endpoint=lambda reactor, host, port: cast(IStreamClientEndpoint, self.endpoint),
        )

    def restart(self, token: str = TOKEN, *, failure: Exception | None = DOWN, lost: bool = True) -> None:
        """End the client as a crash does, and start it again; the server forgets its configuration meanwhile."""
        self.service._upkeep.stop()
        for tunnel in self.service.tunnels:
            tunnel.stopService()
        self.network.settle()
        if lost:
            self.server.user.in_force = GenerationId()
        self.told: list[dict[str, Any]] = []
        self.backend.failure = failure
        self.service = self.client(token)
        carry = self.service.events.forward
        assert carry is not None

        def tell(event: dict[str, Any]) -> None:
            self.told.append(event)
            carry(event)

        self.service.events.forward = tell
        self.start()

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of a name since the restart."""
        return [event for event in self.told if event["name"] == name]


class Starting(CopyCase):
    """A start without the backend."""

    def test_goes_on(self) -> None:
        """The tunnel comes up and the server has its generation; event and status tell of the copy and its age."""
        self.backend.document = generation(7, "1" * 16, station={"host": "station.example"})
        self.start()
        self.network.clock.advance(3600)
        self.restart()
        self.assertEqual([each["generation"] for each in self.brought()], [7, 7])
        (used,) = self.named("copy.used")
        self.assertEqual((used["generation"], round(used["age"] / 60), used["level"]), (7, 60, "warning"))
        self.assertEqual(len(self.named("backend.unreachable")), 1)
        configuration = self.service.configuration
        assert configuration is not None
        self.assertEqual(configuration.station.host, "station.example")
        status: Any = ClientCondition(self.service, lambda: datetime.now(UTC) + timedelta(hours=1)).status()
        found = {each.verdict: each for each in status.findings}
        self.assertEqual((found["copy"].health, found["backend-down"].health), ("degraded", "degraded"))
        self.assertIn("60 minutes old", found["copy"].advice)
        self.assertEqual((status.generation, status.generation_from), (7, "a copy"))

    def test_backend_that_comes_back(self) -> None:
        """What the backend says counts as soon as it says it; also a lower generation of another store."""
        self.backend.document = generation(7, "1" * 16)
        self.start()
        self.restart()
        requests = len(self.backend.requests)
        self.backend.failure = None
        self.backend.change(generation(3, "2" * 16))
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual([each["generation"] for each in self.brought()], [7, 7, 3])
        self.assertIsNone(self.service.copied)
        self.assertEqual(len(self.backend.requests), requests + 1, "it gets a certificate of its own")
        self.restart()
        self.assertEqual(self.named("copy.used")[0]["generation"], 3)

    def set_back(self) -> list[str | None]:
        """Have the backend be one that was set back from 10 to 8, and learns so from a client; what it is asked by."""
        known, asked = str(self.backend.number), list[str | None]()

        async def configuration(etag: str | None, wait: int = 50) -> Document | None:
            self.backend.fail()
            asked.append(etag)
            if etag == known:
                self.backend.change(generation(9, "2" * 16))
            return await AnsweringBackend.configuration(self.backend, etag, wait)

        self.backend.number += 1
        self.backend.document = generation(8, "1" * 16)
        self.patch(self.backend, "configuration", configuration)
        return asked

    def test_backend_that_was_set_back(self) -> None:
        """The backend is told which generation the copy is: by that it learns that it was set back itself."""
        self.backend.document = generation(10, "1" * 16)
        self.start()
        self.restart()
        known = str(self.backend.number)
        asked = self.set_back()
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual(asked[0], known)
        self.assertEqual([each["generation"] for each in self.brought()], [10, 10, 9])
        self.assertEqual(self.named("configuration.refused"), [])

    def test_copy_put_in_force_while_the_backend_is_asked(self) -> None:
        """An answer to a question without the copy's generation does not count when the copy is in force by then."""
        self.backend.document = generation(10, "1" * 16)
        self.start()
        asked = self.set_back()
        answered, hello = self.backend.configuration, self.backend.hello
        failed, late = Deferred[None](), Deferred[None]()
        calls: list[Deferred[None]] = [failed]

        async def configuration(etag: str | None, wait: int = 50) -> Document | None:
            document = await answered(etag, wait)
            await late
            return document

        async def first_fails() -> Mapping[str, Any]:
            if calls:
                await calls.pop()
            return await hello()

        self.patch(self.backend, "configuration", configuration)
        self.patch(self.backend, "hello", first_fails)
        self.restart(failure=None)
        failed.errback(DOWN)
        self.assertEqual((asked, len(self.named("copy.used"))), ([None], 1))
        late.callback(None)
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual([each["generation"] for each in self.brought()], [10, 10, 9])
        self.assertEqual(self.named("configuration.refused"), [])

    def test_backend_without_news(self) -> None:
        """A backend that has the copy's generation as its newest confirms it: then it is no copy, and is kept anew."""
        self.start()
        self.restart()
        saved = self.kept().saved
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertIsNone(self.service.copied)
        assert self.service.held is not None
        self.assertEqual((self.service.held.generation, self.service.held.by), (1, URL))
        self.assertGreater(self.kept().saved, saved)
        self.assertEqual(self.kept().etag, "1")
        self.assertEqual(len(self.named("configuration.accepted")), 1)

    def test_copy_of_an_older_version(self) -> None:
        """A copy that does not say what the backend knows its generation by is used; what the backend says counts."""
        self.backend.document = generation(10, "1" * 16)
        self.start()
        copy = self.service._copy
        assert copy is not None
        self.path.write_bytes(copy._sealed(attrs.evolve(self.kept(), etag=None)))
        self.restart()
        self.backend.failure = None
        self.backend.change(generation(8, "1" * 16))
        self.network.advance(RETRY_SECONDS_MOST)
        self.assertEqual(len(self.named("copy.used")), 1)
        assert self.service.held is not None
        self.assertEqual((self.service.held.generation, self.service.copied), (8, None))

    def kept(self) -> Kept:
        """What the file holds."""
        kept = CopyFile(self.path, TokenInForce(TOKEN), URL, self.service.events).load(datetime.now(UTC))
        assert kept is not None
        return kept

    def test_backend_that_is_there(self) -> None:
        """The copy is not looked at while the backend answers, and not when it is lost later."""
        self.start()
        self.restart(failure=None)
        self.backend.failure = DOWN
        self.backend.change(generation(2))
        self.network.advance(60)
        self.assertEqual((self.named("copy.used"), self.service.copied), ([], None))

    def test_backend_that_refuses(self) -> None:
        """A backend that refuses the token or the version is there; one whose store is broken is as good as away."""
        self.start()
        for status, code, used in ((401, "api.token", 0), (426, "api.version", 0), (503, "api.store", 1)):
            self.restart(failure=BackendRefused(status, code, "no"))
            self.assertEqual((len(self.named("copy.used")), len(self.service.tunnels)), (used, used), code)

    def test_removed(self) -> None:
        """A client that hears that it was removed has no copy any more."""
        self.start()
        self.assertTrue(self.path.exists())
        self.backend.failure = BackendRefused(401, "api.removed", "the client was removed or disabled")
        self.backend.change(generation(2))
        self.assertFalse(self.path.exists())

    def test_removed_without_hearing(self) -> None:
        """The copy of a client that a server shuts out brings nothing there: its certificate counts no more."""
        self.start()
        self.service._upkeep.stop()
        control = self.control()
        self.server.tunnel._withdrawn = lambda client: client.name == "inner-1"
        self.server.tunnel.shut_out()
        self.restart()
        self.network.advance(30)
        self.assertEqual(len(self.named("copy.used")), 1)
        self.assertIsNotNone(control.lost)
        self.assertEqual((self.service._tunnels.controls, len(self.brought())), ({}, 1))
        self.assertEqual(self.server.events.named("tunnel.refused")[0]["cause"], Cause.TUNNEL_WITHDRAWN)

    def test_server_that_has_a_generation(self) -> None:
        """A copy is not brought to a server that holds a generation, even of another store: another client did."""
        self.backend.document = generation(7, "1" * 16)
        self.start()
        other = self.server.user.in_force = GenerationId(3, "2" * 16)
        self.restart(lost=False)
        self.assertEqual(len(self.named("copy.used")), 1)
        self.assertEqual((self.server.user.in_force, len(self.brought())), (other, 1))
        self.control()

    def test_renewed(self) -> None:
        """A certificate that was renewed is in the copy, too."""
        self.start()
        before = self.path.read_bytes()
        self.service._certified(self.other(), frozenset())
        self.assertNotEqual(self.path.read_bytes(), before)
        self.assertEqual(self.kept().credential, self.other())

    def test_token_changed(self) -> None:
        """With a new token the copy is written anew: it is what the client starts with next."""
        self.start()
        copy = self.service._copy
        assert copy is not None
        copy._token._read = lambda: "spc_new"
        self.assertTrue(copy._token.renewed(TOKEN, 0.0))
        events = cast(Events, SeenEvents())
        self.assertRaises(CopyRefused, CopyFile(self.path, TokenInForce(TOKEN), URL, events).load, datetime.now(UTC))
        self.assertIsNotNone(CopyFile(self.path, TokenInForce("spc_new"), URL, events).load(datetime.now(UTC)))

    def other(self) -> ClientCredential:
        """Another credential."""
        if not hasattr(self, "_other"):
            self._other = credential(authority().issue("inner-1", purposes=[CLIENT_AUTH]))
        return self._other

    def test_none_wanted(self) -> None:
        """With ``client.copy_hours`` 0 there is no copy, and one of before is removed."""
        self.start()
        self.assertTrue(self.path.exists())
        self.backend.change(generation(2, copy_hours=0))
        self.assertFalse(self.path.exists())
        self.restart()
        self.assertEqual((self.named("copy.used"), self.named("copy.refused")), ([], []))
        self.assertEqual(self.service.tunnels, [])


class TheFile(CopyCase):
    """What the file is worth."""

    def setUp(self) -> None:
        """A copy of a running client."""
        super().setUp()
        self.backend.document = generation(7, station={"host": "station.example"})
        self.start()
        self.present = datetime.now(UTC)

    def load(self, token: str = TOKEN, url: str = URL, now: datetime | None = None) -> Kept | None:
        """Read it."""
        return CopyFile(self.path, TokenInForce(token), url, cast(Events, SeenEvents())).load(now or self.present)

    def refused(self, cause: Cause = Cause.COPY_UNREADABLE, **given: Any) -> str:
        """See that it is refused; the words."""
        refusal: CopyRefused = self.assertRaises(CopyRefused, self.load, **given)
        self.assertIs(refusal.cause, cause)
        return refusal.message

    def test_says_nothing_without_the_token(self) -> None:
        """It is the owner's alone, holds nothing to be read, and opens with this token only, whole and unchanged."""
        octets = self.path.read_bytes()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        for word in (b"station.example", b"PRIVATE", b"CERTIFICATE", b"generation", TOKEN.encode()):
            self.assertNotIn(word, octets)
        self.assertIsNotNone(self.load())
        self.refused(token="spc_" + "B" * 43)
        self.assertIn("another backend", self.refused(url="https://other.example"))
        for position in range(0, len(octets), 61):
            self.path.write_bytes(octets[:position] + bytes([octets[position] ^ 1]) + octets[position + 1 :])
            self.refused()
            self.path.write_bytes(octets[:position])
            self.refused()

    def test_written_anew_each_time(self) -> None:
        """Two copies of the same have nothing in common but their length: salt and nonce are fresh."""
        before = self.path.read_bytes()
        self.service._keep()
        after = self.path.read_bytes()
        self.assertEqual(len(before), len(after))
        self.assertNotEqual(before[17:45], after[17:45])

    def test_age(self) -> None:
        """It is good for as long as the setting and the certificate allow, and not before it was made."""
        kept = self.load()
        assert kept is not None
        hour = timedelta(hours=1)
        self.refused(Cause.COPY_OLD, now=kept.saved - hour)
        tolerance = timedelta(seconds=CLOCK_TOLERANCE_SECONDS)
        self.assertIsNotNone(self.load(now=kept.saved - tolerance))
        self.refused(Cause.COPY_OLD, now=kept.saved - tolerance - timedelta(seconds=1))
        self.refused(Cause.COPY_OLD, now=kept.until + timedelta(seconds=1))
        short = attrs.evolve(kept.configuration, client=attrs.evolve(kept.configuration.client, copy_hours=2))
        self.assertEqual(attrs.evolve(kept, configuration=short).until, kept.saved + 2 * hour)
        self.assertLessEqual(kept.until, kept.saved + 168 * hour)

    def test_certificate_that_cannot_be_read(self) -> None:
        """A copy with such a certificate is refused like any that is damaged."""
        kept = self.load()
        assert kept is not None
        odd = block("CERTIFICATE", of_no_version(first_certificate_in(kept.credential.certificate))).decode()
        damaged = attrs.evolve(kept, credential=attrs.evolve(kept.credential, certificate=odd))
        copy = CopyFile(self.path, TokenInForce(TOKEN), kept.url, cast(Events, SeenEvents()))
        self.path.write_bytes(copy._sealed(damaged))
        self.assertIn("damaged", self.refused())

    def test_no_plain_file(self) -> None:
        """A link, a folder and a pipe in its place are refused, and no file is none."""
        target = self.path.with_name("target")
        self.path.rename(target)
        self.assertIsNone(self.load())
        self.path.symlink_to(target)
        self.refused()
        self.path.unlink()
        self.path.mkdir()
        self.refused()

    def test_cannot_be_written(self) -> None:
        """A folder that takes no file is told of, and the client goes on."""
        self.service._copy = CopyFile(self.path / "no" / "such", TokenInForce(TOKEN), URL, self.service.events)
        self.service._keep()
        (told,) = self.stored("copy.write_failed")
        self.assertEqual(told["cause"], "copy.unwritable")
        self.control()

    def test_disk_that_hangs(self) -> None:
        """A disk that does not answer holds neither the client nor its end up; what waits is done in order."""
        begun: list[Callable[[], None]] = []
        hanging: list[Deferred[None]] = []

        def in_thread(work: Callable[[], None]) -> Deferred[None]:
            begun.append(work)
            hanging.append(Deferred())
            return hanging[-1]

        self.service._copy = CopyFile(self.path, TokenInForce(TOKEN), URL, self.service.events, in_thread=in_thread)
        for _ in range(3):
            self.service._keep()
        self.assertEqual(len(begun), 1)
        hanging[0].callback(None)
        self.assertEqual(len(begun), 2)
        stopped = self.service.stopService()
        self.network.advance(FLUSH_SECONDS + 1)
        self.network.advance(FLUSH_SECONDS + 1)
        self.successResultOf(stopped)

    def test_damaged(self) -> None:
        """A client that finds it damaged says so and waits for the backend."""
        self.path.write_bytes(b"x")
        self.restart()
        (told,) = self.named("copy.refused")
        self.assertEqual(told["cause"], "copy.unreadable")
        self.assertEqual(self.service.tunnels, [])
        self.backend.failure = None
        self.network.advance(RETRY_SECONDS_MOST)
        self.control()
