"""The backend's log follows its settings: a file and a level, in force as soon as they are saved."""

import io
import json
from pathlib import Path
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import settings
from smartproxy.backend.errors import ChangeRefused, StoreBusy
from smartproxy.backend.log_settings import LogSettings
from smartproxy.backend.rounds import STORE_LOOK_SECONDS
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import Log
from smartproxy.logs.logrc import StandardOutput
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause
from tests.adapters.api_site import AtOnce
from tests.unit.sites import NOW, SiteCase


class Following(SiteCase):
    """A log whose settings change."""

    def setUp(self) -> None:
        """A running log, configured for WARNING."""
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.text = self.folder / "api.log"
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.output = io.StringIO()
        self.told: list[dict[str, Value]] = []
        self.begin()

    def begin(self) -> None:
        """Start the log and what follows the settings."""
        self.log = Log("smartproxy-backend", self.folder, Levels({"*": Severity.WARNING}))
        self.log.open((StandardOutput(),), output=self.output, errors=self.output)
        self.events = Events(Logger(observer=self.log), self.told.append, self.clock, source="backend")
        self.log.start(self.clock, self.events)
        self.following = LogSettings(self.store, AtOnce(), self.events, self.clock, self.log)
        self.following.start()
        self.addCleanup(self.following.stop)
        self.addCleanup(self.log.also, None)

    def set(self, **values: object) -> None:
        """Save settings."""
        with self.change() as change:
            for key, value in values.items():
                settings.put(change, f"backend.log.{key}", value)
        self.clock.advance(STORE_LOOK_SECONDS)

    def say(self, message: str) -> None:
        """Log something at DEBUG."""
        self.events.emit("signal.received", cause=Cause.OPERATOR_SIGNAL, message=message, mode="x")

    def test_nothing_set(self) -> None:
        """Without settings everything is as the command line and the logrc say, and nothing is told."""
        self.say("one")
        self.assertEqual((self.told, self.output.getvalue()), ([], ""))
        self.assertEqual(self.log.places, ["standard output"])

    def test_level(self) -> None:
        """A level is in force when it is saved, is told, and gives way to what was configured when it is reset."""
        self.set(level="debug")
        self.say("one")
        self.assertIn("one", self.output.getvalue())
        (told,) = self.told
        self.assertEqual((told["name"], told["mode"], told["cause"]), ("level.changed", "debug", "operator.setting"))
        with self.change() as change:
            settings.reset(change, "backend.log.level")
        self.clock.advance(STORE_LOOK_SECONDS)
        self.say("two")
        self.assertNotIn("two", self.output.getvalue())
        self.assertEqual(self.told[1]["mode"], "warning")

    def test_file(self) -> None:
        """A file is written from then on, besides what is written anyway; another one, instead of it; then none."""
        self.set(path=str(self.text), level="debug")
        self.say("one")
        self.assertIn("one", self.text.read_text())
        self.assertIn("one", self.output.getvalue())
        self.assertIn(str(self.text), self.log.places)
        lines = self.folder / "deeper" / "api.jsonl"
        self.set(path=str(lines))
        self.say("two")
        self.assertEqual(json.loads(lines.read_text().splitlines()[-1])["message"], "two")
        self.assertNotIn("two", self.text.read_text())
        self.set(path=None)
        self.say("three")
        self.assertNotIn("three", lines.read_text())
        changed = [each.get("path") for each in self.told if each["name"] == "backend.log_changed"]
        self.assertEqual(changed, [str(self.text), str(lines), None])
        self.assertEqual(self.log.places, ["standard output"])

    def test_kept(self) -> None:
        """After a restart it is as it was saved, from the first line on."""
        self.set(path=str(self.text), level="debug")
        self.following.stop()
        self.log.also(None)
        self.begin()
        self.say("again")
        self.assertIn("again", self.text.read_text())

    def test_other_changes(self) -> None:
        """A level that somebody set since then is left alone by changes that are not about it."""
        self.set(level="debug")
        self.events.set_level(Severity.ERROR, cause=Cause.OPERATOR_COMMAND, message="alice")
        self.set(path=str(self.text))
        self.assertEqual(self.log.levels.described(), {"*": "error"})

    def test_file_that_cannot_be_written(self) -> None:
        """It is told with what to do, and the other places go on."""
        (self.folder / "link.log").symlink_to(self.folder / "elsewhere")
        self.set(path=str(self.folder / "link.log"))
        (failed,) = [each for each in self.told if each["name"] == "appender.failed"]
        self.assertEqual(failed["appender"], str(self.folder / "link.log"))
        self.assertFalse((self.folder / "elsewhere").exists())
        self.events.emit("events.dropped", count=1, cause=Cause.BACKEND_UNAVAILABLE)
        self.assertIn("events.dropped", self.output.getvalue())

    def test_wrong_values(self) -> None:
        """No other file than a log can be named, and no path that is not absolute; levels are those of logs."""
        for path in (
            "api.log", "/etc/passwd", "/home/smartproxy/.ssh/authorized_keys", "/var/log/../x.log", "/var/./x.log",
            "/.log/", "/var//x.log", "", "/var/log/x.LOG", "/var/lib/smartproxy.db",
        ):  # fmt: skip
            with self.assertRaises(ChangeRefused, msg=path) as refused:
                self.set(path=path)
            self.assertIn("backend.log.path", str(refused.exception))
        with self.assertRaises(ChangeRefused) as refused:
            self.set(level="loud")
        self.assertIn("trace, debug, info, warning, error, fatal", str(refused.exception))

    def test_busy(self) -> None:
        """While the store is busy nothing changes; the next look finds what was saved."""
        with patch.object(self.following, "_read", side_effect=StoreBusy):
            self.set(level="debug")
        self.assertEqual(self.told, [])
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(self.told[0]["mode"], "debug")
