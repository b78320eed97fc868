"""Tests of the configuration document: read, written, and refused with the place of what is wrong."""

import datetime
import json
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits, schema
from smartproxy.policy.alerts import AlertLevel, Mail
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import (
    Configuration,
    ConfigurationRefused,
    GenerationId,
    ServerConfiguration,
    ServerPart,
    dump,
    parse,
    parse_server_part,
)
from smartproxy.policy.partners import (
    Authentication,
    CertificatePin,
    KeyPin,
    Purpose,
    RevocationMode,
    SanRule,
    SubjectRule,
)
from smartproxy.policy.settings import SheetSettings
from smartproxy.policy.watching import PartnerWatching
from tests.unit.documents import RefusingTestCase, changed, full, minimal, octets, pem


class WhichGeneration(SynchronousTestCase):
    """What replaces what."""

    def test_table(self) -> None:
        """A later number of the same store, and any number of another one; never none, nor the same."""
        one, other = "1" * 16, "2" * 16
        for number, store, replaces in (
            (6, one, True),
            (5, one, False),
            (4, one, False),
            (1, other, True),
            (5, other, True),
            (5, None, True),
            (0, other, False),
            (0, None, False),
        ):
            found = GenerationId(number, store).replaces(GenerationId(5, one))
            self.assertEqual(found, replaces, (number, store))
        self.assertTrue(GenerationId(1, one).replaces(GenerationId()))
        self.assertTrue(GenerationId(1).replaces(GenerationId()))


class RoundTripTests(SynchronousTestCase):
    """Reading and writing are inverse."""

    def test_everything_is_read(self) -> None:
        """No value of a document is lost: written again it says the same."""
        self.assertEqual(json.loads(dump(parse(octets(full())))), full())

    def test_everything_is_written(self) -> None:
        """What was written is read as an equal configuration."""
        whole = parse(octets(full()))
        self.assertEqual(parse(dump(whole)), whole)

    def test_values_have_their_types(self) -> None:
        """Words become members of enumerations, times become times in UTC, serial numbers become numbers."""
        server = parse(octets(full())).server
        acme, foo = server.partners
        self.assertIs(acme.lowest_level, Level.OFTP_1_3)
        self.assertIs(acme.authentication, Authentication.REQUIRED)
        self.assertIs(acme.profile, Profile.STRICT)
        self.assertIs(acme.purpose, Purpose.SERVER_AUTH)
        self.assertIs(foo.enabled, False)
        self.assertIs(server.cas[0].revocation, RevocationMode.PREFER)
        self.assertEqual(
            acme.certificates,
            (
                CertificatePin(sha256="01" * 32),
                KeyPin(sha256="02" * 32),
                SubjectRule(ca="acme-ca", serial_number="O0013000001ACME"),
                SanRule(ca="acme-ca", san="DNS:oftp.acme.example"),
            ),
        )
        self.assertEqual(server.revocation[0].this_update, datetime.datetime(2026, 11, 20, 10, tzinfo=datetime.UTC))
        self.assertEqual(server.revocation[0].serials, frozenset({0xA1B, 2**160 - 1}))

    def test_servers_part(self) -> None:
        """The server's part is what it says, holds nothing of the client's, and is refused as a whole document is."""
        whole = parse(octets(full()))
        part = parse_server_part(dump(whole.server_part))
        shared: dict[str, Any] = {"generation": 17, "store": "0123456789abcdef", "site": "Muster GmbH"}
        cas = tuple(attrs.evolve(ca, lists=(), approve_lists=False) for ca in whole.server.cas)
        partners = tuple(attrs.evolve(each, watching=PartnerWatching()) for each in whole.server.partners)
        server = attrs.evolve(whole.server, cas=cas, partners=partners)
        self.assertEqual(part, ServerPart(**shared, server=server, station_profile=Profile.STRICT))
        self.assertNotIn(b"station.example", dump(whole.server_part))
        self.assertNotIn(b"/2.crl", dump(whole.server_part))
        self.assertNotIn(b"works holidays", dump(whole.server_part))
        refusal = self.assertRaises(ConfigurationRefused, parse_server_part, octets(full()))
        self.assertEqual(refusal.where, "client")

    def test_silence_means_the_default(self) -> None:
        """A document that says nothing has every default of :mod:`smartproxy.policy.limits`."""
        silent = parse(b'{"format": 1, "generation": 1, "site": "x"}')
        self.assertEqual(silent, Configuration(generation=1, site="x"))
        self.assertEqual(silent.server.listeners, ())
        self.assertEqual(silent.server.deadlines, silent.client.deadlines)
        self.assertEqual(attrs.astuple(silent.server.deadlines), (10, 30, 60, 60, 180, 5, 300, 20, 60))
        self.assertEqual(attrs.astuple(silent.server.limits), (2000, 200, 4000, 200, 100, 10, 16384))
        self.assertEqual(attrs.astuple(silent.server.penalties), (True, 20, 60, 600, ("127.0.0.0/8", "::1/128")))
        self.assertEqual(attrs.astuple(silent.client.station), ("127.0.0.1", 3305, 10, 60, Profile.DEFAULT))
        self.assertEqual(attrs.astuple(silent.client.pool), (2, 2_000))
        self.assertEqual(attrs.astuple(silent.client.limits), (2000, 100, 200, 16384))
        self.assertEqual(attrs.astuple(silent.backend)[:3], (400, (None, None), ()))
        self.assertEqual(silent.backend.mail, Mail(port=587, every_seconds=300, hours=24))
        script = silent.backend.event_script
        self.assertEqual(attrs.astuple(script), (AlertLevel.CRITICAL, ("watch.",), (), 24, None, 30, 2, 1000))
        self.assertEqual(silent.backend.sheet, SheetSettings())

    def test_a_partners_defaults(self) -> None:
        """A partner with a name, a code and a certificate is enabled, at level 2.0, with a certificate for clients."""
        document = minimal(
            partners=[{"name": "A", "codes": ["O1"], "certificates": [{"by": "key", "sha256": "0a" * 32}]}]
        )
        (partner,) = parse(octets(document)).server.partners
        self.assertTrue(partner.enabled)
        self.assertEqual(
            (partner.lowest_level, partner.authentication, partner.profile, partner.purpose),
            (Level.OFTP_2_0, Authentication.EITHER, Profile.DEFAULT, Purpose.STRICT),
        )

    def test_an_authoritys_defaults(self) -> None:
        """An authority's revocation lists are required, without grace, unless it says otherwise."""
        document = minimal(cas=[{"name": "ca", "certificates": pem("CERTIFICATE", b"x")}])
        (authority,) = parse(octets(document)).server.cas
        self.assertEqual((authority.revocation, authority.grace_hours), (RevocationMode.REQUIRE, 0))

    def test_every_default_is_within_its_range(self) -> None:
        """No limit's default is one that a configuration could not set."""
        for name, limit in vars(limits).items():
            if isinstance(limit, limits.Limit):
                self.assertTrue(limit.admits(limit.default), name)
                self.assertLess(limit.least, limit.most, name)


