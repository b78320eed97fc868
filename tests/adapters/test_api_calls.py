"""The API's calls: who may call, what is answered, what is told of a refusal."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from twisted.internet.address import IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from smartproxy._version import __version__
from smartproxy.backend import authority, clients, figures, journal, licences, partners, settings
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.errors import StoreBusy
from smartproxy.backend.generations import Tag
from smartproxy.backend.port import ApiSite
from smartproxy.backend.session_tables import FigureRow
from smartproxy.client.upkeep import TunnelKey
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.configuration import parse
from smartproxy.policy.partners import KeyPin, Partner
from smartproxy.policy.settings import OutboundListener
from smartproxy.policy.versions import NEWEST, OLDEST
from tests.adapters.api_site import Answer, ApiCase
from tests.databases import Database
from tests.unit.sites import NOW, PIN, PROXY_ID


class WhoMayCall(ApiCase):
    """Tokens, disabled clients, versions."""

    def refused(self, answer: Answer, status: int, code: str) -> None:
        """See that an answer is this refusal, with advice, and was told once."""
        self.assertEqual((answer.status, answer.json["error"]), (status, code))
        self.assertTrue(answer.json["message"] and answer.json["advice"])
        self.assertEqual(answer.headers["content-type"], "application/json")
        (told,) = self.refusals()
        self.assertEqual((told["status"], told["method"], told["path"]), (status, "GET", "/api/v1/hello"))
        self.assertEqual((told["message"], told["advice"]), (answer.json["message"], answer.json["advice"]))
        self.assertEqual(told["cause"], f"api.{code}")
        self.assertNotIn(self.token, json.dumps(self.told))

    def test_known(self) -> None:
        """A client with its token is greeted with version, API and site."""
        answer = self.call("GET", "/hello", SmartProxy_Version=__version__, SmartProxy_Protocol=str(NEWEST))
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.json,
            {
                "version": __version__,
                "protocol": {"oldest": OLDEST, "newest": NEWEST},
                "api": 1,
                "site": "Muster GmbH",
            },
        )
        self.assertEqual(self.refusals(), [])

    def test_other_header(self) -> None:
        """Where a web server in front needs Authorization for itself, the token comes in a header of its own."""
        basic = self.call("GET", "/hello", Authorization="Basic dTpw", SmartProxy_Token=self.token)
        self.assertEqual(basic.status, 200)

    def test_no_token(self) -> None:
        """Without a token the answer says where to put it."""
        answer = self.call("GET", "/hello", token=None)
        self.refused(answer, 401, "no_token")
        self.assertEqual(answer.headers["www-authenticate"], "Bearer")

    def test_wrong_token(self) -> None:
        """A wrong token is refused, and does not appear in what is told."""
        self.refused(self.call("GET", "/hello", token="spc_" + "A" * 43), 401, "token")
        self.assertNotIn("AAAA", json.dumps(self.told))

    def test_token_not_ascii(self) -> None:
        """A token with octets that no token has is as unknown as any, in either header; it is no bug of ours."""
        for octets in (b"\xe9\xff", "é".encode(), b"x" * 201):
            for given in (
                {"SmartProxy_Token": octets},
                {"Authorization": b"Bearer " + octets, "SmartProxy_Token": octets},
            ):
                answer = self.call("GET", "/hello", token=None, **given)  # type: ignore[arg-type]  # octets on purpose
                self.assertEqual((answer.status, answer.json["error"]), (401, "token"), given)
        answer = self.call("GET", "/hello", Authorization=b"Bearer \xe9\xff")  # type: ignore[arg-type]  # as above
        self.assertEqual((answer.status, answer.json["error"]), (401, "no_token"))
        self.assertNotIn("internal.error", [each["name"] for each in self.told])

    def test_disabled(self) -> None:
        """A disabled client is told so, since it shows its token; the operator is told which client it is."""
        with self.change() as change:
            clients.enable(change, "inner", False)
        self.refused(self.call("GET", "/hello"), 401, "removed")
        self.assertEqual(self.refusals()[0]["client"], "inner")

    def test_removed(self) -> None:
        """A removed client is told so as long as a certificate of it could be valid, then it is a stranger."""
        with self.change() as change:
            clients.remove(change, "inner")
        self.refused(self.call("GET", "/hello"), 401, "removed")
        self.assertEqual(self.refusals()[0]["client"], "inner")
        with self.change(now=NOW + timedelta(days=8)) as change:
            clients.add(change, "another")
            clients.remove(change, "another")
        self.assertEqual(self.call("GET", "/hello").json["error"], "token")

    def test_added_again(self) -> None:
        """A client of the same name has another token, and its first certificate is later than what is withdrawn."""
        with self.change() as change:
            clients.remove(change, "inner")
        with self.change() as change:
            token = clients.add(change, "inner")
        self.assertEqual(self.call("GET", "/hello").json["error"], "removed")
        answer = self.call("POST", "/tunnel-certificate", {"csr": TunnelKey.make().request}, token=token)
        leaf = x509.load_pem_x509_certificate(answer.json["certificate"].encode())
        with self.store.reading() as session:
            until = licences.withdrawn(session, "inner")
        assert until is not None
        self.assertEqual((leaf.not_valid_before_utc - until).total_seconds(), 1)

    def test_bound(self) -> None:
        """A client that is bound to another address is told so and where it called from; the operator, to which."""
        with self.change() as change:
            clients.alter(change, "inner", address="10.0.0.5")
        answer = self.call("GET", "/hello")
        self.refused(answer, 403, "address")
        self.assertIn("client inner", answer.json["message"])
        self.assertIn("bound to another address than 127.0.0.1", answer.json["message"])
        self.assertNotIn("10.0.0.5", answer.body.decode())
        told = self.refusals()[0]
        self.assertEqual((told["client"], told["detail"]), ("inner", "the client is bound to the address 10.0.0.5"))
        with self.store.reading() as session:
            self.assertIsNone(clients.find(session, "inner").last_seen)

    def test_bound_to_where_it_is(self) -> None:
        """From its own address it is served; 127.0.0.1 is the same as ::1."""
        for address, bound in (("10.0.0.5", "10.0.0.5"), ("::1", "127.0.0.1"), ("127.0.0.1", "::1")):
            with self.change() as change:
                clients.alter(change, "inner", address=bound)
            caller = ClientRequests(self.store).caller(self.token, NOW, None, address)
            assert caller is not None
            self.assertTrue(caller.may_call, address)

    def test_versions(self) -> None:
        """A client of another protocol is refused, on every path, with both versions and what to update."""
        for spoken, update in (
            (str(NEWEST + 1), "update smartproxy-backend"),
            (str(OLDEST - 1), "update smartproxy-client"),
            (None, "update smartproxy-client"),
        ):
            self.told.clear()
            headers = {} if spoken is None else {"SmartProxy_Protocol": spoken}
            answer = self.call("GET", "/hello", SmartProxy_Version="99.0.0", **headers)
            self.refused(answer, 426, "version")
            self.assertIn("99.0.0", answer.json["message"])
            self.assertIn(__version__, answer.json["message"])
            self.assertIn(update, answer.json["advice"])
            (told,) = self.refusals()
            self.assertEqual((told["theirs"], told["ours"], told["client"]), ("99.0.0", __version__, "inner"))
            for path in ("/configuration", "/licences", "/trials"):
                self.assertEqual(self.call("GET", path, SmartProxy_Version="99.0.0", **headers).status, 426)

    def test_version_not_ascii(self) -> None:
        """A version in octets that are not ASCII is none."""
        for octets in (b"\xff", "\u0661.2".encode()):
            answer = self.call("GET", "/hello", SmartProxy_Version=octets)  # type: ignore[arg-type]  # octets on purpose
            self.assertEqual((answer.status, answer.json["error"]), (426, "version"))

    def test_unreadable_version(self) -> None:
        """What is no version is refused, and not kept as the client's."""
        self.refused(self.call("GET", "/hello", SmartProxy_Version="\x1b[2J"), 426, "version")
        with self.store.reading() as session:
            self.assertIsNone(clients.find(session, "inner").last_version)

    def test_noted(self) -> None:
        """When a client called last, and with what, can be seen; a refused one leaves no trace there."""
        self.call("GET", "/hello", SmartProxy_Version=__version__, SmartProxy_Protocol=str(NEWEST))
        with self.store.reading() as session:
            row = clients.find(session, "inner")
        self.assertEqual((row.last_seen, row.last_version), (NOW, __version__))

    def test_ipv4_on_ipv6(self) -> None:
        """An IPv4 caller of a port that listens on ``::`` is shown and stored with its IPv4 address."""
        site = ApiSite(self.api.resource(), self.api.admits, self.clock)
        transport = StringTransport(peerAddress=IPv6Address("TCP", "::ffff:192.0.2.7", 40000))
        protocol = site.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /api/v1/hello HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual([each["peer"] for each in self.refusals()], ["192.0.2.7"])
        protocol.connectionLost(Failure(ConnectionDone()))

    def test_bodies(self) -> None:
        """The body of a caller whose token is not known is not read; a known one's is."""
        for token, kept in ((None, False), ("spc_x", False), (self.token, True)):
            headers = "" if token is None else f"Authorization: Bearer {token}\r\n"
            protocol = ApiSite(self.api.resource(), self.api.admits, self.clock).buildProtocol(None)
            transport = StringTransport()
            protocol.makeConnection(transport)
            protocol.dataReceived(
                f"POST /api/v1/events HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 500000\r\n\r\n".encode()
            )
            protocol.dataReceived(b" " * 400_000)
            request = protocol._channel.requests[0]
            self.assertEqual(len(request.content.getvalue()), 400_000 if kept else 0)
            protocol.dataReceived(b" " * 100_000)
            self.assertIn(b"HTTP/1.1 400" if kept else b"HTTP/1.1 401", transport.value())
            protocol.connectionLost(Failure(ConnectionDone()))

    def test_flood(self) -> None:
        """Of many refused calls of one address a few are told; the next one told says how many were not."""
        for _ in range(50):
            self.assertEqual(self.call("GET", "/hello", token="x").status, 401)
        self.assertEqual(len(self.refusals()), 10)
        self.clock.advance(6)
        self.call("GET", "/hello", token="x")
        self.assertEqual(self.refusals()[-1]["facts"], {"not_written_before": 40})


