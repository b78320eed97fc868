"""The page at an address of its own, with a certificate of its own, behind a real HAProxy."""

import socket
import subprocess

from smartproxy.policy.addresses import HostPort
from smartproxy.testing.pki import TestCa
from tests.process.backends import BackendProcess, BackendsCase
from tests.process.page_calls import PageAnswer, PageCaller
from tests.programs import program

PASSWORD = "four words of somebody"
PROXY, BROWSER = "127.0.0.2", "127.0.0.3"
FORGED = "203.0.113.9"
HAPROXY = """
global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend page
  bind fd@{socket} ssl crt {certificate}
  http-request set-header X-Forwarded-Proto https
  http-request del-header X-Forwarded-Host
  option forwardfor
  default_backend smartproxy
backend smartproxy
  server one 127.0.0.1:{port} source {source} ssl verify required ca-file {ca} verifyhost localhost
"""
"""As in the documents, but for the addresses."""


class Reached(BackendsCase):
    """Browsers, HAProxy, and a backend whose page is apart."""

    both = False

    def setUp(self) -> None:
        """A site with a user, and a CA that browsers know."""
        super().setUp()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        self.command("user", "add", "vera", "--role", "auditor", "--password-file", str(password))
        ca = TestCa.root("Browsers")
        self.browsers_ca = str(self.folder / "browsers.pem")
        (self.folder / "browsers.pem").write_bytes(ca.certificate_pem)
        issued = ca.issue("page", sans=["DNS:localhost"])
        self.pem = self.folder / "page.pem"
        self.pem.write_bytes(issued.chain_pem + issued.key_pem)
        self.pem.chmod(0o600)

    def backend_apart(self, *settings: str) -> tuple[BackendProcess, int]:
        """A backend, and the port of its page."""
        self.command("settings", "set", "backend.page.address", "127.0.0.1", "backend.page.port", "0", *settings)
        backend = self.backend()
        return backend, int(backend.line("mode=page").partition(" port=")[2].split()[0])

    def haproxy(self, port: int) -> int:
        """Start HAProxy in front of the page; its port."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        configuration = self.folder / "haproxy.cfg"
        configuration.write_text(
            HAPROXY.format(
                socket=listening.fileno(), certificate=self.pem, port=port, source=PROXY, ca=self.browsers_ca
            )
        )
        process = subprocess.Popen(
            [program("haproxy"), "-db", "-f", str(configuration)],
            pass_fds=[listening.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return int(listening.getsockname()[1])

    def caller(self, port: int, ca: str = "", **given: str) -> PageCaller:
        """A browser that is not logged in."""
        made = PageCaller(port, ca or self.browsers_ca, "x" * 43, **given)
        self.addCleanup(made.close)
        return made

    def log_in(self, caller: PageCaller, password: str = PASSWORD, **headers: str) -> PageAnswer:
        """Log in with forged headers."""
        forged = {"X_Forwarded_For": FORGED, "X_Forwarded_Host": "evil.example", "Forwarded": f"for={FORGED}"}
        return caller.post("/login", {"name": "vera", "password": password}, **forged, **headers)

    def peer(self, backend: BackendProcess, event: str, number: int = 1) -> str:
        """The address in an event of a name."""
        return backend.line(event, number=number).partition(" peer=")[2].split()[0]

    def test_apart(self) -> None:
        """The page is at its own port with its own certificate, and not at the API's, and the API not there."""
        backend, port = self.backend_apart()
        self.assertEqual(self.caller(port, self.ca).get("/login").status, 200)
        self.command("authority", "page-import", str(self.pem))
        backend.line("mode=uploaded")
        page, api = self.caller(port), self.caller(backend.port, self.ca)
        self.assertTrue(page.get("/login").is_page)
        self.assertEqual([page.get(path).status for path in ("/api/v1/hello", "/health/live")], [404, 404])
        self.assertEqual([api.get(path).status for path in ("/login", "/", "/static/look.css")], [404, 404, 404])
        self.assertEqual([api.get(path).status for path in ("/api/v1/hello", "/health/live")], [401, 200])
        self.assertIn(str(HostPort("127.0.0.1", port)), self.ctl(backend, "status"))
        self.command("settings", "reset", "backend.page.address")
        backend.line("listener.closed")
        self.assertEqual(api.get("/login").status, 200)

    def test_behind_haproxy(self) -> None:
        """Logins through HAProxy have the browser's address, whatever it forges; without it they have the caller's."""
        backend, port = self.backend_apart(
            "backend.page.proxies", f"{PROXY}/32", "backend.page.certificate_file", str(self.pem)
        )
        outside = self.haproxy(port)
        browser = self.caller(outside, source=BROWSER)
        answer = self.log_in(browser)
        self.assertEqual((answer.status, answer.place), (303, "/"))
        (cookie,) = (each for each in answer.cookies if each.startswith("__Host-smartproxy="))
        self.assertIn("secure", cookie.lower())
        self.assertEqual(self.peer(backend, "page.login "), BROWSER)
        browser.cookie = cookie.partition("=")[2].partition(";")[0]
        self.assertIn(BROWSER, browser.get("/users").text)
        self.assertEqual(self.log_in(self.caller(outside, source=BROWSER), "wrong").status, 403)
        self.assertEqual(self.peer(backend, "page.login_refused"), BROWSER)
        self.assertEqual(self.log_in(self.caller(port, source=BROWSER)).status, 303)
        self.assertEqual(self.log_in(self.caller(port), "wrong").status, 403)
        self.assertEqual(self.peer(backend, "page.login_refused", 2), "127.0.0.1")
        self.assertFalse(backend.lines(FORGED))

    def test_renewed(self) -> None:
        """Another certificate in the place of the file is shown without a restart."""
        backend, port = self.backend_apart("backend.page.certificate_file", str(self.pem))
        self.assertEqual(self.caller(port).get("/login").status, 200)
        other = TestCa.root("Others")
        (self.folder / "others.pem").write_bytes(other.certificate_pem)
        issued = other.issue("renewed", sans=["DNS:localhost"])
        self.pem.write_bytes(issued.chain_pem + issued.key_pem)
        backend.line("CN=renewed")
        self.assertEqual(self.caller(port, str(self.folder / "others.pem")).get("/login").status, 200)
