"""The API for administrators in memory: every operation by https, with permission and under conditions."""

import base64
import http.client
from datetime import datetime, timedelta
from typing import Any, cast
from unittest.mock import Mock

from twisted.internet.defer import Deferred

from smartproxy._version import __version__
from smartproxy.backend import administrators, audit, generations, journal, settings
from smartproxy.backend.administration import WAITING_ADMINISTRATORS_MOST, WAITING_PER_ADMINISTRATOR_MOST
from smartproxy.backend.alerts.script import EventScripts, ScriptRun
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.errors import StoreBusy
from smartproxy.backend.health import Readiness
from smartproxy.backend.operations import event_script, partner
from smartproxy.backend.operations.list_files import ListFile, ListsRead
from smartproxy.backend.operations.performing import Terms
from smartproxy.backend.operations.registry import OPERATIONS
from smartproxy.backend.operations.shapes import Instantaneous
from smartproxy.backend.schema import GenerationRow
from smartproxy.backend.store import Store
from smartproxy.policy import limits
from smartproxy.policy.permissions import AdminRole
from smartproxy.policy.schema import Optional, declared, read_object
from smartproxy.policy.versions import NEWEST, OLDEST, Part
from smartproxy.tap.commands import remote
from smartproxy.tap.commands.remote import RemoteSite
from smartproxy.testing.pki import TestCa, self_signed
from tests.adapters.api_site import Answer, ApiCase
from tests.unit.sites import NOW, PIN

_TIME_OR_NONE = Optional(Instantaneous())
CODE = "O0013000001ACME"
ACME = {"partner": {"name": "ACME", "codes": [CODE], "certificates": [{"by": "certificate", "sha256": PIN}]}}


class AdminCase(ApiCase):
    """A test with an administrator, ``alice``, whose token is ``self.alice``."""

    def setUp(self) -> None:
        """Make the token."""
        super().setUp()
        self.alice = self.new_token("alice", AdminRole.ADMINISTRATOR)

    def new_token(self, name: str, role: AdminRole | None = None, *scopes: str) -> str:
        """A token that is good for a day."""
        with self.change() as change:
            _, token = administrators.create(
                change, name, role=role, scopes=scopes, until=NOW + timedelta(days=1), allowed={"*"}
            )
        return token

    def admin(self, method: str, path: str, body: object = None, **given: Any) -> Answer:
        """A call of an administrator, alice unless told otherwise."""
        return self.call(method, f"/admin/{path}", body, **{"token": self.alice, **given})

    def problem(self, status: int, cause: str, method: str, path: str, body: object = None, **given: Any) -> Any:
        """A call that is refused; its problem document."""
        answer = self.admin(method, path, body, **given)
        self.assertEqual((answer.status, answer.headers["content-type"]), (status, "application/problem+json"), answer)
        problem = answer.json
        self.assertEqual((problem["type"], problem["status"]), (f"urn:smartproxy:problem:{cause}", status))
        self.assertLessEqual({"title", "detail", "advice"}, problem.keys())
        return problem

    def generation(self) -> int:
        """The number of the newest generation."""
        with self.store.reading() as session:
            return generations.newest_number(session)


class Versions(AdminCase):
    """The command by https, and other callers."""

    def test_both_ends(self) -> None:
        """Command and backend agree by what both say; one that has to be updated is refused before anything is done."""
        site = RemoteSite.of("https://backend.example", self.alice.encode(), None)

        def carried(to: Any, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
            given: dict[str, Any] = {name.replace("-", "_"): value for name, value in headers.items()}
            found = self.call(method, path.removeprefix("/api/v1"), body, **given)
            to.getresponse = lambda: Mock(
                status=found.status,
                read=lambda most: found.body,
                getheader=lambda name: found.headers.get(name.lower()),
            )

        self.patch(http.client.HTTPSConnection, "request", carried)
        wanted = partner.PartnerAddition(partner=read_object(partner.PartnerAddition, ACME).partner)
        for spoken, update in ((NEWEST + 1, "smartproxy-backend"), (OLDEST - 1, "smartproxy")):
            theirs = Part(program="smartproxy", version="9.0", oldest=spoken, newest=spoken)
            self.patch(remote, "_PART", theirs)
            told = str(self.assertRaises(remote.SiteFailed, site.perform, partner.add, wanted, Terms()))
            self.assertIn(f": update {update} to a version", told)
            self.assertEqual(self.admin("GET", "partners").json["items"], [])
        self.patch(remote, "_PART", Part(program="smartproxy", version="9.0"))
        self.assertEqual(site.perform(partner.add, wanted, Terms()).partner.name, "ACME")

    def test_refused(self) -> None:
        """It is a problem of its own, and told with both versions."""
        for headers in ({}, {"SmartProxy_Protocol": f"{NEWEST + 1}"}):
            self.told.clear()
            self.problem(426, "api.version", "GET", "partners", SmartProxy_Version="9.0", **headers)
            (told,) = self.refusals()
            self.assertEqual((told["theirs"], told["ours"]), ("9.0", __version__))

    def test_silent(self) -> None:
        """Who says nothing is served, and told what the backend is; a stranger is not."""
        answer = self.admin("GET", "partners")
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            (answer.headers["smartproxy-version"], answer.headers["smartproxy-protocol"]), (__version__, f"{NEWEST}")
        )
        stranger = self.admin("GET", "partners", token="spa_" + "x" * 40)
        self.assertEqual((stranger.status, "smartproxy-version" in stranger.headers), (401, False))


