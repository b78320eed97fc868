"""The page over real https: a login, what it opens, and what it refuses."""

import http.client
import re
import ssl
from urllib.parse import urlencode

from smartproxy.policy.permissions import AdminRole
from tests.process.clock import PATIENCE_SECONDS
from tests.process.test_backend_process import BackendCase

PASSWORD = "four words of somebody"


class Page(BackendCase):
    """A browser's requests, as they stand."""

    def setUp(self) -> None:
        """Add users, and open a connection."""
        super().setUp()
        file = self.folder / "password"
        file.write_text(PASSWORD)
        for role in (AdminRole.ADMINISTRATOR, AdminRole.VIEWER):
            self.command("user", "add", role.value, "--role", role.value, "--password-file", str(file), "--json")
        context = ssl.create_default_context(cafile=self.ca)
        self.connection = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE_SECONDS, context=context)
        self.addCleanup(self.connection.close)
        self.cookie = ""
        self.form_token = ""

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None) -> tuple[int, str]:
        """Send a request with the cookie; status, and document or the place to go to."""
        body = None if fields is None else urlencode(fields)
        headers = {"Cookie": self.cookie} if self.cookie else {}
        if body is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        document = answer.read().decode()
        for header in answer.headers.get_all("set-cookie", []):
            if header.startswith("__Host-smartproxy="):
                self.cookie = header.partition(";")[0]
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', document)
        self.form_token = found[1] if found else self.form_token
        return answer.status, answer.headers.get("location") or document

    def log_in(self, name: str, password: str = PASSWORD) -> tuple[int, str]:
        """Log in."""
        self.ask("GET", "/login")
        return self.ask("POST", "/login", {"csrf": self.form_token, "name": name, "password": password})

    def test_login(self) -> None:
        """Without a login there is the login; with the right password there is the page; a wrong one is told so."""
        self.assertEqual(self.ask("GET", "/"), (303, "/login"))
        status, document = self.log_in("administrator", "wrong")
        self.assertEqual((status, "the password or the code is wrong" in document), (403, True))
        self.assertEqual(self.log_in("administrator"), (303, "/"))
        status, document = self.ask("GET", "/")
        # No server, no licence, no partner: the page says what comes next, and where.
        self.assertEqual((status, 'href="/setup' in document), (200, True))
        style = re.findall(r'href="(/static/[^"]+\.css)"', document)
        self.assertEqual(self.ask("GET", style[0])[0], 200)

    def test_refused(self) -> None:
        """A form without its token changes nothing, and neither does one of a viewer, or of a stranger."""
        self.log_in("viewer")
        status, document = self.ask("POST", "/logout", {"csrf": "0" * 64})
        self.assertEqual((status, "not ours" in document), (403, True))
        self.assertEqual(self.ask("GET", "/")[0], 200)
        status, document = self.ask("POST", "/partners/ACME/disable", {"csrf": self.form_token})
        self.assertEqual((status, "partner:change" in document), (403, True))
        self.cookie = ""
        self.ask("GET", "/login")
        self.assertEqual(self.ask("POST", "/logout", {"csrf": self.form_token}), (303, "/login"))
