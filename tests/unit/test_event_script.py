"""One run of the event script: what it is told, what it may, how it ends."""

import json
import os
import select
import signal
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.alerts.script import EventScripts, ScriptRun
from smartproxy.logs.fields import Value
from smartproxy.logs.render import escape
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from tests.unit.commands import CommandCase

EVENT: dict[str, Value] = {"number": 7, "name": "listener.failed", "partner": "ACME"}
LONG = 60.0
"""Longer than any of these programs runs, in seconds."""


def program(folder: Path, text: str, mode: int = 0o755) -> str:
    """A shell script; its path."""
    path = folder / f"script-{len(list(folder.iterdir()))}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path.absolute())


class Passing:
    """A clock that stands still until a file is there, and then goes on by so much whenever it is asked."""

    def __init__(self, file: Path, step: float) -> None:
        self.file = file
        self.step = step
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time."""
        if self.file.exists():
            self.seconds = max(self.seconds + self.step, LONG)
        return self.seconds


class Runs(SynchronousTestCase):
    """Real programs."""

    def setUp(self) -> None:
        """Make a folder."""
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.scripts = EventScripts()

    def run_script(self, text: str, event: dict[str, Value] = EVENT, seconds: float = LONG) -> ScriptRun:
        """Run a shell script."""
        return self.scripts.run(program(self.folder, text), event, seconds)

    def test_told(self) -> None:
        """The event comes as one line of JSON on standard input, and as variables; nothing else of the daemon does."""
        self.patch(os, "environ", {**os.environ, "SMARTPROXY_DATABASE": "postgresql://u:secret@h/d"})
        event: dict[str, Value] = {**EVENT, "sans": ["a", "b"], "facts": {"cause": None}, "restart": True}
        run = self.run_script("cat; env; pwd", event)
        told, *rest = run.output.split("\n")
        self.assertEqual(json.loads(told), event)
        names = {each.partition("=")[0] for each in rest[:-1]}
        # A shell adds these by itself.
        self.assertEqual(
            names - {"PWD", "SHLVL", "_", "OLDPWD"},
            {"PATH", "LANG", "LC_ALL", *(f"SMARTPROXY_EVENT_{each.upper()}" for each in event)},
        )
        self.assertIn('SMARTPROXY_EVENT_SANS=["a", "b"]', rest)
        self.assertIn('SMARTPROXY_EVENT_FACTS={"cause": null}', rest)
        self.assertIn("SMARTPROXY_EVENT_RESTART=yes", rest)
        self.assertEqual((rest[-1], run.cause, run.exit_status), ("/", None, 0))

    def test_no_shell(self) -> None:
        """A peer's text is the value of a variable, escaped: no shell reads it, and it is one line."""
        nasty = "$(touch /tmp/x)`id`;|&\n\x1b[2J\0 \u202e"
        run = self.run_script('printf "%s" "$SMARTPROXY_EVENT_SUBJECT"', {"subject": nasty})
        self.assertEqual(run.output, escape(nasty))
        self.assertEqual(run.output, "$(touch /tmp/x)`id`;|&\\n\\x1b[2J\\x00 \\u202e")

    def test_output(self) -> None:
        """What it writes to either output is kept in its order, escaped line by line, and cut."""
        run = self.run_script("echo one; echo two >&2; printf 'th\\033ree\\377'")
        self.assertEqual(run.output, "one\ntwo\nth\\x1bree\ufffd")
        run = self.run_script("yes | head -c 1000000")
        self.assertEqual(len(run.output), limits.SCRIPT_OUTPUT_OCTETS + 1)
        self.assertTrue(run.output.endswith("\n…"))

    def test_failed(self) -> None:
        """An exit status other than 0, and a signal, are failures."""
        run = self.run_script("exit 3")
        self.assertEqual((run.cause, run.exit_status), (Cause.SCRIPT_STATUS, 3))
        self.assertIn("exit status 3", run.message)
        run = self.run_script("kill -SEGV $$")
        self.assertEqual((run.cause, run.exit_status), (Cause.SCRIPT_STATUS, -signal.SIGSEGV))

    def test_cannot_be_started(self) -> None:
        """What is not there, is no file, may not be executed, or has no interpreter: why, in words."""
        plain = self.folder / "plain"
        plain.write_bytes(b"\x00\x01")
        plain.chmod(0o755)
        for path, words in (
            ("/nowhere/at-all", "No such file"),
            (str(self.folder.absolute()), "no file that this user may execute"),
            (program(self.folder, "", 0o644), "no file that this user may execute"),
            (str(plain.absolute()), "Exec format error"),
        ):
            run = self.scripts.run(path, EVENT, LONG)
            self.assertEqual((run.cause, run.exit_status), (Cause.SCRIPT_MISSING, None), path)
            self.assertIn(words, run.message)

    def test_unsafe(self) -> None:
        """A program that every user may change is not started."""
        run = self.scripts.run(program(self.folder, "echo no", 0o757), EVENT, LONG)
        self.assertEqual((run.cause, run.output), (Cause.SCRIPT_UNSAFE, ""))

    def test_time_limit(self) -> None:
        """What runs for too long is ended with all that it started, even if it does not want to."""
        held, begun = self.pipe(), self.folder / "begun"
        self.scripts = EventScripts(Passing(begun, step=1))
        text = f"trap '' TERM; exec 3>{held}; sleep 600 & echo on; echo > {begun.absolute()}; wait"
        run = self.run_script(text, seconds=30)
        self.assertEqual((run.cause, run.output), (Cause.SCRIPT_TIMEOUT, "on"))
        self.assertIn("longer than 30 s", run.message)
        self.assert_let_go()

    def test_may_end_itself(self) -> None:
        """At the time limit it is asked to end, and has a moment to do so."""
        begun = self.folder / "begun"
        self.scripts = EventScripts(Passing(begun, step=0))
        text = f"trap 'echo cleaned; exit 0' TERM; echo > {begun.absolute()}; while :; do sleep 0.01; done"
        run = self.run_script(text, seconds=30)
        self.assertEqual(run.cause, Cause.SCRIPT_TIMEOUT)
        self.assertIn("cleaned", run.output)

    def test_left_behind(self) -> None:
        """What it leaves running ends with it, and nobody waits for its output."""
        run = self.run_script(f"exec 3>{self.pipe()}; sleep 600 &")
        self.assertIsNone(run.cause)
        self.assertLess(run.seconds, LONG)
        self.assert_let_go()

    def test_does_not_read(self) -> None:
        """A program that reads no input ends well, also if the event is larger than a pipe."""
        self.assertIsNone(self.run_script("exec 0<&-; exit 0").cause)
        big: dict[str, Value] = {"names": ["x" * 100] * 1000}
        self.assertIsNone(self.run_script("sleep 0.2", big).cause)

    def test_stopped(self) -> None:
        """At the end of the daemon the running program is ended and its run does not count; no other begins."""
        begun = self.folder / "begun"
        os.mkfifo(begun)
        path = program(self.folder, f"echo > {begun.absolute()}; exec sleep 600")
        runs: list[ScriptRun] = []
        thread = threading.Thread(target=lambda: runs.append(self.scripts.run(path, EVENT, LONG)))
        thread.start()
        begun.read_text()
        self.scripts.stop()
        thread.join(LONG)
        self.assertTrue(runs[0].interrupted)
        self.assertIsNone(runs[0].cause)
        self.assertTrue(self.scripts.run(path, EVENT, LONG).interrupted)

    def pipe(self) -> Path:
        """A pipe, of which the test has the one end, for a program to keep open."""
        path = (self.folder / "pipe").absolute()
        os.mkfifo(path)
        self.reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, self.reading)
        return path

    def assert_let_go(self) -> None:
        """See that no program holds the pipe any more."""
        poll = select.poll()
        poll.register(self.reading, select.POLLIN)
        self.assertEqual(poll.poll(LONG * 1000), [(self.reading, select.POLLHUP)])