class Operations(AdminCase):
    """The way of a partner through the API."""

    def test_life_of_a_partner(self) -> None:
        """It is added, shown, listed, changed and removed; each answer has a tag, each change a generation."""
        made = self.admin("POST", "partners", ACME)
        self.assertEqual((made.status, made.json["partner"]["codes"]), (201, [CODE]))
        self.assertEqual(made.headers["smartproxy-generation"], str(self.generation()))
        shown = self.admin("GET", "partners/ACME")
        self.assertEqual((shown.status, shown.json, shown.headers["etag"]), (200, made.json, made.headers["etag"]))
        tag = shown.headers["etag"]
        changed = self.admin("PATCH", "partners/ACME", {"partner": {"lowest_level": 4}}, If_Match=tag)
        self.assertEqual((changed.status, changed.json["partner"]["lowest_level"]), (200, 4))
        self.assertNotEqual(changed.headers["etag"], tag)
        self.assertEqual([each["partner"]["name"] for each in self.admin("GET", "partners").json["items"]], ["ACME"])
        gone = self.admin("DELETE", "partners/ACME", If_Match=changed.headers["etag"])
        self.assertEqual((gone.status, gone.json), (200, {"name": "ACME"}))
        self.problem(404, "api.not_found", "GET", "partners/ACME")
        (event,) = [
            each for each in self.stored("configuration.changed") if each.fields["command"] == "partner add ACME"
        ]
        self.assertEqual(event.fields["facts"], {"by": "alice"})

    def test_names(self) -> None:
        """A name may hold anything, also what separates the parts of a path."""
        for number, (name, path) in enumerate(
            (("A/B", "A%2FB"), ("Ä & Ö", "%C3%84%20%26%20%C3%96"), ("expiring", "expiring"))
        ):
            entry = {
                "name": name,
                "codes": [f"O001{number}"],
                "certificates": [{"by": "key", "sha256": f"{number:064x}"}],
            }
            self.assertEqual(self.admin("POST", "partners", {"partner": entry, "force": True}).status, 201)
            self.assertEqual(self.admin("GET", f"partners/{path}").json["partner"]["name"], name)
        self.assertEqual(self.admin("GET", "partners:expiring?days=3").json, {"items": []})

    def test_parts_of_a_list(self) -> None:
        """A list comes in parts; the cursor leads to the next."""
        for number in range(3):
            entry = {"name": f"P{number}", "codes": [f"O001{number}"]}
            rule = {"by": "key", "sha256": f"{number:064x}"}
            self.admin("POST", "partners", {"partner": {**entry, "certificates": [rule]}})
        first = self.admin("GET", "partners?limit=2").json
        self.assertEqual([each["partner"]["name"] for each in first["items"]], ["P0", "P1"])
        second = self.admin("GET", f"partners?limit=2&after={first['next']}").json
        self.assertEqual([each["partner"]["name"] for each in second["items"]], ["P2"])
        self.assertIsNone(second["next"])

    def test_description(self) -> None:
        """The description is there for every administrator, and for nobody else."""
        viewer = self.new_token("vera", AdminRole.VIEWER)
        answer = self.call("GET", "/openapi.json", token=viewer)
        self.assertEqual((answer.status, answer.json["openapi"]), (200, "3.1.0"))
        self.assertEqual(self.call("GET", "/openapi.json", token=self.token).status, 401)
        self.assertEqual(self.call("GET", "/openapi.json", token=None).status, 401)

    def test_token_is_shown_once(self) -> None:
        """A token that is made is in the answer, and the token that was made works."""
        made = self.admin("POST", "admin-tokens", {"name": "bob", "role": "viewer"}).json
        self.assertEqual(self.admin("GET", "partners", token=made["token"]).status, 200)
        self.assertNotIn(made["token"], self.admin("GET", "admin-tokens").body.decode())
        self.assertEqual(self.admin("DELETE", "admin-tokens/bob").status, 200)
        self.problem(401, "api.token", "GET", "partners", token=made["token"])