class SecretTests(SynchronousTestCase):
    """What must not be seen is not shown by accident."""

    def test_keys_are_masked(self) -> None:
        """No repr of a configuration, nor of a part of it, holds a private key."""
        whole = parse(octets(full()))
        (identity,) = whole.server.identities
        for shown in (repr(whole), repr(whole.server), repr(identity), f"{identity}"):
            self.assertNotIn("PRIVATE KEY", shown)
            self.assertIn("key='***'", shown)

    def test_no_refusal_repeats_a_key(self) -> None:
        """A key that is refused does not stand in the refusal, whatever is wrong with it."""
        secret = "c2VjcmV0"
        for value in (
            secret,
            pem("RSA PRIVATE KEY", b"secret" * 9),
            f"-----BEGIN PRIVATE KEY-----\n{secret}",
            [secret],
        ):
            document = full()
            document["server"]["identities"][0]["key"] = value
            refusal = self.assertRaises(ConfigurationRefused, parse, octets(document))
            self.assertEqual(refusal.where, "server.identities[0].key")
            self.assertNotIn(secret, str(refusal))


class CrossCheckTests(RefusingTestCase):
    """What no single value shows is refused too."""

    def partner(self, name: str, number: int, **others: Any) -> dict[str, Any]:
        """A partner with a code and a pin of its own."""
        return {
            "name": name,
            "codes": [f"O{number}"],
            "certificates": [{"by": "certificate", "sha256": f"{number:064x}"}],
            **others,
        }

    def test_listeners(self) -> None:
        """One address and port is listened on once; any free port is another one each time."""
        once = {"address": "192.0.2.1", "port": 6619}
        free = {"address": "192.0.2.1", "port": 0}
        parse(octets(minimal(listeners=[once, free, free])))
        self.assertRefused(
            minimal(listeners=[once, free, once]),
            "server.listeners[2]",
            "this address and port is already used at server.listeners[0]",
        )

    def test_listeners_that_are_one_port(self) -> None:
        """Two notations of one address, and an address that stands for all beside another one, are one port."""

        def listeners(*pairs: tuple[str, int]) -> dict[str, Any]:
            return minimal(listeners=[{"address": address, "port": port} for address, port in pairs])

        for one, other, words in (
            ("::1", "0:0:0:0:0:0:0:1", "this address and port is already used at"),
            ("192.0.2.7", "::ffff:192.0.2.7", "this address and port is already used at"),
            ("0.0.0.0", "192.0.2.7", "`0.0.0.0` includes the other address"),
            ("192.0.2.7", "0.0.0.0", "`0.0.0.0` includes the other address"),
            ("::", "0.0.0.0", "`::` includes the other address"),
            ("192.0.2.7", "::", "`::` includes the other address"),
            ("::", "2001:db8::7", "`::` includes the other address"),
        ):
            document = listeners(("192.0.2.9", 6620), (one, 6619), (other, 6619))
            refused = self.assertRefused(document, "server.listeners[2]", words)
            self.assertEqual((refused.cause, refused.also), (Cause.DOCUMENT_NOT_UNIQUE, "server.listeners[1]"))
        for right in (
            (("192.0.2.7", 6619), ("2001:db8::7", 6619)),
            (("0.0.0.0", 6619), ("0.0.0.0", 6620)),
            (("0.0.0.0", 6619), ("2001:db8::7", 6619)),
            (("::", 0), ("0.0.0.0", 0)),
            (("fe80::1%a", 6619), ("fe80::1%b", 6619)),
        ):
            parse(octets(listeners(*right)))

    def test_names(self) -> None:
        """Names of identities, authorities and partners, and issuers of revocation sets, are there once."""
        for table, key in (
            ("identities", "name"),
            ("cas", "name"),
            ("partners", "name"),
            ("revocation", "issuer"),
        ):
            document = full()
            entries = document["server"][table]
            entries.append(dict(entries[0]))
            self.assertRefused(
                document,
                f"server.{table}[{len(entries) - 1}].{key}",
                f"is already used at server.{table}[0].{key}",
            )

    def test_codes(self) -> None:
        """A code points to one enabled partner, blanks at its end or not; a disabled one may keep its own."""
        other = self.partner("B", 2, codes=["X", "O1"])
        self.assertRefused(
            minimal(partners=[self.partner("A", 1), other]),
            "server.partners[1].codes[1]",
            "this code is already used at server.partners[0].codes[0]",
        )
        parse(octets(minimal(partners=[self.partner("A", 1), {**other, "enabled": False}])))
        parse(octets(minimal(partners=[self.partner("A", 1, codes=["o1"]), other])))

    def test_rules(self) -> None:
        """A certificate rule points to one enabled partner; a disabled one may keep its own."""
        other = self.partner("B", 2, certificates=[{"by": "certificate", "sha256": f"{1:064x}"}])
        self.assertRefused(
            minimal(partners=[self.partner("A", 1), other]),
            "server.partners[1].certificates[0]",
            "this certificate rule is already used at server.partners[0].certificates[0]",
        )
        parse(octets(minimal(partners=[self.partner("A", 1), {**other, "enabled": False}])))

    def test_unknown_authority(self) -> None:
        """A rule names an authority that there is."""
        document = full()
        document["server"]["cas"] = []
        self.assertRefused(
            document,
            "server.partners[0].certificates[2].ca",
            "no entry of server.cas has this name",
        )

    def test_any_purpose_needs_pins(self) -> None:
        """Not to look at the purpose is for pinned certificates only."""
        self.assertRefused(
            changed("server.partners.0.purpose", "any"),
            "server.partners[0].purpose",
            "certificates[2] is no pin",
        )

    def test_ban_times(self) -> None:
        """The first ban is not longer than the longest."""
        parse(octets(minimal(penalties={"ban_seconds": 600})))
        self.assertRefused(
            minimal(penalties={"ban_seconds": 601}), "server.penalties.ban_seconds", "`ban_seconds_most` is only 600"
        )

    def test_pool(self) -> None:
        """Not more connections are kept ready than there may be."""
        document = changed("client.pool", {"ready": 4, "most": 4})
        parse(octets(document))
        document["client"]["pool"]["ready"] = 5
        self.assertRefused(document, "client.pool.ready", "is 5; `most` is only 4")