class Command(CommandCase):
    """``smartproxy event-script``."""

    def test_test(self) -> None:
        """The program runs with an example, and what it said is shown; a stored event can be named."""
        path = program(self.folder, 'echo "$SMARTPROXY_EVENT_NAME $SMARTPROXY_EVENT_TEST"; cat >/dev/null')
        self.assertIn("settings set backend.event_script.program", self.refused("event-script", "test"))
        self.do("settings", "set", "backend.event_script.program", path)
        said = self.do("event-script", "test").out
        self.assertIn("it ended well", said)
        self.assertIn("it wrote     listener.failed yes", said)
        answer = self.do("event-script", "test", "--event", "1", "--json").json
        self.assertEqual((answer["output"], answer["exit_status"]), ("authority.created yes", 0))
        self.assertIn("no event 999", self.refused("event-script", "test", "--event", "999"))

    def test_failing(self) -> None:
        """One that fails ends the command with 1; another program can be tried before it is set."""
        path = program(self.folder, "echo oh no; exit 2")
        done = self.run_command("event-script", "test", "--program", path)
        self.assertEqual(done.status, 1)
        for words in ("oh no", "exit status 2"):
            self.assertIn(words, done.out)
        self.assertIn("absolute path", self.refused("event-script", "test", "--program", "x", status=2))

    def test_settings(self) -> None:
        """A path that is not absolute, and names of events or partners that there are not, are refused."""
        self.assertIn("absolute path", self.refused("settings", "set", "backend.event_script.program", "on-event"))
        refused = self.refused("settings", "set", "backend.event_script.names", "crl.stal")
        self.assertIn("was crl.stale meant?", refused)
        self.do("settings", "set", "backend.event_script.names", "crl.stale,certificate.")
        refused = self.refused("settings", "set", "backend.event_script.partners", "ACME")
        self.assertIn("there is no partner 'ACME'", refused)
        refused = self.refused("settings", "set", "backend.event_script.level", "loud")
        self.assertIn("critical, error, warning, none", refused)

    def test_nothing_yet(self) -> None:
        """Lists that are empty say so."""
        self.assertIn("no event has started", self.do("event-script", "list").out)
        self.assertIn("did not start", self.refused("event-script", "show", "1"))
