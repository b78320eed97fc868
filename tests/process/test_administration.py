"""Administrators on another machine: the command by https against a running backend, and the API under fire."""

import http.client
import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from smartproxy.backend.openapi import described
from smartproxy.backend.operations.registry import OPERATIONS
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import self_signed
from tests.process.clock import PATIENCE_SECONDS
from tests.process.test_backend_process import BackendCase
from tests.unit.commands import Done, done_by

CODE = "O0013000001ACME"
PIN = "ab" * 32
THERE = ["ACME", "B & C", "Ä/Ö", "42x"]


RELATIVE = b'{"items": [{"name": "backend.log.path", "value": "relative.log"}]}'
"""A value that its setting does not take."""


class AdministeredCase(BackendCase):
    """A backend, and tokens of administrators."""

    def setUp(self) -> None:
        """Make a token for each role."""
        super().setUp()
        self.tokens = {}
        for role in AdminRole:
            path = str(self.folder / f"{role}.token")
            self.command("admin-token", "create", role.value, "--role", role.value, "--token-file", path)
            self.tokens[role] = path

    def run_command(self, *arguments: str, role: AdminRole | None = None) -> Done:
        """Run the command: on the local store, or by https in a role. In this process: it is run very often."""
        where = ["--state-dir", self.state]
        if role is not None:
            where = [
                "--url",
                f"https://localhost:{self.port}",
                "--token-file",
                self.tokens[role],
                "--backend-ca",
                self.ca,
            ]
            # Nothing of the site is on the other machine.
            where += ["--state-dir", str(self.folder / "nowhere")]
        return done_by([*where, *arguments])

    def raw(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, Any]:
        """A call as it stands; status and document."""
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=PATIENCE_SECONDS, context=ssl.create_default_context(cafile=self.ca)
        )
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            octets = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(octets) if octets else None


