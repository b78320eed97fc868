"""Settings: names and ranges from the configuration's classes, values judged with the whole document."""

from smartproxy.backend import generations, settings
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.operations import settings as operations
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.policy.configuration import Configuration, parse
from tests.unit.sites import NOW, SiteCase


class Settings(SiteCase):
    """Setting, showing, resetting."""

    def put(self, name: str, value: object) -> None:
        """Set a setting."""
        with self.change(f"settings set {name}") as change:
            settings.put(change, name, value)

    def configured(self) -> Configuration:
        """The configuration in force."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        return parse(found[1])

    def test_every_value_has_a_name(self) -> None:
        """What is in no table is a setting; what has a table is none."""
        names = settings.defaults()
        for name in (
            "server.listeners",
            "server.deadlines.inactivity",
            "server.limits.sessions",
            "server.penalties.exempt",
            "client.station.host",
            "client.station.profile",
            "client.pool.most",
            "client.deadlines.opening",
        ):
            self.assertIn(name, names)
        tables = ("generation", "store", "server.partners", "server.identities", "server.licence")
        for name in (*tables, "station_profile"):
            self.assertNotIn(name, names)

    def test_set_and_reset(self) -> None:
        """A value that was set is in the configuration, until it is reset."""
        self.put("server.deadlines.ssid", 45)
        self.put("server.deadlines.ssid", 50)
        self.put("client.station.host", "192.0.2.20")
        configured = self.configured()
        self.assertEqual((configured.server.deadlines.ssid, configured.client.station.host), (50, "192.0.2.20"))
        for _ in range(2):
            with self.change() as change:
                settings.reset(change, "server.deadlines.ssid")
        self.assertEqual(self.configured().server.deadlines.ssid, settings.default_of("server.deadlines.ssid"))

    def test_out_of_range(self) -> None:
        """A value that the policy does not take is refused with its place and its range, and nothing changes."""
        error = str(self.assertRaises(ChangeRefused, self.put, "server.deadlines.ssid", 100_000))
        self.assertIn("server.deadlines.ssid", error)
        self.assertIn("between 1 and 300", error)
        error = str(self.assertRaises(ChangeRefused, self.put, "server.listeners", [{"address": "x", "port": 1}]))
        self.assertIn("server.listeners[0].address", error)
        self.assertEqual(self.configured().server.deadlines.ssid, 30)

    def test_values_that_contradict(self) -> None:
        """Values that are each in range, but not together, are refused too."""
        self.put("client.pool.most", 10)
        self.assertRaises(ChangeRefused, self.put, "client.pool.ready", 11)

    def test_unknown(self) -> None:
        """A misspelled name is refused with the one that may have been meant."""
        self.assertIn("server.deadlines.ssid", str(self.assertRaises(NotFound, self.put, "server.deadline.ssid", 1)))
        self.assertIn("settings show", str(self.assertRaises(NotFound, self.put, "zzz", 1)))

    def test_listed(self) -> None:
        """The list says value, default, range and whether it was set; a prefix is of whole words."""
        self.put("server.deadlines.ssid", 45)
        with self.store.reading() as session:
            (one,) = settings.listed(session, "server.deadlines.ssid")
            deadlines = settings.listed(session, "server.deadlines")
            everything = settings.listed(session)
            self.assertRaises(NotFound, settings.listed, session, "server.dead")
        self.assertEqual((one.value, one.default, one.is_set, one.range), (45, 30, True, "1 to 300 seconds"))
        self.assertEqual([each.is_set for each in deadlines].count(True), 1)
        used = [each for each in settings.defaults() if each not in settings.UNUSED]
        self.assertEqual([each.name for each in everything], used)

    def test_told(self) -> None:
        """A setting that was set is an event with its name."""
        self.put("server.deadlines.ssid", 45)
        self.assertEqual(self.stored("settings.changed")[-1].fields["names"], ["server.deadlines.ssid"])


class ByOperations(SiteCase):
    """As the API and the page set them."""

    def test_value_that_is_none(self) -> None:
        """A value that a setting of the backend does not take is refused in words, not met as a fault."""
        caller = Caller(name="alice", scopes=frozenset("*"))
        for name, value in (("backend.log.path", "relative.log"), ("backend.log.level", 7), ("backend.mail.port", -1)):
            wanted = operations.SettingValues(items=(operations.SettingValue(name=name, value=value),))
            refused = self.assertRaises(ChangeRefused, perform, self.store, operations.put, wanted, caller, NOW)
            self.assertIn(name.rpartition(".")[2], str(refused))
