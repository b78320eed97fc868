"""Backends as processes, one or several on one database, that a test calls, changes and kills."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from smartproxy.policy.places import DATABASE_VARIABLE
from tests.databases import OnBothDatabases
from tests.process.clock import PATIENCE_SECONDS

PACKAGE = str(Path(smartproxy.__file__).parent.parent)
TWISTD = "from twisted.scripts.twistd import run; run()"


class BackendProcess:
    """A backend on a free loopback port, and its log as it is written.

    :param program: what Python runs.
    """

    def __init__(self, folder: Path, environment: dict[str, str], state: Path, program: str = TWISTD) -> None:
        self.state = state
        self._there = threading.Condition()
        self._lines: list[str] = []
        self._over = False
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", program, "--nodaemon", "--pidfile=", "smartproxy-backend"),
                *("--listen", "127.0.0.1:0", "--state-dir", str(state)),
            ],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.line("backend.started").partition(" port=")[2].split()[0])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._there:
                self._lines.append(line)
                self._there.notify_all()
        with self._there:
            self._over = True
            self._there.notify_all()

    def lines(self, words: str = "") -> list[str]:
        """The lines of its log so far that have these words."""
        with self._there:
            return [line for line in self._lines if words in line]

    def line(self, words: str, seconds: float = PATIENCE_SECONDS, *, number: int = 1) -> str:
        """Wait for a line with these words, or for the second or a later one."""
        with self._there:
            self._there.wait_for(lambda: self._over or len(self.lines(words)) >= number, seconds)
            found = self.lines(words)
            if len(found) >= number:
                return found[number - 1]
        raise AssertionError(f"no {words} in:\n{''.join(self._lines)}")

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """End it; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


class BackendsCase(OnBothDatabases, SynchronousTestCase):
    """A test with a site and a client of it, ``inner``; backends are started by :meth:`backend`."""

    def setUp(self) -> None:
        """Make the site."""
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.state = self.folder / "state"
        self.environment = {**os.environ, "PYTHONPATH": PACKAGE, "PYTHONUNBUFFERED": "1"}
        database = self.new_database(self.state, tables=False)
        if database is not None:
            self.environment[DATABASE_VARIABLE] = database
        self.ca = str(self.folder / "ca.pem")
        self.command("authority", "create", "--site", "Muster GmbH", "-o", self.ca)
        self.token = self.command("client", "add", "inner", "--json")["token"]

    def backend(self, state: Path | None = None, program: str = TWISTD) -> BackendProcess:
        """Start a backend; it is gone when the test ends."""
        where = state or self.state
        where.mkdir(mode=0o700, exist_ok=True)
        made = BackendProcess(self.folder, self.environment, where, program)
        self.addCleanup(made.end)
        return made

    def command(self, *arguments: str, state: Path | None = None) -> Any:
        """Run the command; its answer."""
        done = subprocess.run(
            [sys.executable, "-m", "smartproxy.tap.command", *arguments, "--state-dir", str(state or self.state)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def ctl(self, backend: BackendProcess, question: str) -> str:
        """What a backend answers ``smartproxy ctl``, whatever the exit status says of its condition."""
        words = ("ctl", question, "--backend", "--state-dir", str(backend.state))
        done = subprocess.run(
            [sys.executable, "-m", "smartproxy.tap.command", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout

    def call(
        self, port: int, path: str, body: object = None, *, etag: str | None = None
    ) -> tuple[int, str | None, bytes]:
        """Call the API as the client; status, ETag and body.

        :raises OSError: when no backend answers.
        """
        headers = {"Authorization": f"Bearer {self.token}", **({} if etag is None else {"If-None-Match": etag})}
        octets = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://localhost:{port}/api/v1{path}", data=octets, headers=headers)
        context = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=context) as answer:
                return answer.status, answer.headers["ETag"], answer.read()
        except HTTPError as error:
            with error:
                return error.code, None, error.read()
