"""Loads on their way: from a client to the backend, which keeps its own, too."""

from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import licences, loads
from smartproxy.backend.loads import NodeKind, OwnLoad
from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable
from smartproxy.client.told_loads import ToldLoads
from smartproxy.policy.loads import SERVERS_TOLD_MOST, TELL_SECONDS, ServerLoad, ToldLoad
from tests.adapters.api_site import ApiCase
from tests.adapters.rig import Journal
from tests.unit.sites import NOW, PROXY_ID

OWN = ToldLoad(cpu=3, memory=80, sessions=1, sessions_most=9)
THEIRS = ToldLoad(cpu=250, sessions=4)


class Taking:
    """A backend that takes what it is given, unless it fails, or keeps its caller waiting."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.answer: Deferred[None] | None = None
        self.taken: list[tuple[ToldLoad, Sequence[ServerLoad]]] = []

    async def loads(self, own: ToldLoad, servers: Sequence[ServerLoad]) -> None:
        """Part of the API."""
        self.taken.append((own, servers))
        if self.answer is not None:
            await self.answer
        if self.failure is not None:
            raise self.failure


class Told(SynchronousTestCase):
    """What a client tells."""

    def setUp(self) -> None:
        """Start it, with a server that has told its load and one that has not."""
        self.clock, self.backend = Clock(), Taking()
        self.journal = Journal(self.clock)
        self.reached = True
        self.controls: list[Any] = [
            SimpleNamespace(proxy_id=PROXY_ID, load=THEIRS),
            SimpleNamespace(proxy_id="f" * 64 + "px", load=None),
        ]
        self.told = ToldLoads(
            self.clock,
            self.journal.events,
            cast(Backend, self.backend),
            own=lambda: OWN,
            controls=lambda: self.controls,
            reached=lambda: self.reached,
        )
        self.told.start()

    def test_told(self) -> None:
        """Every minute; a fault of the backend changes nothing; not after the end."""
        self.clock.advance(TELL_SECONDS)
        self.assertEqual(self.backend.taken, [(OWN, [ServerLoad(proxy_id=PROXY_ID, load=THEIRS)])])
        for failure in (BackendUnavailable("away"), BackendRefused(500, "api.internal", "broken")):
            self.backend.failure = failure
            self.clock.advance(TELL_SECONDS)
        self.assertEqual(len(self.backend.taken), 3)
        self.assertEqual(self.journal.records, [])
        self.told.stop()
        self.clock.advance(TELL_SECONDS)
        self.assertEqual((len(self.backend.taken), self.clock.getDelayedCalls()), (3, []))

    def test_away(self) -> None:
        """A backend that is away is not called."""
        self.reached = False
        self.clock.advance(TELL_SECONDS)
        self.assertEqual(self.backend.taken, [])
        self.reached = True
        self.clock.advance(TELL_SECONDS)
        self.assertEqual(len(self.backend.taken), 1)

    def test_many(self) -> None:
        """Of no more servers than the backend takes."""
        self.controls = [SimpleNamespace(proxy_id=f"{each:064x}px", load=THEIRS) for each in range(200)]
        self.clock.advance(TELL_SECONDS)
        self.assertEqual(len(self.backend.taken[0][1]), SERVERS_TOLD_MOST)

    def test_backend_of_before(self) -> None:
        """One that does not know the call is not asked again for an hour: it would write each down."""
        self.backend.failure = BackendRefused(404, "api.path", "no such path")
        self.clock.advance(TELL_SECONDS)
        self.clock.advance(3599)
        self.assertEqual(len(self.backend.taken), 1)
        self.backend.failure = None
        for _ in range(3):
            self.clock.advance(TELL_SECONDS)
        self.assertEqual(len(self.backend.taken), 4)

    def test_slow(self) -> None:
        """One call at a time; the end does not wait for it."""
        self.backend.answer = Deferred()
        self.clock.advance(TELL_SECONDS)
        self.clock.advance(TELL_SECONDS)
        self.assertEqual(len(self.backend.taken), 1)
        self.told.stop()
        self.assertEqual(self.journal.records, [])

    def test_bug(self) -> None:
        """A bug is reported as one, and the next report comes."""
        self.backend.failure = ZeroDivisionError()
        self.clock.advance(TELL_SECONDS)
        self.backend.failure = None
        self.clock.advance(TELL_SECONDS)
        self.assertEqual((len(self.backend.taken), self.journal.names()), (2, ["internal.error"]))


class Taken(ApiCase):
    """What the backend does with it."""

    def known(self) -> dict[tuple[str, str], ToldLoad]:
        """What is kept."""
        with self.store.reading() as session:
            return {(kind.value, name): load for (kind, name), load in loads.known(session, NOW).items()}

    def test_kept(self) -> None:
        """A client's own load, and those of servers with a licence of the site; the newest counts."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=9), limits={})
        stranger = {"proxy_id": "f" * 64 + "px", "load": {"cpu": 1}}
        for cpu in (9, 250):
            servers = [{"proxy_id": PROXY_ID, "load": {"cpu": cpu, "sessions": 4}}, stranger]
            answer = self.call("POST", "/loads", {"own": {"cpu": 3}, "servers": servers})
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.known(), {("client", "inner"): ToldLoad(cpu=3), ("server", PROXY_ID): THEIRS})

    def test_wrong(self) -> None:
        """A call with anything that no load can be is refused, and nothing of it is kept."""
        good = {"proxy_id": PROXY_ID, "load": {}}
        wrongs: tuple[dict[str, Any], ...] = (
            {},
            {"own": {}},
            {"own": {"cpu": -1}, "servers": []},
            {"own": {"cpu": 10**9}, "servers": []},
            {"own": {"words": "x"}, "servers": []},
            {"own": {}, "servers": [{**good, "proxy_id": "<script>"}]},
            {"own": {}, "servers": [good] * (SERVERS_TOLD_MOST + 1)},
        )
        for wrong in wrongs:
            self.assertEqual(self.call("POST", "/loads", wrong).status, 400, wrong)
        self.assertEqual(self.known(), {})

    def test_own(self) -> None:
        """A backend tells its own load, again and again while it listens."""
        place: list[str | None] = [None]
        own = OwnLoad(self.store, self.runner(), self.events, self.clock, lambda: place[0])
        own.start()
        self.assertEqual(self.known(), {})
        place[0] = "machine :: 8443"
        self.clock.advance(TELL_SECONDS)
        ((kind, name),) = self.known()
        self.assertEqual((kind, name), (NodeKind.BACKEND.value, "machine :: 8443"))
        self.successResultOf(own.stop())
        self.assertIsNotNone(self.known()[kind, name].cpu)