class FromAnotherMachine(AdministeredCase):
    """``smartproxy --url``."""

    def test_same_answers(self) -> None:
        """Every answer, refusal and exit status by https is the one that the local store gives."""
        pem = self.folder / "acme.pem"
        pem.write_bytes(self_signed("acme").certificate_pem)
        done = self.run_command(
            *("partner", "add", "Ä & Co", "--code", "ODD", "--certificate", str(pem), "--comment", "by https"),
            role=AdminRole.OPERATOR,
        )
        self.assertEqual((done.status, "usual form" in done.err), (0, True), done.err)
        key = self.folder / "main.pem"
        main = self_signed("main")
        key.write_bytes(main.certificate_pem + main.key_pem)
        done = self.run_command("identity", "import", "main", str(key), role=AdminRole.ADMINISTRATOR)
        self.assertEqual((done.status, "CN=main" in done.out), (0, True), done.err)
        for words in (
            ("partner", "list"),
            ("partner", "list", "--json"),
            ("partner", "show", "Ä & Co"),
            ("partner", "show", "Ä & Co", "--json"),
            ("partner", "show", "nobody"),
            ("partner", "expiring", "--days", "36500"),
            ("partner", "add", "Ä & Co", "--code", CODE, "--pin", PIN),
            ("partner", "add", "B", "--code", "ODD", "--pin", PIN),
            ("partner", "add", "42", "--code", CODE, "--pin", PIN),
            ("partner", "outbound", "Ä & Co", "--verify", "pin"),
            ("partner", "disable", "Ä & Co", "--dry-run"),
            ("partner", "remove", "Ä & Co", "--dry-run", "--json"),
            ("partner", "certificate", "remove", "Ä & Co", "00000000"),
            ("client", "list"),
            ("client", "list", "--json"),
            ("client", "bind", "nobody", "--any"),
            ("events", "--name", "partner.changed", "--json"),
            ("events", "-n", "0", "--source", "command"),
            ("explain", "nobody"),
            ("explain", "1"),
            ("history", "--json"),
            ("history", "show", "2"),
            ("history", "show", "99"),
            ("ca", "list"),
            ("ca", "show", "none"),
            ("identity", "list"),
            ("identity", "show", "main"),
            ("identity", "show", "main", "--json"),
            ("identity", "complete", "main", str(pem)),
            ("identity", "import", "other", str(pem)),
            ("identity", "remove", "main"),
            ("identity", "remove", "main", "--yes", "--dry-run"),
            ("authority", "show"),
            ("authority", "show", "--json"),
            ("authority", "create", "--site", "Another"),
            ("authority", "https", "--name", "not a host"),
            ("licence", "list"),
            ("licence", "list", "--json"),
            ("licence", "show", "--json"),
            ("licence", "download"),
            ("licence", "extend", "--until", "2026-12-01"),
            ("licence", "issue", "nobody", "--until", "1y"),
            ("licence", "withdraw", "nobody"),
            ("crl", "list"),
            ("crl", "list", "--json"),
            ("crl", "load", str(pem)),
            ("crl", "approve", "nobody"),
            ("crl", "proposals", "--all"),
            ("crl", "urls"),
            ("crl", "check"),
            ("crl", "fetch"),
            ("crl", "remove", "7"),
            ("ignore", "add", "test", "--text", "x", "--until", "2001-01-01"),
            ("ignore", "list"),
            ("ignore", "remove", "nobody"),
            ("event-script", "test"),
            ("event-script", "list"),
            ("event-script", "show", "1"),
            ("events", "prune", "--older-than", "2001-01-01"),
            ("transfers", "--since", "7d", "--json"),
            ("history", "roll-back", "2", "--dry-run"),
            ("history", "roll-back", "2", "--dry-run", "--json"),
            ("history", "roll-back", "99", "--yes"),
            ("history", "roll-back", "2"),
            ("audit", "list", "--deed", "change", "--json"),
            ("nodes",),
            ("settings", "show", "server"),
            ("settings", "show", "--json"),
            ("settings", "set", "server.deadlines.ssid", "0"),
            ("settings", "set", "server.listeners", "0.0.0.0:6619", "--dry-run"),
        ):
            here, there = self.run_command(*words), self.run_command(*words, role=AdminRole.ADMINISTRATOR)
            self.assertEqual((there.status, there.out, there.err), (here.status, here.out, here.err), words)
        newest = next(e for e in self.run_command("history", "--json").json[::-1] if e["change"].startswith("partner"))
        self.assertEqual((newest["by"], newest["way"], newest["comment"]), ("operator", "api", "by https"))

    def test_what_may_not_be(self) -> None:
        """A role does what it may; what cannot be done by https yet, and what is no backend or token, says so."""
        add = ("partner", "add", "ACME", "--code", CODE, "--pin", PIN)
        for role in (AdminRole.VIEWER, AdminRole.AUDITOR):
            done = self.run_command(*add, role=role)
            self.assertEqual((done.status, "partner:change" in done.err), (1, True), done.err)
        self.assertEqual(self.run_command("admin-token", "list", role=AdminRole.AUDITOR).status, 0)
        self.assertEqual(self.run_command("admin-token", "list", role=AdminRole.OPERATOR).status, 1)
        self.assertIn("--url yet", self.run_command("export", "-", role=AdminRole.ADMINISTRATOR).err)
        self.command("admin-token", "revoke", "operator")
        self.assertIn("the token is not valid", self.run_command(*add, role=AdminRole.OPERATOR).err)
        self.end()
        self.assertIn("cannot reach the backend", self.run_command(*add, role=AdminRole.ADMINISTRATOR).err)


