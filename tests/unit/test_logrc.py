"""The file that says what is logged, and where to."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs import logrc
from smartproxy.logs.logrc import (
    Appender,
    DailyFiles,
    DatagramSyslog,
    LogLayout,
    Logrc,
    LogrcRefused,
    OneFile,
    SecureSyslog,
    StandardOutput,
    StreamSyslog,
    Syslog,
    parse,
)
from smartproxy.logs.severity import Severity
from smartproxy.net import files
from smartproxy.testing.pki import TestCa
from tests.unit.odd_files import block, der_of

FOLDER = Path("/etc/smartproxy")


class Good(SynchronousTestCase):
    """What it may say."""

    def only(self, text: str) -> Appender:
        """The one appender of a file."""
        appenders = parse(f"[[appenders]]\n{text}", FOLDER).appenders
        assert appenders is not None
        (appender,) = appenders
        return appender

    def test_nothing(self) -> None:
        """An empty file leaves everything as usual; an empty list of appenders is none."""
        self.assertEqual(parse("", FOLDER), Logrc({}, None))
        self.assertEqual(parse("appenders = []", FOLDER).appenders, ())

    def test_levels(self) -> None:
        """By category, in any case; TOML wants the star in quotes."""
        levels = parse('[levels]\n"*" = "WARNING"\nsession = "trace"\nfaults-of-the-program = "fatal"', FOLDER).levels
        self.assertEqual(
            levels, {"*": Severity.WARNING, "session": Severity.TRACE, "faults-of-the-program": Severity.FATAL}
        )

    def test_appenders(self) -> None:
        """Each kind with its usual values."""
        self.assertEqual(self.only('type = "stdout"'), StandardOutput())
        self.assertEqual(self.only('type = "daily"'), DailyFiles())
        self.assertEqual(self.only('type = "file"\npath = "x"'), OneFile(path=FOLDER / "x", layout=LogLayout.JSON))
        self.assertEqual(self.only('type = "syslog"\nhost = "::1"'), DatagramSyslog(host="::1", port=514, facility=3))
        for cls, port in ((StreamSyslog, 601), (SecureSyslog, 6514)):
            self.assertEqual(
                self.only(f'type = "syslog"\nhost = "log.example"\ntransport = "{cls.transport}"'),
                cls(host="log.example", port=port, facility=3),
            )

    def test_all_keys(self) -> None:
        """Each kind with all that it takes."""
        both = 'layout = "json"\nlevel = "error"\ncategories = ["connections", "session"]'
        common = {
            "layout": LogLayout.JSON,
            "level": Severity.ERROR,
            "categories": frozenset({"connections", "session"}),
        }
        self.assertEqual(
            self.only(f'type = "daily"\nfolder = "/var/log/x"\nkeep = 7\n{both}'),
            DailyFiles(folder=Path("/var/log/x"), keep=7, **common),  # type: ignore[arg-type]  # one dict for all
        )
        self.assertEqual(self.only('type = "daily"\nkeep = 0'), DailyFiles(keep=0))
        authority = Path(self.mktemp()).absolute()
        authority.write_bytes(TestCa.root("ca").certificate_pem)
        text = (
            f'type = "syslog"\ntransport = "tls"\nhost = "h"\nport = 1\nfacility = "local7"\nca = "{authority}"\n{both}'
        )
        found = self.only(text)
        assert isinstance(found, Syslog)
        self.assertEqual((found.port, found.facility, found.ca), (1, 23, authority.read_text()))


class Wrong(SynchronousTestCase):
    """What it may not say."""

    def faults(self, text: str) -> tuple[str, ...]:
        """The lines of its refusal."""
        refused: LogrcRefused = self.assertRaises(LogrcRefused, parse, text, FOLDER)
        return refused.faults

    def test_each_fault_has_its_place(self) -> None:
        """All are found at once."""
        text = """
        colour = "red"
        [levels]
        session = "loud"
        sessiom = "info"
        tunnel = 7
        [[appenders]]
        type = "daily"
        keep = -1
        folder = 3
        [[appenders]]
        type = "syslog"
        transport = "udp"
        host = "log.example"
        port = 99999
        facility = "news"
        ca = "/x"
        [[appenders]]
        type = "syslog"
        transport = "tls"
        host = "a b"
        ca = "/no/such/file"
        [[appenders]]
        type = "pigeon"
        [[appenders]]
        layout = "xml"
        [[appenders]]
        type = "file"
        layout = "xml"
        level = "loud"
        categories = ["weather"]
        [[appenders]]
        type = "stdout"
        categories = []
        keep = true
        """
        faults = self.faults(text)
        places = [fault.partition(":")[0] for fault in faults]
        self.assertEqual(
            sorted(places),
            sorted(
                [
                    "colour",
                    "levels.session",
                    "levels.sessiom",
                    "levels.tunnel",
                    "appenders[1].keep",
                    "appenders[1].folder",
                    "appenders[2].host",
                    "appenders[2].port",
                    "appenders[2].facility",
                    "appenders[2].ca",
                    "appenders[3].host",
                    "appenders[3].ca",
                    "appenders[4].type",
                    "appenders[5].type",
                    "appenders[6].layout",
                    "appenders[6].level",
                    "appenders[6].categories[1]",
                    "appenders[6].path",
                    "appenders[7].categories",
                    "appenders[7].keep",
                ]
            ),
        )
        self.assertTrue(all("\n" not in fault for fault in faults))

    def test_wrong_shapes(self) -> None:
        """Tables that are none, and what is not TOML, with its line."""
        self.assertEqual(self.faults("levels = 3"), ("levels: is not a table",))
        self.assertEqual(self.faults("appenders = 3"), ("appenders: is not a list of tables; write [[appenders]]",))
        self.assertEqual(self.faults("appenders = [3]"), ("appenders[1]: is not a table",))
        self.assertIn("line 2", self.faults("[levels]\nsession = info")[0])
        self.assertIn("not TOML", self.faults("a = " + "[" * 5000)[0])
        self.assertIn("not TOML", self.faults("a = " + "9" * 5000)[0])
        self.assertIn("is missing", self.faults('[[appenders]]\ntype = "syslog"')[0])
        self.assertIn("udp needs", self.faults('[[appenders]]\ntype = "syslog"\nhost = "localhost"')[0])

    def test_files_that_are_none(self) -> None:
        """A file that is missing, too large, or no text is refused by its name."""
        path = Path(self.mktemp())
        self.assertIn(f"{path}: No such file", str(self.assertRaises(LogrcRefused, logrc.load, path, files.read)))
        path.write_bytes(b"\xff")
        self.assertIn(f"{path}: not UTF-8", str(self.assertRaises(LogrcRefused, logrc.load, path, files.read)))
        path.write_bytes(b"#" * (logrc.SIZE_MOST + 1))
        self.assertIn("larger than", str(self.assertRaises(LogrcRefused, logrc.load, path, files.read)))
        path.write_text("x = 1")
        self.assertEqual(
            self.assertRaises(LogrcRefused, logrc.load, path, files.read).faults,
            (f"{path}: x: no such key; known here: appenders, levels",),
        )
        path.write_text('\ufeff[[appenders]]\ntype = "file"\npath = "x"')
        self.assertEqual(
            logrc.load(path.absolute(), files.read).appenders,
            (OneFile(path=path.absolute().parent / "x", layout=LogLayout.JSON),),
        )

    def test_certificates_that_are_none(self) -> None:
        """A ca file without a certificate, or with one that cannot be read: refused before any log is opened."""
        path = Path(self.mktemp()).absolute()
        broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        good = TestCa.root("ca").certificate_pem
        der = der_of(TestCa.root("Teletex").credential.certificate)
        odd = block("CERTIFICATE", der.replace(b"\x0c\x07Teletex", b"\x02\x07Teletex"))
        for octets in (b"x", b"\xff", b"-----BEGIN CERTIFICATE-----", broken, good + broken, odd):
            path.write_bytes(octets)
            text = f'[[appenders]]\ntype = "syslog"\ntransport = "tls"\nhost = "h"\nca = "{path}"'
            self.assertIn("holds no certificate", self.faults(text)[0])