class WhatIsThere(ApiCase):
    """Paths and methods."""

    def test_unknown_path(self) -> None:
        """What is not there is refused as JSON, and told."""
        for path in ("/nothing", "/hello/", "//hello", "/../v1"):
            answer = self.call("GET", path)
            self.assertEqual((answer.status, answer.json["error"]), (404, "path"), path)
        self.assertEqual(len(self.refusals()), 4)

    def test_not_text(self) -> None:
        """A path or a host that is not UTF-8 is refused and told like any other, and not only logged by a library."""
        for request in (b"GET /api/v1/%ff HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"):
            protocol, transport = (
                ApiSite(self.api.resource(), self.api.admits, self.clock).buildProtocol(None),
                StringTransport(),
            )
            protocol.makeConnection(transport)
            protocol.dataReceived(request)
            self.assertTrue(transport.value().startswith(b"HTTP/1.1 400"), transport.value())
        self.assertEqual([each["status"] for each in self.refusals()], [400, 400])

    def test_host_is_no_name(self) -> None:
        """A host that no name can be is refused before anything else looks at it."""
        for host in ("a..b", "x" * 300):
            answer = self.call("GET", "/hello", Host=host)
            self.assertEqual((answer.status, answer.json["error"]), (400, "path"), host)

    def test_other_method(self) -> None:
        """A call with another method too."""
        answer = self.call("POST", "/hello")
        self.assertEqual((answer.status, answer.json["error"]), (405, "method"))

    def test_busy(self) -> None:
        """A store that another program keeps locked is 503 and a warning, never an internal error."""
        with patch.object(ClientRequests, "site", side_effect=StoreBusy):
            answer = self.call("GET", "/hello")
        self.assertEqual((answer.status, answer.json["error"]), (503, "busy"))
        (told,) = self.refusals()
        self.assertEqual((told["cause"], told["level"]), ("store.busy", "warning"))
        with patch.object(ClientRequests, "generation", side_effect=StoreBusy):
            self.api.watch.changed(Tag(2), 50)
        self.assertEqual([each["level"] for each in self.told if each["name"] == "store.busy"], ["warning"])
        self.assertNotIn("internal.error", [each["name"] for each in self.told])
        self.api.watch.stop()

    def test_outdated(self) -> None:
        """A store that another version brought up to date is 503 with what to restart, and no internal error."""
        with self.store.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        answer = self.call("GET", "/hello")
        self.assertEqual((answer.status, answer.json["error"]), (503, "store"))
        self.assertIn("restart smartproxy-backend", answer.json["message"])
        self.api.watch.changed(Tag(2), 50)
        self.assertEqual([each["level"] for each in self.told if each["name"] == "store.outdated"], ["error"])
        self.assertNotIn("internal.error", [each["name"] for each in self.told])
        self.api.watch.stop()

    def test_fault(self) -> None:
        """A bug of ours is 500 without details, and an internal error in the log; the next call is answered."""
        with patch.object(ClientRequests, "site", side_effect=ZeroDivisionError("secret detail")):
            answer = self.call("GET", "/hello")
        self.assertEqual((answer.status, answer.json["error"]), (500, "internal"))
        self.assertNotIn(b"secret", answer.body)
        (told,) = [each for each in self.told if each["name"] == "internal.error"]
        self.assertEqual(told["exception"], "ZeroDivisionError")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.call("GET", "/hello").status, 200)