class UnderFire(AdministeredCase):
    """Calls that nobody would make."""

    def test_hand_picked(self) -> None:
        """What a generator of calls does not find: each is refused with a problem document, and nothing breaks."""
        token = Path(self.tokens[AdminRole.ADMINISTRATOR]).read_text().strip()
        good = {"Authorization": f"Bearer {token}"}
        path = "/api/v1/admin/partners"
        calls: list[tuple[int, str, str, dict[str, str], bytes | None]] = [
            (401, "GET", path, {"Authorization": "Bearer spa_ä"}, None),
            (401, "GET", path, {"SmartProxy-Token": "spa_ä"}, None),
            (401, "GET", path, {"Authorization": "Bearer " + "x" * 10_000}, None),
            (400, "GET", path, {**good, "If-None-Match": '"' + "x" * 10_000 + '"'}, None),
            (400, "GET", path + "?limit=" + "9" * 400, good, None),
            (400, "GET", path + "?limit=-1", good, None),
            (400, "GET", path + ":expiring?days=99999999999", good, None),
            (400, "GET", path + "?after=%00", good, None),
            (400, "GET", path + "/%ff", good, None),
            (404, "GET", path + "/..%2f..", good, None),
            (400, "POST", path, good, b'{"partner": {"name": "\\ud800", "codes": ["A"]}}'),
            (400, "POST", path, good, b"[" * 100_000),
            (400, "POST", path, good, b'{"force": 1' + b"0" * 100_000 + b"}"),
            (400, "POST", "/api/v1/admin/admin-tokens", good, b'{"name": "x", "until": "0000-00-00T00:00:00Z"}'),
            (422, "POST", "/api/v1/admin/admin-tokens", good, b'{"name": "x", "until": "9999-12-31T23:59:59Z"}'),
            (422, "POST", "/api/v1/admin/admin-tokens", good, b'{"name": "x", "until": "0001-01-01T00:00:00Z"}'),
            (422, "POST", "/api/v1/admin/trust-lists/x/load", good, b'{"octets": "\\u00f5"}'),
            (400, "POST", "/api/v1/admin/crls:load", good, b'{"files": [{"name": "x", "octets": "\\u00f5"}]}'),
            (405, "PUT", path, good, b"{}"),
            (422, "PATCH", "/api/v1/admin/settings", {**good, "If-Match": "*"}, RELATIVE),
        ]
        for status, method, where, headers, body in calls:
            answer = self.raw(method, where, headers, body)
            self.assertEqual(answer[0], status, (method, where, answer))
            self.assertTrue(answer[1]["type"].startswith("urn:smartproxy:problem:"), answer)
        self.assertEqual(self.raw("GET", path, good)[0], 200)
        self.assertEqual(self.raw("GET", "/health/ready", {}), (200, {"status": "ok"}))
        self.assertNotIn("internal.error", self.command("events", "list", "--since", "1h"))

    def setUp(self) -> None:
        """Add partners."""
        super().setUp()
        for number, name in enumerate(THERE):
            self.command("partner", "add", name, "--code", f"O001{number}", "--key", f"{number:064x}", "--force")

    def generated(self, role: AdminRole, seconds: int) -> str:
        """Have calls made of the description in a role; what was found."""
        token = Path(self.tokens[role]).read_text().strip()
        description = self.folder / "openapi.json"
        document = described(OPERATIONS.values())
        for methods in document["paths"].values():
            for each in methods.values():
                for parameter in each["parameters"]:
                    if parameter["in"] == "path":
                        # Half of the calls are about something that is there.
                        parameter["schema"] = {"enum": [*THERE, *THERE[:4], "x", "viewer"]}
        # A text as long as a file may be makes a body of many megabytes: that one is refused stands in another test.
        told = re.sub(r'"maxLength": [0-9]{5,}', '"maxLength": 8000', json.dumps(document))
        description.write_text(told, encoding="utf-8")
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", str(description)),
                *("--url", f"https://localhost:{self.port}", "--tls-verify", self.ca),
                *("-H", f"Authorization: Bearer {token}", "--checks", checks, "--seed", "1", "--no-color"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--max-time", str(seconds)),
                *("--suppress-health-check", "all", "--request-timeout", str(PATIENCE_SECONDS)),
            ],
            env={**os.environ, "PYTHONPATH": ""},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout[-8000:] + done.stderr[-2000:])
        return done.stdout

    def test_generated(self) -> None:
        """Calls that are made of the description: no fault of the backend, no answer beside the description."""
        count = 0
        # How many calls are made in a time is no promise: a busy machine is given more of it.
        for seconds in (60, 120, 240, 480):
            report = self.generated(AdminRole.ADMINISTRATOR, seconds)
            counted = re.search(r"(\d+) generated, (\d+) passed", report)
            assert counted is not None, report
            self.assertEqual(counted[1], counted[2])
            count = int(counted[1])
            if count > 500:
                break
        self.assertGreater(count, 500)
        self.assertNotIn("internal.error", self.command("events", "list", "--since", "1h"))

    def test_generated_without_permission(self) -> None:
        """In a role that may read only, none of them changes anything."""
        before = self.command("history", "--json")
        self.generated(AdminRole.VIEWER, 20)
        self.assertEqual(self.command("history", "--json"), before)
