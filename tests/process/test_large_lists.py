"""A revocation list that is larger than other calls may be, over each way into the backend."""

import json
import ssl
import urllib.request
from typing import Any, ClassVar
from urllib.error import HTTPError

from smartproxy.backend.location import Location
from smartproxy.backend.store import Store
from smartproxy.policy.limits import API_BODY_OCTETS_MOST
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import TestCa
from tests.large_lists import large_list
from tests.process.backends import BackendsCase
from tests.process.clock import PATIENCE_SECONDS
from tests.process.page_calls import PageCaller, add_user, log_in

COUNT = 40_000


class LargeLists(BackendsCase):
    """A site with a CA, whose list has 40,000 entries."""

    both: ClassVar[bool] = False

    def setUp(self) -> None:
        """Make the list, and an administrator's token."""
        super().setUp()
        ca = TestCa.root("Large CA")
        (self.folder / "large.pem").write_bytes(ca.certificate_pem)
        self.command("ca", "add", "large", str(self.folder / "large.pem"))
        self.octets = large_list(ca, COUNT, 16)
        self.assertGreater(len(self.octets), API_BODY_OCTETS_MOST)
        self.file = self.folder / "large.crl"
        self.file.write_bytes(self.octets)
        made = self.command("admin-token", "create", "alice", "--role", "administrator", "--json")
        (self.folder / "token").write_text(made["token"])
        self.running = self.backend()

    def send(self, octets: bytes, query: str = "", media: str = "application/pkix-crl") -> tuple[int, Any]:
        """Call the API with a file as the body; status and answer."""
        url = f"https://localhost:{self.running.port}/api/v1/admin/crls:load{query}"
        headers = {"Authorization": f"Bearer {(self.folder / 'token').read_text()}", "Content-Type": media}
        request = urllib.request.Request(url, data=octets, headers=headers)
        context = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=context) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def test_by_the_api(self) -> None:
        """The body is the file: tried first, then in force; a changed one is refused, and nothing is broken by it."""
        status, foreseen = self.send(self.octets, "?dry_run=true&name=large.crl")
        self.assertEqual((status, foreseen["differences"][0]["subject"]), (200, "list"))
        self.assertEqual(self.command("crl", "list", "--json"), [])
        status, taken = self.send(self.octets, "?name=large.crl&comment=monthly")
        self.assertEqual((status, taken["items"][0]["list"]["serials"]), (200, COUNT))
        newest = self.command("history", "--json")[-1]
        self.assertEqual((newest["change"], newest["comment"]), ("crl load large.crl", "monthly"))
        status, refused = self.send(self.octets[:-40] + bytes(40), "?name=changed.crl")
        self.assertEqual(status, 422)
        self.assertIn("in changed.crl is not signed by the key", refused["detail"])
        self.assertEqual(self.send(b"hello")[0], 422)
        self.assertEqual(self.send(b"hello", "?nam=x")[0], 400)
        self.assertEqual(self.send(self.octets, media="application/json")[0], 413)
        told = [each["message"] for each in self.command("events", "--name", "crl.refused", "--json")]
        self.assertIn("in changed.crl is not signed", told[0])
        self.assertEqual(self.running.lines("internal.error"), [])

    def test_by_the_command(self) -> None:
        """``crl load --url`` sends it as it is; of several files that are too large together it says what to do."""
        url = f"https://localhost:{self.running.port}"
        site = ("--url", url, "--token-file", str(self.folder / "token"), "--backend-ca", self.ca)
        (taken,) = self.command(*site, "crl", "load", str(self.file), "--json")
        self.assertEqual((taken["ca"], taken["serials"]), ("large", COUNT))
        refused = self.assertRaises(AssertionError, self.command, *site, "crl", "load", str(self.file), str(self.file))
        self.assertIn("load them one by one", str(refused))

    def test_on_the_page(self) -> None:
        """It is dropped like any other file; who may not load lists cannot send one."""
        store = Store.open(Location.of(str(self.state), None, {}))
        self.addCleanup(store.close)
        callers = {}
        for role in (AdminRole.ADMINISTRATOR, AdminRole.VIEWER):
            add_user(store, role)
            callers[role] = PageCaller(self.running.port, self.ca, log_in(store, role))
        answer = callers[AdminRole.VIEWER].send_file("/certificates/lists", "large.crl", self.octets)
        self.assertEqual(answer.status, 400)
        answer = callers[AdminRole.ADMINISTRATOR].send_file("/certificates/cas", "large.crl", self.octets)
        self.assertEqual(answer.status, 413, "other forms stay small")
        self.assertEqual(self.command("crl", "list", "--json"), [])
        answer = callers[AdminRole.ADMINISTRATOR].send_file("/certificates/lists", "large.crl", self.octets)
        self.assertEqual((answer.status, answer.place), (303, "/certificates#lists"))
        self.assertEqual([each["serials"] for each in self.command("crl", "list", "--json")], [COUNT])
