"""Old logrc files, in log4c's XML, become ours; what has no counterpart is said."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs import log4c, logrc
from smartproxy.logs.log4c import Converted, Log4cRefused, convert
from smartproxy.logs.logrc import DailyFiles, DatagramSyslog, LogLayout, Logrc, LogrcRefused, OneFile, StandardOutput
from smartproxy.logs.severity import Severity
from tests.unit.commands import CommandCase

HEAD = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE log4c SYSTEM "">\n'
OLD = (
    HEAD
    + """<log4c version="1.2.1">
  <config><bufsize>0</bufsize><debug level="0"/><nocleanup>0</nocleanup><reread>1</reread></config>
  <category name="root" priority="notice"/>
  <category name="os4x_proxyserver" priority="debug" appender="daily"/>
  <appender name="daily" type="os4x_appender" logdir="/opt/os4x/log" prefix="proxyserver" layout="os4x"/>
  <appender name="stdout" type="stream" layout="basic"/>
  <layout name="os4x" type="os4x_layout"/>
  <layout name="basic" type="basic"/>
</log4c>
"""
)


class Conversion(SynchronousTestCase):
    """What becomes of a file."""

    def convert(self, inside: str) -> Converted:
        """Convert a file with these elements."""
        return convert(f"{HEAD}<log4c>{inside}</log4c>".encode("latin-1"))

    def read(self, inside: str) -> Logrc:
        """What the new file says."""
        return logrc.parse(self.convert(inside).text, Path("/state"))

    def noted(self, inside: str, *words: str) -> None:
        """See that a note with each of these words is there, also in the new file."""
        converted = self.convert(inside)
        for each in words:
            self.assertTrue([note for note in converted.notes if each in note], (each, converted.notes))
        for note in converted.notes:
            self.assertIn(f"# {note}\n", converted.text)

    def test_old_site(self) -> None:
        """The file of an old server: its level, its daily file; unused appenders and log4c's own settings are named."""
        converted = convert(OLD.encode("latin-1"))
        found = logrc.parse(converted.text, Path("/state"))
        self.assertEqual(found, Logrc({"*": Severity.DEBUG}, (DailyFiles(folder=Path("/opt/os4x/log")),)))
        for words in ("proxyserver...", "'stdout' is used by no category", "<reread> has no counterpart", "<bufsize>"):
            self.assertIn(words, "\n".join(converted.notes))

    def test_priorities(self) -> None:
        """Each priority of log4c has its level; one that is none, or not set, is left out."""
        for word, level in (
            *(("fatal", "fatal"), ("alert", "fatal"), ("crit", "fatal"), ("error", "error"), ("warn", "warning")),
            *(("notice", "info"), ("info", "info"), ("debug", "debug"), ("trace", "trace")),
        ):
            found = self.read(f'<category name="root" priority="{word}"/>')
            self.assertEqual(found.levels, {"*": Severity.named(level)}, word)
        self.assertEqual(self.read('<category name="root" priority="notset"/>').levels, {})
        self.noted('<category name="root" priority="loud"/>', "priority 'loud' of category 'root' is unknown")

    def test_categories(self) -> None:
        """Ours keep their level; a program's own stands for everything; others are named."""
        found = self.read(
            '<category name="root" priority="error"/><category name="session" priority="trace"/>'
            '<category name="seon_proxyclient" priority="warn"/><category name="os4x.db" priority="info"/>'
        )
        self.assertEqual(found.levels, {"*": Severity.WARNING, "session": Severity.TRACE})
        self.noted('<category name="os4x.db" priority="info"/>', "category 'os4x.db' (info) has no counterpart")
        both = '<category name="os4x_proxyserver" priority="warn"/><category name="os4x_proxyclient" priority="info"/>'
        self.assertEqual(self.read(both).levels, {"*": Severity.INFO})
        self.noted(both, "several programs")

    def test_appenders(self) -> None:
        """Each type of log4c, and of OS4X, with what is other than before."""
        for appender, expected, words in (
            ('name="stdout" type="stream"', StandardOutput(), ""),
            ('name="stderr" type="stream2"', StandardOutput(), "standard error"),
            ('name="/var/log/x.log" type="stream"', OneFile(path=Path("/var/log/x.log"), layout=LogLayout.TEXT), ""),
            ('name="x.log" type="mmap"', OneFile(path=Path("/state/x.log"), layout=LogLayout.TEXT), "is relative"),
            ('name="s" type="syslog"', DatagramSyslog(host="127.0.0.1"), "127.0.0.1:514 over UDP"),
            ('name="r" type="rollingfile" logdir="/l" prefix="p"', DailyFiles(folder=Path("/l")), "not p..."),
            ('name="r" type="rollingfile" rollingpolicy="pol"', DailyFiles(), "set keep = DAYS"),
            ('name="/l/p" type="os4x_appender"', DailyFiles(folder=Path("/l")), "not p..."),
            ('name="d" type="seon_appender" colour="red"', DailyFiles(), "'colour' of appender 'd'"),
            ('name="d" type="seon_appender" layout="l"', DailyFiles(), "times are UTC"),
            ('name="d" type="seon_appender" layout="xml"', DailyFiles(), "layout 'xml' has no counterpart"),
        ):
            name = appender.split('"')[1]
            inside = (
                f'<category name="root" appender="{name}"/><appender {appender}/>'
                '<rollingpolicy name="pol" type="sizewin" maxsize="1024" maxnum="10"/>'
                '<layout name="l" type="dated_local"/>'
            )
            self.assertEqual(self.read(inside).appenders, (expected,), appender)
            self.noted(inside, *([words] if words else []))
        self.noted(
            '<category name="root" appender="s"/><appender name="s" type="s13"/>', "type 's13' has no counterpart"
        )
        self.noted('<category name="root" appender="s"/><appender name="s" type="s13"/>', "no appender could be taken")

    def test_what_an_appender_takes(self) -> None:
        """An appender of one of our categories takes that alone; of one that is none, everything."""
        appender = '<appender name="stdout" type="stream"/>'
        found = self.read(f'<category name="session" appender="stdout"/>{appender}')
        self.assertEqual(found.appenders, (StandardOutput(categories=frozenset({"session"})),))
        inside = f'<category name="db" appender="stdout"/>{appender}'
        self.assertEqual(self.read(inside).appenders, (StandardOutput(),))
        self.noted(inside, "takes everything, since db has no counterpart")
        both = f'<category name="session" appender="stdout"/><category name="root" appender="stdout"/>{appender}'
        self.assertEqual(self.read(both).appenders, (StandardOutput(),))

    def test_quoted(self) -> None:
        """What stands in a value stays in it, whatever it looks like; in a note it is one line."""
        odd = 'a"\\[[appenders]]'
        inside = '<category name="root" appender="/a&quot;\\[[appenders]]"/>'
        self.assertEqual(self.read(inside).appenders, (OneFile(path=Path(f"/{odd}"), layout=LogLayout.TEXT),))
        with self.assertRaises(Log4cRefused) as refused:
            self.convert('<category name="root" appender="/a&#10;[[appenders]]"/>')
        self.assertIn("control characters", str(refused.exception))
        converted = self.convert('<category name="x&#10;[levels]" priority="info"/>')
        self.assertEqual(logrc.parse(converted.text, Path("/")), Logrc())

    def test_what_is_unknown(self) -> None:
        """An element that log4c does not have is named."""
        self.noted("<filter/>", "<filter> has no counterpart")