class Configuration(ApiCase):
    """The configuration, without waiting."""

    def test_whole(self) -> None:
        """Without a generation the caller gets the newest, exactly as it was judged, with its ETag."""
        with self.change() as change:
            partners.add(change, Partner(name="ACME", codes=("ACME",), certificates=(KeyPin(sha256=PIN),)))
        answer = self.call("GET", "/configuration")
        configuration = parse(answer.body)
        tag = Tag(configuration.generation, configuration.store, sha256(answer.body).hexdigest()[:16])
        self.assertEqual((answer.status, answer.headers["etag"]), (200, f'"{tag}"'))
        self.assertEqual([each.name for each in configuration.server.partners], ["ACME"])
        self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_own_port(self) -> None:
        """A client gets the port and address that are its own; any other one those of the settings."""
        with self.change() as change:
            settings.put(change, "client.outbound.enabled", False)
            other = clients.add(change, "other")
            clients.alter(change, "inner", listen_address=None, listen_port=65434)
            partners.add(change, Partner(name="ACME", codes=("ACME",), certificates=(KeyPin(sha256=PIN),)))
        answers = [self.call("GET", "/configuration", token=token) for token in (self.token, other)]
        mine, theirs = [parse(answer.body) for answer in answers]
        self.assertEqual(mine.client.outbound, OutboundListener(enabled=False, port=65434))
        self.assertEqual(theirs.client.outbound, OutboundListener(enabled=False))
        self.assertEqual(attrs.evolve(mine, client=theirs.client), theirs)
        self.assertEqual(answers[0].headers["etag"], answers[1].headers["etag"])
        with self.change() as change:
            clients.alter(change, "inner", listen_address="10.0.0.5", listen_port=None)
        mine = parse(self.call("GET", "/configuration").body)
        self.assertEqual(mine.client.outbound, OutboundListener(enabled=False, address="10.0.0.5"))

    def test_long(self) -> None:
        """A long configuration is written piece by piece, and others have their turn between."""
        whole = self.call("GET", "/configuration")
        self.patch(limits, "ANSWER_PIECE_OCTETS", len(whole.body) // 3 + 1)
        waiting = self.start("GET", "/configuration")
        self.agent.flush()
        self.assertNoResult(waiting)
        self.clock.advance(0)
        self.agent.flush()
        self.assertEqual(self.successResultOf(waiting).body, whole.body)

    def test_unchanged(self) -> None:
        """With the newest generation it gets 304 and no body."""
        etag = self.call("GET", "/configuration").headers["etag"]
        answer = self.call("GET", "/configuration", If_None_Match=etag)
        self.assertEqual((answer.status, answer.body, answer.headers["etag"]), (304, b"", etag))

    def test_other_generation(self) -> None:
        """With any other tag, of another store or of another form, it gets the newest at once and does not wait."""
        newest = ClientRequests(self.store).generation()
        other = attrs.evolve(newest, store="0" * 16)
        tags: tuple[Any, ...] = (f'"{other}"', '"2"', '"1"', '"999"', f'"{2**63 - 1}"', "x", '""', "*", b'"\xff"')
        for tag in tags:
            answer = self.call("GET", "/configuration?wait=50", If_None_Match=tag)
            self.assertEqual((answer.status, answer.headers["etag"]), (200, f'"{newest}"'), tag)

    def test_overlong_tag(self) -> None:
        """A tag that is longer, or whose number is larger, than any of this backend is refused, wherever it is sent."""
        for path in ("/configuration", "/trials"):
            for tag in (f'"{2**63}"', '"' + "9" * 19 + '"', '"' + "9" * 40 + '"', "x" * 65, '"' + "9" * 5000 + '"'):
                answer = self.call("GET", f"{path}?wait=50", If_None_Match=tag)
                self.assertEqual((answer.status, answer.json["error"]), (400, "etag"), (path, tag))

    def test_bad_wait(self) -> None:
        """A wait that is no number of seconds, or too long, is refused."""
        for wait in ("-1", "61", "1.5", "x", "", "9999"):
            answer = self.call("GET", f"/configuration?wait={wait}")
            self.assertEqual((answer.status, answer.json["error"]), (400, "wait"), wait)

    def test_licences(self) -> None:
        """The licences of all servers, by Proxy ID."""
        other = "f" * 64 + "px"
        with self.change() as change:
            for each in (PROXY_ID, other):
                licences.issue(change, each, valid_from=NOW, valid_until=NOW + timedelta(days=1), limits={})
        self.assertEqual(set(self.call("GET", "/licences").json["licences"]), {PROXY_ID, other})
        self.assertEqual(self.call("GET", "/licences", token="x").status, 401)


class NoSite(ApiCase):
    """A store whose site is not there."""

    def test_not_ready(self) -> None:
        """Calls are refused with what the operator has to do."""
        with patch.object(ClientRequests, "document", return_value=None):
            answer = self.call("GET", "/configuration")
        self.assertEqual((answer.status, answer.json["error"]), (503, "no_site"))
        self.assertIn("authority create", answer.json["advice"])
        with self.store.writing() as session:
            session.delete(authority.site_row(session))
        answer = self.call("GET", "/hello")
        self.assertEqual((answer.status, answer.json["error"]), (503, "store"))

    def test_first_start(self) -> None:
        """Until the site is there, every call is told how to set it up, whatever its token; so do balancers."""
        self.api.has_site = False
        for path in ("/hello", "/configuration", "/licences", "/trials", "/admin/partners", "/openapi.json"):
            for token in (self.token, "x"):
                answer = self.call("GET", path, token=token)
                self.assertEqual(answer.status, 503, path)
                self.assertIn("the link that smartproxy-backend printed", answer.body.decode())
                self.assertEqual(answer.headers["retry-after"], "5")
        self.assertFalse(self.ready())
        self.api.has_site = True
        self.assertEqual((self.call("GET", "/hello").status, self.ready()), (200, True))

    def ready(self) -> bool:
        """What a load balancer is told."""
        waiting = self.agent.request(b"GET", b"https://backend.example/health/ready")
        self.agent.flush()
        return bool(self.successResultOf(waiting).code == 200)


class TunnelCertificates(ApiCase):
    """Certificates for the tunnel."""

    def test_issued(self) -> None:
        """The answer holds the chain, its end, the servers to speak to and the authority; the issue is told."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=1), limits={})
        key = TunnelKey.make()
        answer = self.call("POST", "/tunnel-certificate", {"csr": key.request})
        self.assertEqual((answer.status, answer.json["proxy_ids"]), (200, [PROXY_ID]))
        leaf, issuer = x509.load_pem_x509_certificates(answer.json["certificate"].encode())
        leaf.verify_directly_issued_by(issuer)
        self.assertEqual(leaf.subject.rfc4514_string(), "CN=inner")
        self.assertEqual(issuer.public_bytes(Encoding.PEM).decode(), answer.json["authority"])
        self.assertEqual(answer.json["not_after"], "2026-11-27T12:00:00.000Z")
        (told,) = [each for each in self.told if each["name"] == "tunnel_certificate.issued"]
        self.assertEqual((told["client"], told["serial"]), ("inner", f"{leaf.serial_number:x}"))
        with self.store.reading() as session:
            self.assertEqual(clients.find(session, "inner").certificate_until, leaf.not_valid_after_utc)

    def test_refused(self) -> None:
        """A bad request is refused, and told as a certificate that was not issued."""
        answer = self.call("POST", "/tunnel-certificate", {"csr": "x"})
        self.assertEqual((answer.status, answer.json["error"]), (400, "csr"))
        self.assertEqual([each["name"] for each in self.told], ["tunnel_certificate.refused", "backend.call_refused"])

    def test_bodies(self) -> None:
        """Bodies that are no JSON object with a csr are refused, each with what to send."""
        wrong = (b"", b"x", b"[]", b"\xff", b"{}", b'{"csr": 3}', b'{"csr":"a","csr":"b"}', b'{"a": NaN}', b"[" * 99999)
        for body in wrong:
            answer = self.call("POST", "/tunnel-certificate", body)
            self.assertEqual((answer.status, answer.json["error"]), (400, "body"), body[:20])

    def test_stranger(self) -> None:
        """Nobody gets a certificate without a token."""
        answer = self.call("POST", "/tunnel-certificate", {"csr": TunnelKey.make().request}, token="x")
        self.assertEqual(answer.status, 401)


class Events(ApiCase):
    """Events that are carried here."""

    def event(self, **fields: object) -> dict[str, object]:
        """An event as a client carries it."""
        event = {"name": "tunnel.down", "time": NOW.isoformat(), "source": "client", "sequence": 1, "cause": "x"}
        return {**event, **fields}

    def test_stored(self) -> None:
        """Events are stored with the name of the client that carried them."""
        answer = self.call("POST", "/events", {"events": [self.event(), self.event(sequence=2)]})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 2, "refused": 0}))
        self.assertEqual([each.fields["client"] for each in self.stored("tunnel.down")], ["inner", "inner"])

    def test_sent_again(self) -> None:
        """A client that did not get the answer sends its events again: each of them is stored once."""
        first, second, third = (self.event(sequence=number) for number in (1, 2, 3))
        for batch in ([first, second], [first, second, third]):
            answer = self.call("POST", "/events", {"events": batch})
            self.assertEqual((answer.status, answer.json), (200, {"stored": len(batch), "refused": 0}))
        self.assertEqual([each.fields["sequence"] for each in self.stored("tunnel.down")], [1, 2, 3])

    def test_same_of_another_client(self) -> None:
        """Two clients that tell the same are two that tell it."""
        with self.change() as change:
            other = clients.add(change, "other")
        for token in (self.token, other):
            self.call("POST", "/events", {"events": [self.event()]}, token=token)
        self.assertEqual([each.fields["client"] for each in self.stored("tunnel.down")], ["inner", "other"])

    def test_bad_among_good(self) -> None:
        """A bad event does not keep the good ones back; it is told once what was wrong."""
        bad = [self.event(name="no.such"), self.event(surprise=1), "x", None, self.event(time="today")]
        answer = self.call("POST", "/events", {"events": [*bad, self.event()]})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 1, "refused": 5}))
        self.assertEqual(len(self.stored("tunnel.down")), 1)
        (told,) = [each for each in self.told if each["name"] == "events.refused"]
        self.assertEqual((told["client"], told["facts"]), ("inner", {"refused": 5}))

    def test_out_of_range(self) -> None:
        """Times that UTC cannot express and numbers beyond 2**53 are refused one by one; the good ones are stored."""
        accepted = {
            "name": "certificate.accepted",
            "partner": "ACME",
            "by": "subject",
            "certificate_sha256": "0" * 64,
            "issuer": "CN=x",
        }
        bad = [
            self.event(time="0001-01-01T00:00:00+14:00"),
            self.event(time="9999-12-31T23:59:59-14:00"),
            self.event(time="9999-12-31T23:59:59+00:00"),
            self.event(sequence=2**63),
            self.event(sequence=True),
            self.event(sessions=2**63),
            self.event(duration=2**63 - 1),
            self.event(facts={"x": 2**63}),
            {**self.event(), "cause": None, **accepted, "serial": "1", "not_after": "0001-01-01T00:00:00+14:00"},
        ]
        answer = self.call("POST", "/events", {"events": [*bad, self.event()]})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 1, "refused": len(bad)}))
        self.assertEqual(len(self.stored("tunnel.down")), 1)

    def test_unreadable_among_good(self) -> None:
        """An event that is JSON and that the strict reader refuses is refused alone; one of them is told, by place."""
        good, another = json.dumps(self.event())[1:-1], json.dumps(self.event(sequence=2))
        bad = [
            f'{{{good}, "duration": 1e999}}',
            f'{{{good}, "facts": {{"x": NaN}}}}',
            f'{{{good}, "sessions": {"9" * 30}}}',
            f'{{{good}, "cause": "y"}}',
            f'{{{good}, "facts": {{"x": 1, "x": 2}}}}',
            f'{{{good}, "facts": {"[" * 20}{"]" * 20}}}',
            "-Infinity",
        ]
        answer = self.call("POST", "/events", f'{{"events": [{{{good}}}, {", ".join(bad)}, {another}]}}'.encode())
        self.assertEqual((answer.status, answer.json), (200, {"stored": 2, "refused": len(bad)}))
        self.assertEqual(len(self.stored("tunnel.down")), 2)
        (told,) = [each for each in self.told if each["name"] == "events.refused"]
        self.assertEqual((told["message"], told["detail"]), ("a number that is too large", "events[1].duration"))

    def test_unreadable_body(self) -> None:
        """What is no JSON, or wrong outside of the events, is refused whole."""
        good = json.dumps(self.event())
        for body in (
            f'{{"events": [{good}, {{]}}',
            f'{{"events": [{good}], "events": [{good}]}}',
            f'{{"events": [{good}], "more": 1e999}}',
            '{"events": 1e999}',
            "[1e999]",
            "1e999",
        ):
            answer = self.call("POST", "/events", body.encode())
            self.assertEqual((answer.status, answer.json["error"]), (400, "body"), body)
        self.assertEqual(self.stored("tunnel.down"), [])

    def test_what_the_store_refuses(self) -> None:
        """An event that the store does not take, for whatever reason, is refused alone."""
        keep = journal.keep

        def picky(session: Session, records: Sequence[Record], *rest: Any) -> int:
            if any(record.sequence == 7 for record in records):
                raise OverflowError("date value out of range")
            return keep(session, records, *rest)

        self.patch(journal, "keep", picky)
        answer = self.call("POST", "/events", {"events": [self.event(sequence=each) for each in (6, 7, 8)]})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 2, "refused": 1}))
        self.assertEqual(len(self.stored("tunnel.down")), 2)

    def test_what_the_database_refuses(self) -> None:
        """What the database itself cannot do with an event is that event's matter, whatever class its error has."""
        keep = journal.keep
        refused = {
            Database.SQLITE: "SELECT abs(-9223372036854775807 - 1)",
            Database.POSTGRESQL: "SELECT repeat('x', 2000000000)",
        }

        def picky(session: Session, records: Sequence[Record], *rest: Any) -> int:
            if any(record.sequence == 7 for record in records):
                session.execute(text(refused[self.database]))
            return keep(session, records, *rest)

        self.patch(journal, "keep", picky)
        answer = self.call("POST", "/events", {"events": [self.event(sequence=each) for each in (6, 7, 8)]})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 2, "refused": 1}))
        self.assertEqual(len(self.stored("tunnel.down")), 2)

    def test_store_at_fault(self) -> None:
        """When the store is the reason, no event is refused: the whole batch comes again."""
        for state, code in (("53100", sqlite3.SQLITE_FULL), ("57P01", sqlite3.SQLITE_IOERR), ("25006", 8)):

            def full(session: Session, *_: object, state: str = state, code: int = code) -> int:
                if self.database is Database.POSTGRESQL:
                    session.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"))
                lost = sqlite3.OperationalError("lost")
                lost.sqlite_errorcode = code
                raise OperationalError("INSERT", {}, lost)

            self.patch(journal, "keep", full)
            answer = self.call("POST", "/events", {"events": [self.event()]})
            self.assertIn(answer.status, (500, 503))
            self.assertEqual([each for each in self.told if each["name"] == "events.refused"], [])
        self.flushLoggedErrors()

    def test_long_names(self) -> None:
        """Names that are longer than any in the configuration are refused: no index of a store has room for them."""
        odd = "".join(map(chr, range(0x20000, 0x20000 + 2000)))
        certificate = {
            "certificate_sha256": "12" * 32,
            "not_after": "2027-01-01T00:00:00Z",
            "serial": "0f",
            "issuer": "CN=y",
        }
        bad: list[dict[str, object]] = [
            {"name": "session.started", "session": odd},
            {"name": "session.started", "session": "a" * 16, "partner": odd},
            {"name": "session.ended", "session": "a" * 16, "partner": odd, "outcome": "completed"},
            {"name": "crl.url_seen", "ca": odd, "url": "http://a.example/x.crl"},
            {"name": "certificate.accepted", "partner": odd, "by": "key", "issuer": "CN=y", **certificate},
            {
                "name": "certificate.accepted",
                "partner": "ACME",
                "ca": odd,
                "by": "key",
                "issuer": "CN=y",
                **certificate,
            },
            {"name": "certificate.refused", "partner": odd, "cause": "a.b"},
        ]
        events = [{"time": NOW.isoformat(), "source": "server", "sequence": 1, **each} for each in bad]
        answer = self.call("POST", "/events", {"events": [*events, self.event()]})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 1, "refused": len(bad)}))

    def test_counts_out_of_all_bounds(self) -> None:
        """A session that is told with more octets than any has spoils no count: those that come later are added."""

        def ended(session: str, octets: int, **more: object) -> dict[str, object]:
            told = {"name": "session.ended", "source": "server", "session": session, "outcome": "completed"}
            return self.event(cause=None, octets_in=octets, **told, **more)

        self.call("POST", "/events", {"events": [ended("a" * 16, 2**53, files_in=2**53)]})
        for number in range(3):
            answer = self.call("POST", "/events", {"events": [ended(f"{number:016x}", 1000, sequence=number + 2)]})
            self.assertEqual(answer.json, {"stored": 1, "refused": 0})
        with self.store.reading() as session:
            hours = select(FigureRow.name, FigureRow.count).where(FigureRow.span == "hour")
            counts = dict(session.execute(hours).tuples().all())
        self.assertEqual((counts["octets_in"], counts["ended.completed"]), (figures.COUNT_MOST, 4))
        for wrong in ({"octets_in": -5}, {"files_in": -1}, {"octets_in": 2**53 + 1}):
            answer = self.call("POST", "/events", {"events": [{**ended("b" * 16, 1), **wrong}]})
            self.assertEqual(answer.json, {"stored": 0, "refused": 1})

    def test_in_another_s_name(self) -> None:
        """A client carries its own events and its servers', and cannot write into the record of what operators did."""
        forged = [self.event(source="command"), self.event(source="backend"), self.event(source="Server")]
        answer = self.call("POST", "/events", {"events": [*forged, self.event(source="server")]})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 1, "refused": 3}))
        self.assertEqual([each.source for each in self.stored("tunnel.down")], ["server"])

    def test_too_many(self) -> None:
        """There is a bound on one call."""
        answer = self.call("POST", "/events", {"events": [None] * (limits.API_EVENTS_MOST + 1)})
        self.assertEqual((answer.status, answer.json["error"]), (413, "too_many"))

    def test_too_large(self) -> None:
        """And on its body."""
        answer = self.call("POST", "/events", b" " * (limits.API_BODY_OCTETS_MOST + 1))
        self.assertEqual((answer.status, answer.json["error"]), (413, "too_large"))

    def test_no_list(self) -> None:
        """Events come in a list."""
        answer = self.call("POST", "/events", {"events": {}})
        self.assertEqual((answer.status, answer.json["error"]), (400, "body"))
