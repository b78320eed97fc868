"""The command ``smartproxy`` as tests run it: in this process, with a store of its own."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.location import Location
from smartproxy.policy.places import DATABASE_VARIABLE
from smartproxy.tap.command import main
from tests.databases import OnBothDatabases


@attrs.frozen
class Done:
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.out)


def done_by(command_line: list[str], entered: io.BytesIO | None = None) -> Done:
    """Run a command line.

    :param entered: what its standard input holds.
    """
    out, err = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(entered or io.BytesIO())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch("sys.stdin", stdin):
        try:
            status = main(command_line)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return Done(status, out.getvalue(), err.getvalue())


class CommandCase(OnBothDatabases, SynchronousTestCase):
    """A test with a folder, and a site in ``self.location`` unless ``founded`` is false."""

    founded = True

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.state = self.folder / "state"
        self._use_database(tables=self.founded)
        if self.founded:
            self.do("authority", "create", "--site", "Muster GmbH")

    def go_elsewhere(self) -> None:
        """Have the commands work on another machine: another state folder and another database, both empty."""
        self.state = self.folder / "elsewhere"
        self._use_database(tables=False)

    def _use_database(self, *, tables: bool) -> None:
        database = self.new_database(self.state, tables=tables)
        self.location = Location.of(str(self.state), database, {})
        environment = patch.dict("os.environ", {DATABASE_VARIABLE: database or ""})
        environment.start()
        self.addCleanup(environment.stop)

    def run_command(self, *arguments: str, stdin: bytes = b"", terminal: io.BytesIO | None = None) -> Done:
        """Run a command line.

        :param terminal: what somebody enters at a terminal, instead of ``stdin``.
        """
        return done_by(["--state-dir", str(self.state), *arguments], terminal or io.BytesIO(stdin))

    def do(self, *arguments: str, stdin: bytes = b"") -> Done:
        """Run a command line that has to work."""
        done = self.run_command(*arguments, stdin=stdin)
        self.assertEqual(done.status, 0, done.err)
        return done

    def refused(self, *arguments: str, status: int = 1, stdin: bytes = b"") -> str:
        """Run a command line that has to be refused; its one line of reason, without a traceback."""
        done = self.run_command(*arguments, stdin=stdin)
        self.assertEqual(done.status, status, done.out + done.err)
        reason = done.err.splitlines()[-1]
        self.assertTrue(reason.startswith("smartproxy"), done.err)
        self.assertNotIn("Traceback", done.err)
        if status == 1:
            self.assertEqual(len(done.err.splitlines()), 1)
        return reason

    def file(self, name: str, octets: bytes) -> str:
        """Write a file; its path."""
        path = self.folder / name
        path.write_bytes(octets)
        return str(path)