class LookupTests(SynchronousTestCase):
    """What is looked up for each connection is prepared once."""

    def test_partners_of_rules(self) -> None:
        """All partners of a rule are found, disabled ones too, and DNS names in any case."""
        rule = {"by": "san", "ca": "ca", "san": "DNS:OFTP.Acme.Example"}
        entry = {"codes": ["O1"], "certificates": [rule]}
        server = parse(
            octets(
                minimal(
                    cas=[{"name": "ca", "certificates": pem("CERTIFICATE", b"x")}],
                    partners=[{"name": "A", **entry}, {"name": "B", "enabled": False, **entry}],
                )
            )
        ).server
        self.assertEqual(server.partners_of, {SanRule(ca="ca", san="DNS:oftp.acme.example"): tuple(server.partners)})

    def test_revocation_of_issuers(self) -> None:
        """Revocation sets are found by their issuer's key and name; one without a name is of any CA with the key."""
        document = full()
        parts = [
            {
                "issuer": "cd" * 32,
                "issuer_name": "CN=Two",
                "this_update": "2026-11-20T10:00:00Z",
                "scope": {"points": [f"URI:http://crl.example/{number}.crl"], "covered": "users"},
            }
            for number in (1, 2)
        ]
        document["server"]["revocation"] += parts
        server = parse(octets(document)).server
        self.assertEqual(server.lists.of_issuer("cd" * 32, "CN=One"), server.revocation[1:2])
        self.assertEqual(server.lists.of_issuer("cd" * 32, "cn=two"), server.revocation[1:])
        self.assertEqual(server.lists.of_issuer("ef" * 32, "CN=Two"), ())
        scopes = [each.scope for each in server.revocation[2:]]
        self.assertEqual(scopes[1].part, "URI:http://crl.example/2.crl, no CA certificates")
        self.assertEqual(parse(dump(parse(octets(document)))).server.revocation, server.revocation)
        document["server"]["revocation"].append(parts[1])
        self.assertRaises(ConfigurationRefused, parse, octets(document))

    def test_anchors(self) -> None:
        """An authority's anchors are the SHA-256 of its certificates' DER octets."""
        (authority,) = parse(octets(full())).server.cas
        self.assertEqual(
            authority.anchors,
            {
                "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
                "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
            },
        )