class Families(AdminCase):
    """What is not a partner."""

    def test_clients(self) -> None:
        """A client is added with a token that works and is shown once; it is bound, disabled and removed."""
        made = self.admin("POST", "clients", {"name": "second", "client": {"listen_port": 0}})
        self.assertEqual(made.status, 201)
        token = made.json["token"]
        self.assertEqual(self.call("GET", "/hello", token=token).status, 200)
        shown = self.admin("GET", "clients/second")
        self.assertEqual((shown.json["client"]["listen_port"], shown.json["client"]["enabled"]), (0, True))
        self.assertNotIn("token", shown.body.decode())
        self.assertNotIn(token, self.admin("GET", "clients").body.decode())
        bound = self.admin("POST", "clients/second/bind", {"address": "192.0.2.1"}, If_Match=shown.headers["etag"])
        self.assertEqual(bound.json["client"]["address"], "192.0.2.1")
        self.problem(412, "api.changed", "POST", "clients/second/disable", {}, If_Match=shown.headers["etag"])
        renewed = self.admin("POST", "clients/second/token", {}, If_Match="*").json["token"]
        self.assertNotEqual(renewed, token)
        self.assertEqual(self.call("GET", "/hello", token=token).status, 401)
        self.assertFalse(self.admin("POST", "clients/second/disable", {}, If_Match="*").json["client"]["enabled"])
        self.admin("DELETE", "clients/second", If_Match="*")
        self.problem(404, "api.not_found", "GET", "clients/second")
        self.problem(400, "api.input", "POST", "clients", {"name": "x", "client": {"address": "inside"}})
        self.problem(422, "api.unusable", "POST", "clients", {"name": "x", "client": {"address": "0.0.0.0"}})

    def test_tag_of_the_state_alone(self) -> None:
        """That a client called meanwhile changes the answer, and not the state that a change is held against."""
        before = self.admin("GET", "clients/inner").headers["etag"]
        self.call("GET", "/hello", SmartProxy_Version="0.1.0")
        after = self.admin("GET", "clients/inner", If_None_Match=before)
        self.assertEqual(after.status, 200)
        self.assertNotEqual(after.headers["etag"], before)
        self.assertEqual(self.admin("POST", "clients/inner/enable", {}, If_Match=before).status, 200)

    def test_where_the_mail_password_goes(self) -> None:
        """While a password is set, nobody has it sent elsewhere from far; the other settings of mail are free."""

        def changed(name: str, value: object) -> None:
            wanted = {"items": [{"name": f"backend.mail.{name}", "value": value}]}
            self.assertEqual(self.admin("PATCH", "settings", wanted, If_Match="*").status, 200)

        changed("port", 2525)
        with self.change() as change:
            mail: dict[str, object] = {"host": "mail.example", "from": "a@b.example", "to": ["c@d.example"]}
            mail["user"] = "oftp"
            for name, value in {**mail, "password_file": "/etc/smartproxy/mail-password"}.items():
                settings.put(change, f"backend.mail.{name}", value)
        places = {"host": "evil.example", "port": 25, "security": "implicit", "ca_file": "/x.pem"}
        for name, value in places.items():
            wanted = {"items": [{"name": f"backend.mail.{name}", "value": value}]}
            told = self.problem(422, "api.refused", "PATCH", "settings", wanted, If_Match="*")
            self.assertIn("password in backend.mail.password_file", told["detail"])
            self.problem(
                422, "api.refused", "POST", "settings:reset", {"names": [f"backend.mail.{name}"]}, If_Match="*"
            )
        changed("to", ["e@d.example"])

    def test_settings(self) -> None:
        """Settings are set together or not at all, under the condition that nobody set one meanwhile."""
        shown = self.admin("GET", "settings?prefix=server.deadlines.ssid")
        self.assertEqual([each["value"] for each in shown.json["items"]], [30])
        tag = shown.headers["etag"]
        wanted = {"items": [{"name": "server.deadlines.ssid", "value": 45}]}
        self.problem(428, "api.condition", "PATCH", "settings", wanted)
        told = self.admin("PATCH", "settings?dry_run=true", wanted, If_Match=tag).json
        self.assertEqual(told["differences"][0]["name"], "server.deadlines.ssid")
        self.assertEqual(self.admin("PATCH", "settings", wanted, If_Match=tag).status, 200)
        self.problem(412, "api.changed", "PATCH", "settings", wanted, If_Match=tag)
        values: tuple[object, ...] = (0, "x", None, [], 10**18)
        for value in values:
            first = {"name": "server.deadlines.handshake", "value": 9}
            both = {"items": [first, {**wanted["items"][0], "value": value}]}
            self.problem(422, "api.refused", "PATCH", "settings", both, If_Match="*")
        none = {"items": [{"name": "server.deadline", "value": 1}]}
        self.problem(404, "api.not_found", "PATCH", "settings", none, If_Match="*")
        (event,) = self.stored("settings.changed")[-1:]
        self.assertEqual(event.fields["command"], "settings set server.deadlines.ssid 45")
        back = self.admin("POST", "settings:reset", {"names": ["server.deadlines.ssid"]}, If_Match="*")
        self.assertEqual(back.json["items"], [{"name": "server.deadlines.ssid", "value": 30}])

    def test_settings_of_the_machine(self) -> None:
        """What has the backend start a program or send a file away is set on its own machine only."""
        for name, value in (
            ("backend.event_script.program", "/usr/local/bin/on-event"),
            ("backend.mail.password_file", "/etc/smartproxy/mail"),
        ):
            wanted = {"items": [{"name": name, "value": value}]}
            told = self.problem(422, "api.refused", "PATCH", "settings", wanted, If_Match="*")
            self.assertIn("on the backend's own machine only", told["detail"])
            self.problem(422, "api.refused", "POST", "settings:reset", {"names": [name]}, If_Match="*")
        shown = self.admin("GET", "settings?prefix=backend.event_script.program")
        self.assertEqual([each["value"] for each in shown.json["items"]], [None])

    def test_events(self) -> None:
        """The newest events, and from a cursor on those that follow; what is no level or time is refused."""
        for number in (31, 32, 33):
            item = {"name": "server.deadlines.ssid", "value": number}
            self.admin("PATCH", "settings", {"items": [item]}, If_Match="*")
        newest = self.admin("GET", "events?name=settings.&limit=2").json
        commands = [each["fields"]["command"] for each in newest["items"]]
        self.assertEqual(commands, [f"settings set server.deadlines.ssid {number}" for number in (32, 33)])
        self.assertEqual(self.admin("GET", f"events?after={newest['next']}").json, {**newest, "items": []})
        seen: list[str] = []
        after = 0
        for _ in range(2):
            part = self.admin("GET", f"events?name=settings.changed&level=info&limit=2&after={after}").json
            seen, after = seen + [each["fields"]["command"][-2:] for each in part["items"]], part["next"]
        self.assertEqual(seen[-3:], ["31", "32", "33"])
        for query in ("level=loud", "since=yesterday", "after=-1", "after=x", "since=9999-99-99T00:00:00Z"):
            self.problem(400, "api.input", "GET", f"events?{query}")

    def test_history(self) -> None:
        """The history in parts, the newest first, and what a generation changed; for auditors, not for viewers."""
        auditor = self.new_token("audrey", AdminRole.AUDITOR)
        self.admin("POST", "partners?comment=ticket%204711", ACME)
        newest = self.generation()
        part = self.admin("GET", "history?limit=2", token=auditor).json
        self.assertEqual([each["number"] for each in part["items"]], [newest - 1, newest])
        self.assertEqual((part["items"][1]["comment"], part["items"][1]["channel"]), ("ticket 4711", "api"))
        rest = self.admin("GET", f"history?before={part['next']}", token=auditor).json
        self.assertEqual([each["number"] for each in rest["items"]], list(range(1, newest - 1)))
        self.assertIsNone(rest["next"])
        shown = self.admin("GET", f"history/{newest}", token=auditor).json
        self.assertEqual([each["name"] for each in shown["differences"]], ["ACME"])
        self.problem(404, "api.not_found", "GET", f"history/{newest + 1}")
        self.problem(400, "api.input", "GET", "history/x")
        viewer = self.new_token("vera", AdminRole.VIEWER)
        self.problem(403, "api.scope", "GET", "history", token=viewer)

    def test_trials(self) -> None:
        """A trial is asked for, and what came of it is there once a client has told it."""
        self.problem(404, "api.not_found", "POST", "trials", {"partner": "ACME"})
        session = self.admin("POST", "trials", {}).json["session"]
        self.assertEqual(self.admin("GET", f"trials/{session}").json, {"event": None, "asked": True})
        record = {"name": "station.answered", "time": "2026-11-20T12:00:01Z", "source": "client", "session": session}
        told = {"events": [{**record, "sequence": 1, "host": "192.0.2.1", "port": 3305, "duration": 0.1}]}
        self.assertEqual(self.call("POST", "/events", told).json, {"stored": 1, "refused": 0})
        event = self.admin("GET", f"trials/{session}").json["event"]
        self.assertEqual((event["name"], event["fields"]["session"]), ("station.answered", session))
        self.problem(400, "api.input", "GET", "trials/x")
        with self.store.reading() as session_of_store:
            newest = audit.listed(session_of_store, 1)[0]
        self.assertEqual((newest.by, newest.channel, newest.what), ("alice", "api", "trial start the station"))

    def test_cas(self) -> None:
        """A CA is added with its certificates, changed and removed; what is no CA's certificate is refused."""
        root = TestCa.root("Odette")
        pem = root.certificate_pem.decode()
        made = self.admin("POST", "cas", {"name": "odette", "certificates": [pem], "ca": {"revocation": "prefer"}})
        self.assertEqual((made.status, made.json["ca"]["revocation"]), (201, "prefer"))
        changed = self.admin("PATCH", "cas/odette", {"ca": {"grace_hours": 2}}, If_Match=made.headers["etag"])
        self.assertEqual((changed.json["ca"]["grace_hours"], changed.json["ca"]["revocation"]), (2, "prefer"))
        self.assertEqual([each["ca"]["name"] for each in self.admin("GET", "cas").json["items"]], ["odette"])
        leaf = root.issue("acme").certificate_pem.decode()
        self.problem(422, "api.unusable", "POST", "cas", {"name": "x", "certificates": [leaf]})
        self.problem(400, "api.input", "POST", "cas", {"name": "x", "certificates": ["x"]})
        self.assertEqual(self.admin("DELETE", "cas/odette", If_Match="*").status, 200)


