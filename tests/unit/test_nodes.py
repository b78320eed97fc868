"""``smartproxy nodes`` and its operation: what the store knows of servers, clients and backends."""

from datetime import UTC, datetime, timedelta
from typing import Any

from smartproxy.backend import clients, loads
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.journal import keep
from smartproxy.backend.loads import NodeKind, backend_place
from smartproxy.backend.operations import nodes
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.requests import LoadsTold
from smartproxy.backend.sighting_tables import NodeLoadRow
from smartproxy.backend.store import Store
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.record import Record
from smartproxy.policy.loads import ServerLoad, ToldLoad
from smartproxy.policy.permissions import AdminRole
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, PROXY_ID

OTHER = "f" * 64 + "px"
LATE = datetime.now(UTC).year + 8
"""A year in which a licence may end."""


class Nodes(CommandCase):
    """Events and calls of daemons, and what is made of them."""

    def setUp(self) -> None:
        """A client, and the store."""
        super().setUp()
        self.do("client", "add", "inside-1")
        self.do("client", "add", "inside-2")
        self.store = Store.open(self.location)
        self.addCleanup(self.store.close)
        self.sequence = 0

    def tell(self, name: str, source: str, seconds: int = 0, client: str = "inside-1", **fields: Any) -> None:
        """A daemon tells an event that happened some seconds after NOW; it arrives a second later."""
        self.sequence += 1
        time = NOW + timedelta(seconds=seconds)
        event = {"name": name, "source": source, "sequence": self.sequence, "time": time.isoformat(), **fields}
        received = NOW + timedelta(seconds=seconds + 1)
        self.assertEqual(ClientRequests(self.store).keep_events(client, [event], received).refused, [])

    def call(self, *names: str, minutes: int = 8) -> None:
        """Clients call, so many minutes after NOW."""
        with self.store.writing() as session:
            for name in names:
                clients.note_call(session, name, NOW + timedelta(minutes=minutes), "1.1", "10.0.0.5")

    def found(self) -> nodes.KnownNodes:
        """What is known ten minutes later."""
        auditor = Caller(name="alice", scopes=AdminRole.AUDITOR.scopes)
        return perform(self.store, nodes.listed, Nothing(), auditor, NOW + timedelta(minutes=10)).answer

    def test_servers(self) -> None:
        """A server has the version, the address and the tunnels that its clients tell of, and its licence."""
        self.do("licence", "issue", PROXY_ID, "--until", f"{LATE}-01-01")
        up = {"host": "dmz", "peer": "192.0.2.1:443", "version": "1.0", "proxy_id": PROXY_ID}
        self.tell("tunnel.up", "client", 1, theirs="0.9", **up)
        self.tell(
            "tunnel.down", "client", 2, host="dmz", peer="192.0.2.1:443", cause="tunnel.lost", message="it was lost"
        )
        self.tell("tunnel.up", "client", 3, theirs="1.1", **up)
        self.tell("tunnel.up", "client", 4, "inside-2", theirs="1.1", **up)
        self.tell(
            "tunnel.down",
            "client",
            5,
            "inside-2",
            host="dmz",
            peer="192.0.2.1:443",
            cause="tunnel.lost",
            message="lost",
        )
        self.tell("server.started", "server", 6, version="1.1", proxy_id=OTHER)
        self.call("inside-1", "inside-2")
        first, second = self.found().servers
        self.assertEqual((first.proxy_id, first.version, first.address), (PROXY_ID, "1.1", "192.0.2.1:443"))
        told = {each.client: (each.up, each.since, each.cause) for each in first.tunnels}
        self.assertEqual(told["inside-1"], (True, NOW + timedelta(seconds=3), None))
        self.assertEqual(told["inside-2"], (False, NOW + timedelta(seconds=5), "lost"))
        self.assertEqual((first.licence_until or NOW).year, LATE)
        self.assertEqual(
            (second.proxy_id, second.version, second.tunnels, second.licence_until), (OTHER, "1.1", (), None)
        )
        self.assertEqual(second.last_seen, NOW + timedelta(seconds=6))

    def test_silent(self) -> None:
        """How a tunnel is, is not known while its client does not call: what it told last may be long ago."""
        self.tell("tunnel.up", "client", 1, host="dmz", peer="192.0.2.1:443", proxy_id=PROXY_ID)
        self.call("inside-1", minutes=1)
        self.assertEqual([each.up for each in self.found().servers[0].tunnels], [None])
        self.assertIn("inside-1 not known", self.do("nodes").out)
        (tunnel,) = self.do("nodes", "--json").json["servers"][0]["tunnels"]
        self.assertIsNone(tunnel["up"])
        self.call("inside-1", minutes=70)
        self.assertEqual(
            [each.up for each in self.found().servers[0].tunnels], [None], "noted while the clock was ahead"
        )
        self.call("inside-1")
        self.assertEqual([each.up for each in self.found().servers[0].tunnels], [True])

    def test_clients(self) -> None:
        """A client has its last call, the sessions of an hour, and how far its clock is from the backend's."""
        with self.store.writing() as session:
            clients.note_call(session, "inside-1", NOW + timedelta(minutes=8), "1.1", "10.0.0.5")
            clients.note_call(session, "inside-2", NOW, "1.0", "10.0.0.6")
        self.tell("session.started", "client", 60, session="a" * 16, partner="ACME")
        self.tell("session.started", "server", 60, session="a" * 16, partner="ACME")
        self.tell("session.started", "client", -4000, session="b" * 16, partner="ACME")
        first, second = self.found().clients
        self.assertEqual((first.name, first.calls, first.version, first.address), ("inside-1", True, "1.1", "10.0.0.5"))
        self.assertEqual((first.sessions, first.clock_difference, second.sessions), (1, 1000, 0))
        self.assertEqual((second.calls, second.clock_difference), (False, None))
        self.assertEqual(self.found().server_clock_difference, 1000)
        ahead = {"name": "tunnel.down", "source": "client", "sequence": 9, "cause": "tunnel.lost", "host": "dmz"}
        ClientRequests(self.store).keep_events(
            "inside-1", [{**ahead, "time": (NOW + timedelta(seconds=90)).isoformat()}], NOW
        )
        self.assertEqual(self.found().clients[0].clock_difference, -90_000)

    def test_backends(self) -> None:
        """A backend has its place and the time of its start."""
        checked = look_up("backend.started").check({"version": "1.1", "address": "::", "port": 8443, "path": "/srv"})
        for seconds in (0, 5):
            with self.store.writing() as session:
                keep(
                    session,
                    [Record("backend.started", NOW + timedelta(seconds=seconds), "backend", None, checked)],
                    NOW,
                )
        (backend,) = self.found().backends
        self.assertEqual((backend.address, backend.version, backend.path), ("[::]:8443", "1.1", "/srv"))
        self.assertEqual(backend.started, NOW + timedelta(seconds=5))

    def test_loads(self) -> None:
        """Each node has the load that it told last, for some minutes; servers without a licence have none."""
        self.do("licence", "issue", PROXY_ID, "--until", f"{LATE}-01-01")
        own, theirs = ToldLoad(cpu=3, memory=80, sessions=1, sessions_most=9), ToldLoad(cpu=250, sessions=4)
        told = [ServerLoad(proxy_id=name, load=theirs) for name in (PROXY_ID, OTHER)]
        self.tell("server.started", "server", 1, version="1.1", proxy_id=OTHER)
        requests = ClientRequests(self.store)
        requests.keep_loads("inside-1", LoadsTold(own=ToldLoad(cpu=99), servers=()), NOW + timedelta(minutes=8))
        requests.keep_loads("inside-1", LoadsTold(own=own, servers=tuple(told)), NOW + timedelta(minutes=8))
        found = self.found()
        self.assertEqual([each.load for each in found.servers], [theirs, None])
        self.assertEqual([each.load for each in found.clients], [own, None])
        requests.keep_loads("inside-1", LoadsTold(own=own, servers=tuple(told)), NOW + timedelta(minutes=6))
        self.assertEqual([each.load for each in self.found().clients], [None, None])
        requests.keep_loads("inside-1", LoadsTold(own=own, servers=tuple(told)), NOW + timedelta(minutes=14))
        self.assertEqual([each.load for each in self.found().clients], [None, None], "while the clock was ahead")
        with self.store.writing() as session:
            loads.keep(session, {(NodeKind.CLIENT, "inside-2"): own}, NOW + timedelta(days=2))
            self.assertEqual(session.query(NodeLoadRow).count(), 1)

    def start_backend(self, host: str | None, seconds: int, load: ToldLoad | None = None) -> None:
        """A backend starts on a machine, and tells its load nine minutes later."""
        place: dict[str, Any] = {"address": "::", "port": 8443} | ({} if host is None else {"host": host})
        checked = look_up("backend.started").check({"version": "1.1", **place})
        record = Record("backend.started", NOW + timedelta(seconds=seconds), "backend", None, checked)
        with self.store.writing() as session:
            keep(session, [record], NOW)
            if load is not None:
                name = backend_place(host, "::", 8443)
                loads.keep(session, {(NodeKind.BACKEND, name): load}, NOW + timedelta(minutes=9))

    def test_own_loads(self) -> None:
        """Backends of one database have their own loads, also where they listen alike; former names are left out."""
        self.start_backend("old", 1)
        self.start_backend(None, 2)
        self.start_backend("one", 3, ToldLoad(cpu=1))
        self.start_backend("two", 4, ToldLoad(cpu=2))
        found = self.found()
        told = [("two", ToldLoad(cpu=2)), ("one", ToldLoad(cpu=1))]
        # A database in a backend's own folder is its alone.
        expected = told if found.database == "postgresql" else told[:1]
        self.assertEqual([(each.host, each.load) for each in found.backends], expected)

    def test_command(self) -> None:
        """The command tells the same, for people and for scripts."""
        self.do("licence", "issue", PROXY_ID, "--until", f"{LATE}-01-01")
        requests = ClientRequests(self.store)
        busy = ToldLoad(cpu=7, memory=80, sessions=4, sessions_most=500)
        servers = (ServerLoad(proxy_id=PROXY_ID, load=busy),)
        requests.keep_loads("inside-1", LoadsTold(own=ToldLoad(sessions=1), servers=servers), datetime.now(UTC))
        said = self.do("nodes").out
        self.assertIn("sessions 4 of 500, CPU 7 %, 80 MiB", said)
        self.assertIn("sessions 1 ", said)
        for words in (
            PROXY_ID[:12],
            f"{LATE}-01-02" if f"{LATE}-01-02" in said else f"{LATE}-01-01",
            "inside-1",
            "never",
        ):
            self.assertIn(words, said)
        document = self.do("nodes", "--json").json
        self.assertEqual(document["servers"][0]["proxy_id"], PROXY_ID)
        self.assertEqual([each["name"] for each in document["clients"]], ["inside-1", "inside-2"])
