"""``twistd smartproxy-backend`` as a process, called over https and changed by the command."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from datetime import datetime
from hashlib import sha256
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from smartproxy.policy.configuration import parse
from tests.process.clock import PATIENCE_SECONDS, queued

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(smartproxy.__file__).parent.parent),
    "PYTHONUNBUFFERED": "1",
}
TWISTD = "from twisted.scripts.twistd import run; run()"


class BackendCase(SynchronousTestCase):
    """A backend on a free loopback port."""

    def setUp(self) -> None:
        """Make the site and start the daemon."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.state = str(self.folder / "state")
        self.ca = str(self.folder / "ca.pem")
        self.command("authority", "create", "--site", "Muster GmbH", "-o", self.ca)
        self.token = self.command("client", "add", "inner", "--json")["token"]
        self.daemon = subprocess.Popen(
            [
                *(sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", "smartproxy-backend"),
                *("--listen", "127.0.0.1:0", "--state-dir", self.state),
            ],
            env=ENVIRONMENT,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self.end)
        self.log: list[str] = []
        self.port = self.await_port()

    def end(self) -> None:
        """See that the daemon is gone."""
        if self.daemon.poll() is None:
            self.daemon.kill()
        self.daemon.communicate(timeout=PATIENCE_SECONDS)

    def await_port(self) -> int:
        """Read the daemon's log until it says where it listens."""
        assert self.daemon.stdout is not None
        for line in self.daemon.stdout:
            self.log.append(line)
            if "backend.started" in line:
                return int(line.partition(" port=")[2].split()[0])
        raise AssertionError("".join(self.log))

    def command(self, *arguments: str) -> Any:
        """Run the command; its answer."""
        done = subprocess.run(
            [sys.executable, "-m", "smartproxy.tap.command", *arguments, "--state-dir", self.state],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def status(self) -> str:
        """What ``ctl status`` says, whose exit status is that of down."""
        done = subprocess.run(
            [sys.executable, "-m", "smartproxy.tap.command", "ctl", "status", "--backend", "--state-dir", self.state],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (2, ""))
        return done.stdout

    def call(self, path: str, *, token: str | None = None, etag: str | None = None) -> tuple[int, str | None, bytes]:
        """Call the API; status, ETag and body."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        if etag is not None:
            headers["If-None-Match"] = etag
        request = urllib.request.Request(f"https://localhost:{self.port}/api/v1{path}", headers=headers)
        context = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=context) as answer:
                return answer.status, answer.headers["ETag"], answer.read()
        except HTTPError as error:
            with error:
                return error.code, None, error.read()


class Daemon(BackendCase):
    """The daemon's life."""

    def test_life(self) -> None:
        """Greets its client, refuses a stranger, hands over a change within two seconds, and ends by SIGTERM with 0.

        The hash of the audit trail's newest record is in its log, and the trail is whole by it afterwards.
        """
        status, _, body = self.call("/hello")
        self.assertEqual((status, json.loads(body)["site"]), (200, "Muster GmbH"))
        self.assertEqual(self.call("/hello", token="spc_x")[0], 401)
        _, etag, _ = self.call("/configuration")
        waited = queued(self.daemon.pid) + queued(os.getpid())

        change = subprocess.Popen(
            [
                *(sys.executable, "-m", "smartproxy.tap.command", "--state-dir", self.state),
                *("settings", "set", "server.deadlines.ssid", "45"),
            ],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
        )
        status, _, body = self.call("/configuration?wait=30", etag=etag)
        arrived = time.time()
        waited = queued(self.daemon.pid) + queued(os.getpid()) - waited
        change.wait(PATIENCE_SECONDS)
        self.assertEqual((status, parse(body).server.deadlines.ssid), (200, 45))
        made = self.command("history", "-n", "1", "--json")[0]["time"]
        # The history shows whole seconds: one second more than the two that are promised.
        self.assertLess(arrived - waited - datetime.fromisoformat(made).timestamp(), 3)

        self.assertIn("no licence is in force", self.status())
        self.daemon.send_signal(signal.SIGTERM)
        rest, _ = self.daemon.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(self.daemon.returncode, 0, rest)
        self.assertIn("backend.stopped", rest)
        self.assertNotIn("Traceback", "".join(self.log) + rest)
        self.assertNotIn(self.token, "".join(self.log) + rest)
        names = [each["name"] for each in self.command("events", "--name", "backend.", "--json")]
        self.assertEqual(names, ["backend.started", "backend.call_refused", "backend.stopped"])
        anchored = self.command("events", "--name", "audit.anchored", "--json")[0]
        self.assertIn(anchored["hash"], "".join(self.log) + rest)
        self.assertTrue(self.command("audit", "verify", "--anchor", anchored["hash"], "--json")["whole"])
        refused = self.command("events", "--name", "backend.call_refused", "--json")
        self.assertEqual(refused[0]["peer"], "127.0.0.1")


class HttpsBrowser:
    """As much of a browser as it takes to send forms: it keeps cookies, and takes any certificate."""

    def __init__(self, url: str) -> None:
        self._where = urlsplit(url)
        self._cookies: dict[str, str] = {}
        self._text = ""

    def ask(self, place: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Ask for something; status, and where it leads."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, port = self._where.hostname or "", self._where.port
        calling = HTTPSConnection(host, port, timeout=PATIENCE_SECONDS, context=context)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        body = None if form is None else urlencode(form)
        if body is not None:
            origin = {"Origin": f"https://{host}:{port}", "Sec-Fetch-Site": "same-origin"}
            headers |= {"Content-Type": "application/x-www-form-urlencoded", **origin}
        with closing(calling):
            calling.request("GET" if form is None else "POST", urlsplit(place).path, body, headers)
            answer = calling.getresponse()
            for each in answer.headers.get_all("Set-Cookie", ()):
                name, _, rest = each.partition("=")
                self._cookies[name] = rest.partition(";")[0]
            self._text = answer.read().decode()
            return answer.status, answer.headers.get("Location", "")

    def page(self, place: str) -> str:
        """The text of a page."""
        status, _ = self.ask(place)
        assert status == 200, (place, status, self._text)
        return self._text

    def send(self, place: str, **fields: str) -> tuple[int, str]:
        """Send a form of the page that was looked at last."""
        token = re.search('name="csrf" value="([0-9a-f]{64})"', self._text)
        assert token is not None, self._text
        return self.ask(place, {"csrf": token[1], **fields})


class FirstStart(SynchronousTestCase):
    """A backend that finds no store."""

    def setUp(self) -> None:
        """Choose a folder, which is not there."""
        self.state = Path(self.mktemp()).absolute()

    def said(self, *words: str) -> str:
        """What Python says when it runs these words to their end."""
        done = subprocess.run(
            [sys.executable, *words, "--state-dir", str(self.state)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        return done.stdout

    def ready(self, url: str) -> tuple[int, str]:
        """What a balancer is told, and the SHA-256 fingerprint of the certificate that is shown."""
        where = urlsplit(url)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        calling = HTTPSConnection(where.hostname or "", where.port, timeout=PATIENCE_SECONDS, context=context)
        with closing(calling):
            calling.request("GET", "/health/ready")
            assert isinstance(calling.sock, ssl.SSLSocket)
            shown = sha256(calling.sock.getpeercert(binary_form=True) or b"").hexdigest().upper()
            return calling.getresponse().status, ":".join(shown[at : at + 2] for at in range(0, 64, 2))

    def started(self) -> tuple[str, str]:
        """What a backend in the background says to its caller, and the link in it."""
        start = "import sys; from smartproxy.tap.console import backend_main; sys.exit(backend_main())"
        said = self.said("-c", start, "--listen", "127.0.0.1:0")
        number = int((self.state / "smartproxy-backend.pid").read_text())
        self.addCleanup(os.kill, number, signal.SIGKILL)
        pattern = r"^smartproxy-backend: open this link .*: (https://127\.0\.0\.1:\d+/setup/sps_\S{43})$"
        link = re.search(pattern, said, re.MULTILINE)
        assert link is not None, said
        return said, link[1]

    def test_administrator(self) -> None:
        """With an empty folder and the link alone, a browser makes the site and becomes a logged-in administrator."""
        _, link = self.started()
        browser = HttpsBrowser(link)
        self.assertEqual(browser.ask(link), (303, "/first"))
        self.assertIn("Site and authority", browser.page("/first"))
        self.assertEqual(browser.send("/first/site", site="Muster GmbH", names="backend.example"), (303, "/first"))
        self.assertIn("First administrator", browser.page("/first"))
        password = "four words of somebody"
        sent = browser.send("/first/administrator", name="alice", password=password, again=password)
        self.assertEqual(sent, (303, "/setup"))
        page = browser.page("/setup")
        self.assertIn("6 steps to the first file", page)
        self.assertIn("<strong>alice</strong>", page)
        self.assertEqual(HttpsBrowser(link).ask(link)[0], 403)

    def test_background(self) -> None:
        """In the background it tells its caller the link; when the site is made, it serves with that certificate."""
        said, link = self.started()
        (log,) = (self.state / "log").glob("*.log")
        self.assertIn(link, log.read_text())
        self.assertEqual(log.stat().st_mode & 0o007, 0)
        status, shown = self.ready(link)
        self.assertIn(f"SHA-256 fingerprint is {shown}", said)
        self.assertEqual(status, 503)
        self.said("-m", "smartproxy.tap.command", "authority", "create", "--site", "Muster GmbH")
        while self.ready(link)[1] == shown:
            pass
        self.assertEqual(self.ready(link)[0], 200)