class Conditions(AdminCase):
    """Nobody overwrites what somebody else did meanwhile, and nothing is done twice."""

    def setUp(self) -> None:
        """A partner, and its tag."""
        super().setUp()
        self.tag = self.admin("POST", "partners", ACME).headers["etag"]

    def test_dry_run(self) -> None:
        """A dry run tells what would be different and whom it refuses, and changes nothing; what is refused is told."""
        before = self.generation()
        told = self.admin("POST", "partners/ACME/disable?dry_run=true", {}, If_Match=self.tag)
        self.assertEqual((told.status, told.json["generation"]), (200, before + 1))
        (difference,) = told.json["differences"]
        self.assertEqual((difference["subject"], difference["name"]), ("partner", "ACME"))
        self.assertEqual(
            (difference["before"]["entry"]["enabled"], difference["after"]["entry"]["enabled"]), (True, False)
        )
        self.assertEqual(told.json["refusals"], [{"partner": "ACME", "why": "it is disabled"}])
        gone = self.admin("DELETE", "partners/ACME?dry_run=true", If_Match="*").json
        self.assertEqual((gone["differences"][0]["after"], gone["refusals"][0]["partner"]), (None, "ACME"))
        twin = {"partner": {**ACME["partner"], "name": "TWIN"}}
        self.problem(422, "api.refused", "POST", "partners?dry_run=true", twin)
        self.problem(412, "api.changed", "DELETE", "partners/ACME?dry_run=true", If_Match='"x"')
        self.problem(400, "api.input", "DELETE", "partners/ACME?dry_run=1", If_Match="*")
        shown = self.admin("GET", "partners/ACME").json["partner"]
        self.assertEqual((self.generation(), shown["enabled"]), (before, True))

    def test_comment(self) -> None:
        """A comment is kept in the history, with how the change came in."""
        self.admin("POST", "partners/ACME/disable?comment=on%20holiday", {}, If_Match="*")
        with self.store.reading() as session:
            row = session.get(GenerationRow, self.generation())
        assert row is not None
        self.assertEqual((row.comment, row.way, row.made_by), ("on holiday", "api", "alice"))

    def test_changed_meanwhile(self) -> None:
        """The second of two who saw the same state is refused, and nothing is changed."""
        self.admin("PATCH", "partners/ACME", {"partner": {"lowest_level": 4}}, If_Match=self.tag)
        before = self.generation()
        for method, path, body in (
            ("PATCH", "partners/ACME", {"partner": {"lowest_level": 5}}),
            ("DELETE", "partners/ACME", None),
            ("POST", "partners/ACME/disable", {}),
            ("PATCH", "partners/ACME/outbound", {"outbound": None}),
        ):
            self.problem(412, "api.changed", method, path, body, If_Match=self.tag)
            self.problem(428, "api.condition", method, path, body)
        self.assertEqual(self.generation(), before)
        self.assertEqual(self.admin("POST", "partners/ACME/disable", {}, If_Match="*").status, 200)

    def test_one_of_several_tags(self) -> None:
        """It is enough that one of the tags is the state's; whatever else an answer told does not count."""
        state = self.tag.strip('"').partition(".")[0]
        for tags in (f'"x", {self.tag}', f'W/"{state}.other"'):
            self.assertEqual(self.admin("POST", "partners/ACME/enable", {}, If_Match=tags).status, 200)

    def test_second(self) -> None:
        """A call that needs a second administrator is a conflict until another one makes it, too."""
        with self.change() as change:
            settings.put(change, "backend.four_eyes", ["partner.disable"])
        bob = self.new_token("bob", AdminRole.OPERATOR)
        for _ in range(2):
            self.problem(409, "api.second", "POST", "partners/ACME/disable", {}, If_Match="*")
        waiting = self.admin("GET", "history:waiting").json["items"]
        self.assertEqual([each["said"] for each in waiting], ["partner disable ACME"])
        done = self.admin("POST", "partners/ACME/disable", {}, token=bob, If_Match="*")
        self.assertEqual((done.status, done.json["partner"]["enabled"]), (200, False))

    def test_known_answer(self) -> None:
        """Who has the answer is told so, with no body."""
        known = self.admin("GET", "partners/ACME").headers["etag"]
        answer = self.admin("GET", "partners/ACME", If_None_Match=known)
        self.assertEqual((answer.status, answer.body), (304, b""))
        self.assertEqual(self.admin("GET", "partners/ACME", If_None_Match='"x"').status, 200)

    def test_headers_that_are_none(self) -> None:
        """Overlong and malformed tags and keys are refused."""
        for tag in ("x", '"' + "x" * 100 + '"', ", ".join(['"abcdefgh"'] * 200)):
            self.problem(400, "api.etag", "GET", "partners/ACME", If_None_Match=tag)
            self.problem(400, "api.etag", "DELETE", "partners/ACME", If_Match=tag)
        for key in ("x" * 256, "a b"):
            self.problem(400, "api.key", "POST", "partners", ACME, Idempotency_Key=key)
        self.problem(400, "api.key", "GET", "partners", Idempotency_Key="x")

    def test_repeated(self) -> None:
        """A creating call that is repeated with its key is answered again, and not done again."""
        entry = {"name": "B", "codes": ["O0013B"], "certificates": [{"by": "key", "sha256": "cd" * 32}]}
        first = self.admin("POST", "partners", {"partner": entry}, Idempotency_Key="k1")
        before = self.generation()
        again = self.admin("POST", "partners", {"partner": entry}, Idempotency_Key="k1")
        self.assertEqual((again.status, again.json), (201, first.json))
        self.assertEqual(again.headers["idempotency-replayed"], "true")
        self.assertEqual(self.generation(), before)
        self.problem(409, "api.key", "POST", "partners", ACME, Idempotency_Key="k1")
        self.problem(409, "api.taken", "POST", "partners", {"partner": entry})
        bob = self.new_token("bob", AdminRole.OPERATOR)
        self.problem(409, "api.taken", "POST", "partners", {"partner": entry}, token=bob, Idempotency_Key="k1")

    def test_repeated_with_another_file(self) -> None:
        """The same key with another file is another call: the file is not taken for imported."""
        made = [base64.b64encode(each.certificate_pem + each.key_pem).decode() for each in map(self_signed, "ab")]
        first, other = ({"files": [{"name": "main.pem", "octets": each}]} for each in made)
        given = {"Idempotency_Key": "k1", "If_Match": "*"}
        self.assertEqual(self.admin("POST", "identities/main/import", first, **given).status, 200)
        again = self.admin("POST", "identities/main/import", first, **given)
        self.assertEqual(again.headers["idempotency-replayed"], "true")
        self.problem(409, "api.key", "POST", "identities/main/import", other, **given)

    def test_repeated_after_a_day(self) -> None:
        """A key is forgotten after a day."""
        self.admin("POST", "admin-tokens", {"name": "eve", "role": "viewer", "until": "2027-01-01T00:00:00Z"})
        entry = {"name": "B", "codes": ["O0013B"], "certificates": [{"by": "key", "sha256": "cd" * 32}]}
        late = self.admin("POST", "admin-tokens", {"name": "late", "role": "operator"}).json["token"]
        self.admin("POST", "partners", {"partner": entry}, Idempotency_Key="k1", token=late)
        self.clock.advance(86_401)
        self.problem(409, "api.taken", "POST", "partners", {"partner": entry}, Idempotency_Key="k1", token=late)

    def test_secret_is_not_kept(self) -> None:
        """A token is not made twice with one key, and not shown twice."""
        body = {"name": "bob", "role": "viewer"}
        self.assertEqual(self.admin("POST", "admin-tokens", body, Idempotency_Key="k1").status, 201)
        self.assertIn(
            "secret", self.problem(409, "api.key", "POST", "admin-tokens", body, Idempotency_Key="k1")["detail"]
        )

    def test_answer_that_comes_later(self) -> None:
        """What goes on behind its transaction is answered again with what came of it, and with nothing before that."""
        with self.change() as change:
            settings.put(change, "backend.event_script.program", "/bin/true")
        meanwhile = []

        def run(*arguments: object) -> ScriptRun:
            detail = self.problem(409, "api.key", "POST", "event-script:test", {}, Idempotency_Key="k1")["detail"]
            meanwhile.append(detail)
            return ScriptRun(exit_status=3, output="the output", seconds=1.0)

        self.patch(EventScripts, "run", run)
        first = self.admin("POST", "event-script:test", {}, Idempotency_Key="k1")
        again = self.admin("POST", "event-script:test", {}, Idempotency_Key="k1")
        self.assertEqual((first.json["output"], first.json["exit_status"]), ("the output", 3))
        self.assertEqual((again.json, again.headers["idempotency-replayed"]), (first.json, "true"))
        self.assertEqual(len(meanwhile), 1, "it ran once")
        self.assertIn("still being carried out", meanwhile[0])

    def test_failed_later(self) -> None:
        """What cannot go on was not done: the same key does it when it can."""
        with self.change() as change:
            settings.put(change, "backend.event_script.program", "/bin/true")
        self.patch(EventScripts, "run", lambda *arguments: ScriptRun(exit_status=0, seconds=1.0))
        with event_script._TESTING:
            self.problem(422, "api.refused", "POST", "event-script:test", {}, Idempotency_Key="k1")
        self.assertEqual(self.admin("POST", "event-script:test", {}, Idempotency_Key="k1").status, 200)