class Unsafe(SynchronousTestCase):
    """Files that are not read."""

    def refused(self, text: str, words: str) -> None:
        """See that a file is refused with these words."""
        error = self.assertRaises(Log4cRefused, convert, text.encode("latin-1"))
        self.assertIn(words, str(error))

    def test_entities(self) -> None:
        """No entity is declared, inside or outside, nor used; nothing is read and nothing grows."""
        laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
        for declared, used in (
            (f'<!ENTITY l0 "ha">{laughs}', "&l8;"),
            ('<!ENTITY x SYSTEM "file:///etc/passwd">', "&x;"),
            ('<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;', ""),
            ('<!ATTLIST category name CDATA "root">', ""),
            (" ", ""),
        ):
            text = f"<!DOCTYPE log4c [{declared}]><log4c>{used}</log4c>"
            self.refused(text, "entities or attributes of its own")
        self.refused('<!DOCTYPE log4c SYSTEM "file:///etc/passwd"><log4c>&x;</log4c>', "entities")
        self.refused("<log4c>&x;</log4c>", "not XML")

    def test_bounds(self) -> None:
        """Octets, elements, depth and values are bounded."""
        self.refused("<log4c>" + " " * log4c.OCTETS_MOST + "</log4c>", "more than 256 KiB")
        self.refused("<log4c>" + "<a/>" * (log4c.ELEMENTS_MOST + 1) + "</log4c>", "elements")
        self.refused("<log4c>" + "<a>" * log4c.DEPTH_MOST, "nested too deeply")
        self.refused(f'<log4c><a b="{"x" * 1001}"/></log4c>', "more than 1000 characters")

    def test_no_log4c(self) -> None:
        """What is no XML, or another one, is refused in one line."""
        self.refused("", "not XML")
        self.refused('[levels]\n"*" = "info"\n', "not XML")
        self.refused("<log4j/>", "its root is <log4j>, not <log4c>")
        self.refused('<?xml version="1.0" encoding="x-y"?><log4c/>', "not XML")


class Command(CommandCase):
    """``smartproxy logrc convert``."""

    founded = False

    def test_convert(self) -> None:
        """To standard output or a file; what has no counterpart on standard error; both as JSON."""
        (self.folder / "old").write_text(OLD)
        done = self.do("logrc", "convert", str(self.folder / "old"))
        self.assertEqual(logrc.parse(done.out, Path("/")).levels, {"*": Severity.DEBUG})
        self.assertIn("smartproxy: <reread> has no counterpart", done.err)
        path = self.folder / "new"
        self.do("logrc", "convert", str(self.folder / "old"), "-o", str(path))
        self.assertEqual(path.read_text(), done.out)
        shown = self.do("logrc", "convert", str(self.folder / "old"), "--json").json
        self.assertEqual((shown["logrc"], len(shown["notes"])), (done.out, done.err.count("\n")))

    def test_refused(self) -> None:
        """One line says which file, and why; a daemon that meets the old file says how to convert it."""
        (self.folder / "new").write_text("[levels]\n")
        self.assertIn("new is no logrc of log4c", self.refused("logrc", "convert", str(self.folder / "new")))
        self.assertIn("cannot read", self.refused("logrc", "convert", str(self.folder / "none")))
        error = self.assertRaises(LogrcRefused, logrc.parse, OLD, Path("/"))
        self.assertIn("smartproxy logrc convert FILE", str(error))