class AnythingTests(SynchronousTestCase):
    """Whatever comes, there is a configuration or the one refusal."""

    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["any", "subject", "san"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["server", "client", "partners", "certificates", "by", "codes", "name", "limits", "x"]),
                inner,
                max_size=3,
            )
        ),
    )

    @given(st.sampled_from(["server", "client", "server.partners", "server.partners.0.certificates.0", "site"]), values)
    def test_any_values(self, path: str, value: object) -> None:
        """Any values at any place are taken or refused with a place, and what is taken can be written and read."""
        try:
            whole = parse(octets(changed(path, value)))
        except ConfigurationRefused as refusal:
            self.assertTrue(refusal.where and refusal.cause)
        else:
            self.assertEqual(parse(dump(whole)), whole)


class ReachTests(SynchronousTestCase):
    """The classes and the modules agree."""

    def test_every_field_is_declared(self) -> None:
        """No field of a class is left out of the document by accident."""
        pending: list[type[Any]] = [Configuration]
        seen = set()
        while pending:
            cls = pending.pop()
            seen.add(cls)
            for field in attrs.fields(cls):
                kind = field.metadata["smartproxy.kind"]
                while isinstance(kind, schema.ListOf | schema.Optional):
                    kind = kind.item if isinstance(kind, schema.ListOf) else kind.within
                if isinstance(kind, schema.ObjectOf):
                    pending.append(kind.cls)
                elif isinstance(kind, schema.Tagged):
                    pending.extend(kind.classes)
        self.assertIn(SanRule, seen)
        self.assertIn(ServerConfiguration, seen)