class Refused(AdminCase):
    """What is not right."""

    def test_revoked_while_lists_are_read(self) -> None:
        """A token that is revoked while a file is read loads nothing."""

        def of_file(store: Store, name: str, file: object, now: datetime) -> ListsRead:
            with self.change() as change:
                administrators.revoke(change, "alice")
            return ListsRead(files=(ListFile(name=name, octets=b"x"),))

        self.patch(ListsRead, "of_file", of_file)
        answer = self.admin("POST", "crls:load?name=x.crl", b"x", Content_Type="application/pkix-crl")
        self.assertEqual((answer.status, answer.json["type"]), (401, "urn:smartproxy:problem:api.token"))

    def test_permission(self) -> None:
        """A token does what its scopes say and no more; the refusal names the scope, and the log whose token it was."""
        viewer = self.new_token("vera", AdminRole.VIEWER)
        self.assertEqual(self.admin("GET", "partners", token=viewer).status, 200)
        before = self.generation()
        for method, path in (
            ("POST", "partners"),
            ("PATCH", "partners/X"),
            ("DELETE", "partners/X"),
            ("GET", "admin-tokens"),
        ):
            self.assertIn("scope", self.problem(403, "api.scope", method, path, token=viewer)["detail"])
        self.assertEqual(self.generation(), before)
        told = self.refusals()[-1]
        self.assertEqual((told["cause"], told["detail"], told["status"]), ("api.scope", "the token of vera", 403))

    def test_who_did_what(self) -> None:
        """A viewer reads no history, audit trail, users or tokens; events and what waits name who it was, too."""
        self.admin("POST", "partners", ACME)
        viewer, auditor = self.new_token("vera", AdminRole.VIEWER), self.new_token("otto", AdminRole.AUDITOR)
        for path in ("history", "audit", "users", "admin-tokens"):
            self.problem(403, "api.scope", "GET", path, token=viewer)
            self.assertEqual(self.admin("GET", path, token=auditor).status, 200, path)
        told = self.admin("GET", "events?name=configuration.changed", token=viewer).json["items"]
        (added,) = [each["fields"] for each in told if each["fields"]["command"] == "partner add ACME"]
        self.assertEqual(added["facts"]["by"], "alice")
        with self.change() as change:
            settings.put(change, "backend.four_eyes", ["partner.disable"])
        self.problem(409, "api.second", "POST", "partners/ACME/disable", {}, If_Match="*")
        (waiting,) = self.admin("GET", "history:waiting", token=viewer).json["items"]
        self.assertEqual(waiting["by"], "alice")
        self.assertIn("history, audit trail, users and tokens", AdminRole.told())

    def test_every_operation_needs_its_scope(self) -> None:
        """No operation is carried out without a token, without its scope, or with every scope but its own."""
        scopes = {each.scope for each in OPERATIONS.values()}
        tokens = {
            scope: self.new_token(f"all-but-{number}", None, *sorted(scopes - {scope}))
            for number, scope in enumerate(sorted(scopes))
        }
        before = self.generation()
        for each in OPERATIONS.values():
            path = "/".join("ACME" if part.startswith("{") else part for part in each.path)
            self.problem(403, "api.scope", each.method, path, {}, token=tokens[each.scope], If_Match="*")
            self.problem(401, "api.no_token", each.method, path, {}, token=None, If_Match="*")
        self.assertEqual(self.generation(), before)

    def test_clients_token(self) -> None:
        """A client's token is none for administrators, nor the other way round."""
        self.problem(401, "api.token", "GET", "partners", token=self.token)
        self.assertEqual(self.call("GET", "/configuration", token=self.alice).status, 401)

    def test_ended(self) -> None:
        """A token whose end is over is refused, and told so."""
        self.clock.advance(86_400)
        self.problem(401, "api.ended", "GET", "partners")

    def test_tokens_that_are_none(self) -> None:
        """No token, one that is not ASCII, and one that is overlong."""
        self.problem(401, "api.no_token", "GET", "partners", token=None)
        self.problem(401, "api.token", "GET", "partners", token=None, SmartProxy_Token="spa_\u00e4\u00f6")
        self.problem(401, "api.token", "GET", "partners", token=None, SmartProxy_Token="x" * 300)

    def test_paths_and_methods(self) -> None:
        """What is not there, and what a path does not take, with what it takes."""
        for path in ("", "x", "partners/", "partners//enable", "partners/a/b/c", "partner"):
            self.problem(404, "api.path", "GET", path)
        self.problem(400, "api.path", "GET", "partners/%ff")
        self.problem(405, "api.method", "PUT", "partners")
        answer = self.admin("DELETE", "partners")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, POST"))
        self.assertEqual(self.admin("OPTIONS", "partners").status, 405)

    def test_input(self) -> None:
        """Everything that is wrong with a call is named, with its place and without the value."""
        problem = self.problem(400, "api.input", "POST", "partners", {"partner": {"name": "", "x": 1}, "y": 2})
        places = {each["where"] for each in problem["errors"]}
        self.assertEqual(places, {"partner.name", "partner.codes", "partner.x", "y"})
        for body in (b"{", b"[]", b"\xff", b'{"partner": {"name": "A", "name": "B"}}', b"[" * 100, b'{"a": 1e400}'):
            self.problem(400, "api.input", "POST", "partners", body)
        for query in (
            "limit=0",
            "limit=501",
            "limit=x",
            "limit=99999999999999999999",
            "limit=1&limit=2",
            "x=1",
            "after=",
        ):
            self.problem(400, "api.input", "GET", f"partners?{query}")
        self.problem(400, "api.input", "POST", "partners?x=1", ACME)
        self.problem(400, "api.input", "PATCH", "partners/ACME", {"name": "B"}, If_Match="*")
        self.problem(413, "api.too_large", "POST", "partners", b" " * (1024 * 1024 + 1))
        times = ("2026-13-01T00:00:00Z", "99999-01-01T00:00:00Z", 1, "2027-01-01T00:00:00+99:00")
        for until in times:
            self.problem(400, "api.input", "POST", "admin-tokens", {"name": "x", "role": "viewer", "until": until})
        problem = self.problem(
            422, "api.refused", "POST", "admin-tokens", {"name": "x", "role": "viewer", "until": "9999-12-31T23:59:59Z"}
        )
        self.assertIn("ten years", problem["detail"])

    def test_ends_of_time(self) -> None:
        """What reads is asked for all times that there are, each of its times at both ends, and answers."""
        asked = 0
        for each in OPERATIONS.values():
            times = [key for key, kind in declared(each.takes).items() if kind in (Instantaneous(), _TIME_OR_NONE)]
            for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z") if each.method == "GET" else ():
                for key in times:
                    answer = self.admin("GET", f"{'/'.join(each.path)}?{key}={moment}")
                    self.assertEqual(answer.status, 200, (each.name, key, answer.body))
                    asked += 1
        self.assertGreaterEqual(asked, 16)

    def test_configuration_that_would_not_be_valid(self) -> None:
        """It is refused as the command refuses it, and nothing is changed."""
        self.admin("POST", "partners", ACME)
        twin = {"partner": {**ACME["partner"], "name": "TWIN"}}
        self.problem(422, "api.refused", "POST", "partners", twin)
        self.problem(422, "api.refused", "POST", "partners", {"partner": {"name": "B", "codes": ["O1"]}})
        rule = {"by": "subject", "ca": "none", "serial_number": "x"}
        entry = {"name": "B", "codes": ["O1"], "certificates": [rule]}
        self.problem(404, "api.not_found", "POST", "partners", {"partner": entry})

    def test_guessing(self) -> None:
        """The first wrong tokens are refused at once, the next ones ever later; a good one is not kept waiting."""
        for _ in range(limits.GUESSES_FREE):
            self.problem(401, "api.token", "GET", "partners", token="spa_guess")
        waiting = self.start("GET", "/admin/partners", token="spa_guess")
        self.agent.flush()
        self.assertNoResult(waiting)
        self.assertEqual(self.admin("GET", "partners").status, 200)
        self.clock.advance(2)
        self.agent.flush()
        self.assertEqual(self.successResultOf(waiting).status, 401)
        (told,) = [each for each in self.told if each["name"] == "backend.guessing"]
        self.assertEqual(told["cause"], "api.guessing")
        held = [self.start("GET", "/admin/partners", token="spa_guess") for _ in range(limits.GUESSES_HELD_MOST)]
        answer = self.admin("GET", "partners", token="spa_guess")
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "16"))
        self.clock.advance(limits.GUESS_SECONDS_MOST)
        self.agent.flush()
        for each in held:
            self.assertEqual(self.successResultOf(each).status, 401)


class Waiting(AdminCase):
    """Calls that wait for the next event."""

    def wait(self, seconds: int = 50, more: str = "", token: str = "") -> Deferred[Answer]:
        """Alice waits for an event after the newest one."""
        with self.store.reading() as session:
            newest = journal.newest_number(session)
        path = f"/admin/events?after={newest}&wait={seconds}{more}"
        waiting = self.start("GET", path, token=token or self.alice)
        self.agent.flush()
        return waiting

    def happens(self, name: str = "crl.url_seen", **fields: object) -> None:
        """An event is stored."""
        with self.store.writing() as session:
            journal.keep(session, [journal.record_of(name, NOW, 1, **{"url": "http://x", **fields})], NOW)

    def pass_time(self, seconds: float) -> None:
        """Let time go by in small steps."""
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
        self.agent.flush()

    def test_event(self) -> None:
        """It is answered as soon as there is one, with it and the next cursor; the store is asked twice a second."""
        waiting = self.wait()
        self.pass_time(10)
        self.assertNoResult(waiting)
        self.happens()
        self.pass_time(0.75)
        answer = self.successResultOf(waiting)
        self.assertEqual([each["name"] for each in answer.json["items"]], ["crl.url_seen"])
        self.assertEqual(answer.json["next"], answer.json["items"][0]["number"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_event(self) -> None:
        """Without one it is answered when its time is over, and not before; without wait or cursor at once."""
        waiting = self.wait(20)
        self.pass_time(19.5)
        self.assertNoResult(waiting)
        self.pass_time(0.5)
        self.assertEqual(self.successResultOf(waiting).json["items"], [])
        self.assertEqual(self.admin("GET", "events?wait=50&name=mail.sent").json["items"], [])
        self.problem(400, "api.input", "GET", "events?after=1&wait=51")

    def test_others(self) -> None:
        """An event that is not wanted does not end it."""
        waiting = self.wait(20, "&name=mail.sent")
        self.happens()
        self.pass_time(10)
        self.assertNoResult(waiting)
        self.pass_time(10)
        self.assertEqual(self.successResultOf(waiting).json["items"], [])

    def test_revoked_meanwhile(self) -> None:
        """Whose token is revoked while it waits learns nothing any more."""
        waiting = self.wait()
        with self.change() as change:
            administrators.revoke(change, "alice")
        self.happens()
        self.pass_time(1)
        self.assertEqual(self.successResultOf(waiting).status, 401)

    def test_bounds(self) -> None:
        """So many calls of one administrator wait, and so many of all; the others are refused, and may ask again."""
        others = WAITING_ADMINISTRATORS_MOST // WAITING_PER_ADMINISTRATOR_MOST
        tokens = [self.alice, *(self.new_token(f"admin{number}", AdminRole.VIEWER) for number in range(others))]
        last = tokens.pop()
        calls = []
        for token in tokens:
            calls += [self.wait(token=token) for _ in range(WAITING_PER_ADMINISTRATOR_MOST)]
            for refusal in (self.wait(token=token), *([self.wait(token=last)] if token == tokens[-1] else [])):
                refused = self.successResultOf(refusal)
                self.assertEqual((refused.status, refused.headers["retry-after"]), (429, "5"))
                self.assertIn("api.waiting", refused.json["type"])
        for each in calls:
            self.assertNoResult(each)
        self.api.event_watch.stop()
        self.agent.flush()
        for each in calls:
            self.assertEqual(self.successResultOf(each).status, 200)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        again = self.wait(1)
        self.pass_time(1)
        self.assertEqual(self.successResultOf(again).status, 200)


class Health(ApiCase):
    """What load balancers ask."""

    def at_root(self, path: str) -> Answer:
        """A call without a token."""
        waiting = self.agent.request(b"GET", b"https://backend.example" + path.encode()).addCallback(self._read)
        self.agent.flush()
        return cast(Answer, self.successResultOf(waiting))

    def busy(self, calls: ClientRequests) -> None:
        """What a store does that is locked."""
        raise StoreBusy

    def test_ready(self) -> None:
        """Alive as long as it answers, ready as long as its store does; nobody writes a refusal down."""
        self.assertEqual(self.at_root("/health/live").status, 200)
        self.assertEqual(self.at_root("/health/ready").json, {"status": "ok"})
        self.patch(ClientRequests, "generation", self.busy)
        self.clock.advance(2)
        self.assertEqual(self.at_root("/health/ready").status, 503)
        self.assertEqual(self.at_root("/health/live").status, 200)
        self.assertEqual(self.refusals(), [])

    def test_asked_once(self) -> None:
        """However many ask, the store is asked once a second, and is not waited for."""
        asked: list[Deferred[object]] = []

        def ask() -> Deferred[object]:
            asked.append(Deferred())
            return asked[-1]

        readiness = Readiness(self.clock, ask)
        first, second = readiness.ready(), readiness.ready()
        asked[0].callback(None)
        self.assertTrue(self.successResultOf(first) and self.successResultOf(second))
        self.assertTrue(self.successResultOf(readiness.ready()))
        self.clock.advance(1)
        late = readiness.ready()
        self.assertEqual(len(asked), 2)
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(late))
        asked[1].callback(None)
        self.assertTrue(self.successResultOf(readiness.ready()))
