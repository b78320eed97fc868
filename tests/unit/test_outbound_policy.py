"""How partners are called, as far as policy has a say: the configuration, whom callers may reach, who answers."""

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal, VerifyError
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts, PathError
from smartproxy.policy.certificates.judge import judge_called
from smartproxy.policy.configuration import ServerConfiguration, parse
from smartproxy.policy.outbound import EgressRefused, choose, normalize_host, reachable
from smartproxy.policy.partners import (
    CertificatePin,
    KeyPin,
    Outbound,
    Partner,
    Purpose,
    RevocationMode,
    SubjectRule,
    Verify,
)
from tests.unit.chains import (
    BY_SUBJECT,
    CLIENT_AUTH,
    DAY,
    LEAF,
    MAIL,
    MIDDLE,
    NOW,
    ROOT,
    SERVER_AUTH,
    authority,
    chain,
    key_sha256,
    partner,
    revocation,
    server,
    sha256,
)
from tests.unit.documents import RefusingTestCase, changed, full, octets, without

AT = "server.partners[0].outbound"
PLACE = "server.partners.0.outbound"


class Documents(RefusingTestCase):
    """The outbound parts of a configuration."""

    def test_defaults(self) -> None:
        """A host is enough; silence means that a partner is never called."""
        document = changed(PLACE, {"host": "h"})
        found = parse(octets(document)).server.partners[0].outbound
        assert found is not None
        self.assertEqual(attrs.astuple(found), ("h", 6619, None, Verify.NAME, None, (), None, None, None))
        self.assertEqual((found.name, found.address), ("h", "h:6619"))
        self.assertIsNone(parse(octets(without(PLACE))).server.partners[0].outbound)
        silent = full()
        del silent["client"]["outbound"], silent["server"]["source_address"]
        read = parse(octets(silent))
        self.assertEqual(attrs.astuple(read.client.outbound), (True, "127.0.0.1", 65433))
        self.assertIsNone(read.server.source_address)

    def test_words(self) -> None:
        """How an entry is shown, and which name its certificate has to bear."""
        entry = Outbound(host="::1", server_name="oftp.acme.example")
        self.assertEqual((entry.name, entry.address), ("oftp.acme.example", "[::1]:6619"))

    def test_wrong_values(self) -> None:
        """Each value that cannot be is refused with its place."""
        for key, value, cause in (
            ("host", "a b", "a host name or an address"),
            ("host", "", "is empty"),
            ("port", 0, "between 1 and 65535"),
            ("verify", "trust", "one of name, pin, odette"),
            ("source", "oftp.example", "an IPv4 or IPv6 address"),
            ("listener", 0, "between 1 and 65535"),
            ("identity", "other", "no entry of server.identities"),
        ):
            self.assertRefused(changed(f"{PLACE}.{key}", value), f"{AT}.{key}", cause)
        self.assertRefused(without(f"{PLACE}.host"), f"{AT}.host", "is missing")
        self.assertRefused(changed("server.source_address", "x"), "server.source_address", "an IPv4 or IPv6 address")
        self.assertRefused(changed("client.outbound.port", -1), "client.outbound.port", "between 0 and 65535")

    def test_a_san_rule_does_not_go(self) -> None:
        """A called partner's name is compared with its host's, not by a rule."""
        rule = {"by": "san", "ca": "acme-ca", "san": "DNS:x"}
        self.assertRefused(changed(f"{PLACE}.certificates", [rule]), f"{AT}.certificates[0].by", "has to be one of")

    def test_rules_go_with_verify(self) -> None:
        """Pins go with pin, Odette IDs with odette, and nothing with name."""
        pin = {"by": "key", "sha256": "02" * 32}
        subject = {"by": "subject", "ca": "acme-ca", "serial_number": "x"}
        for verify, rule, fits in (
            ("name", pin, False),
            ("name", subject, False),
            ("pin", pin, True),
            ("pin", subject, False),
            ("odette", pin, False),
            ("odette", subject, True),
        ):
            document = changed(PLACE, {"host": "h", "verify": verify, "certificates": [rule]})
            if fits:
                parse(octets(document))
            else:
                right = "pin" if rule is pin else "odette"
                told = f"is not allowed if `verify` is {verify}; give --verify {right}"
                self.assertRefused(document, f"{AT}.certificates[0].by", told)
        missing = {**subject, "ca": "other"}
        document = changed(PLACE, {"host": "h", "verify": "odette", "certificates": [missing]})
        self.assertRefused(document, f"{AT}.certificates[0].ca", "no entry of server.cas")

    def test_the_rules_of_the_entry(self) -> None:
        """Without rules here, those of the entry count; there have to be some."""
        for verify in ("pin", "odette"):
            parse(octets(changed(PLACE, {"host": "h", "verify": verify})))
        document = changed("server.partners.1.outbound", {"host": "h", "verify": "odette"})
        self.assertRefused(document, "server.partners[1].outbound.verify", "is odette, but neither its")

    def test_authority(self) -> None:
        """The only authority for a name has to be there, and goes with nothing else."""
        parse(octets(changed(PLACE, {"host": "h", "ca": "acme-ca"})))
        self.assertRefused(changed(PLACE, {"host": "h", "ca": "x"}), f"{AT}.ca", "no entry")
        document = changed(PLACE, {"host": "h", "ca": "acme-ca", "verify": "pin"})
        self.assertRefused(document, f"{AT}.ca", "is allowed only if `verify` is name")

    def test_ports_of_the_client(self) -> None:
        """A port stands for one partner, and not for the outbound listener too; a disabled partner has none."""
        document = full()
        document["client"]["outbound"] = {"port": 3307}
        self.assertRefused(document, f"{AT}.listener", "this port is already used at client.outbound.port")
        document["client"]["outbound"]["enabled"] = False
        parse(octets(document))
        second = document["server"]["partners"][1]
        second["outbound"] = {"host": "h", "verify": "pin", "listener": 3307}
        parse(octets(document))
        second["enabled"] = True
        self.assertRefused(document, "server.partners[1].outbound.listener", f"already used at {AT}.listener")


def called(name: str, outbound: Outbound | None, *, enabled: bool = True) -> Partner:
    """A partner's entry."""
    return partner(name=name, outbound=outbound, enabled=enabled)


class Egress(SynchronousTestCase):
    """Whom callers inside may reach."""

    partners = (
        called("ACME", Outbound(host="oftp.acme.example", port=6619)),
        called("Other", Outbound(host="OFTP.acme.example.", port=6620)),
        called("Six", Outbound(host="2001:DB8::7")),
        called("Hub 1", Outbound(host="hub.example")),
        called("Hub 2", Outbound(host="hub.example")),
        called("Caller", None),
        called("Closed", Outbound(host="closed.example"), enabled=False),
    )

    def test_reachable(self) -> None:
        """Enabled partners with an outbound part."""
        names = [each.name for each in reachable(self.partners)]
        self.assertEqual(names, ["ACME", "Other", "Six", "Hub 1", "Hub 2"])

    def test_found(self) -> None:
        """By host and port, however they are written, or by name, whatever the port."""
        for host, port, name in (
            ("oftp.acme.example", 6619, "ACME"),
            ("OFTP.Acme.Example.", 6619, "ACME"),
            ("oftp.acme.example", 6620, "Other"),
            ("2001:0db8:0::7", 6619, "Six"),
            ("acme", None, "ACME"),
            ("ACME", 80, "ACME"),
            ("hub 2", 6619, "Hub 2"),
        ):
            self.assertEqual(choose(self.partners, host, port).name, name)

    def test_refused(self) -> None:
        """Nobody else; what was asked for is not repeated."""
        for host, port in (
            ("oftp.acme.example", 6621),
            ("oftp.acme.example", None),
            ("evil.example", 6619),
            ("127.0.0.1", 6619),
            ("closed.example", 6619),
            ("Closed", None),
            ("Caller", None),
        ):
            refused: EgressRefused = self.assertRaises(EgressRefused, choose, self.partners, host, port)
            self.assertEqual(str(refused), "no partner that may be called has this name or address")

    def test_ambiguous(self) -> None:
        """A host that several partners have needs a name."""
        refused: EgressRefused = self.assertRaises(EgressRefused, choose, self.partners, "hub.example", 6619)
        self.assertIn("Hub 1, Hub 2", refused.cause)

    def test_hosts(self) -> None:
        """Addresses have one way of being written, names no case."""
        self.assertEqual([normalize_host(each) for each in ("A.b.", "::0:1", "10.0.0.1")], ["a.b", "::1", "10.0.0.1"])


class Answers(SynchronousTestCase):
    """Whether who answers is the partner that was called."""

    def judged(
        self,
        outbound: Outbound,
        found: ChainFacts | None = None,
        configuration: ServerConfiguration | None = None,
        names: tuple[str, ...] = ("h",),
        **entry: Any,
    ) -> tuple[str, str | None] | Cause:
        """By what it was recognized and by which authority, or why it was not."""
        known = partner(**{"outbound": outbound, **entry})
        try:
            match = judge_called(
                found or chain(), known, outbound, configuration or server(known), NOW, names.__contains__
            )
        except CertificateRefusal as refused:
            return refused.cause
        self.assertIs(match.partner, known)
        return match.by, match.ca

    def test_by_name(self) -> None:
        """Any authority of the site will do, or only the one that is named."""
        by_name = Outbound(host="h")
        two = server(cas=(authority("other", "elsewhere"), authority("ca", "root")))
        self.assertEqual(self.judged(by_name), ("name", "ca"))
        self.assertEqual(self.judged(by_name, configuration=two), ("name", "ca"))
        self.assertEqual(self.judged(Outbound(host="h", ca="ca"), configuration=two), ("name", "ca"))
        only = Outbound(host="h", ca="other")
        self.assertEqual(self.judged(only, configuration=two), Cause.CERTIFICATE_UNKNOWN_CA)
        self.assertEqual(self.judged(by_name, names=("x",)), Cause.CERTIFICATE_WRONG_NAME)
        self.assertEqual(self.judged(attrs.evolve(by_name, server_name="x"), names=("x",)), ("name", "ca"))

    def test_by_odette_id(self) -> None:
        """The serialNumber, and the authority that goes with it."""
        by_id = Outbound(host="h", verify=Verify.ODETTE)
        self.assertEqual(self.judged(by_id), ("subject", "ca"))
        own = attrs.evolve(by_id, certificates=(SubjectRule(ca="ca", serial_number="OTHER"), BY_SUBJECT))
        pins: dict[str, Any] = {"certificates": (CertificatePin(sha256="00" * 32),)}
        self.assertEqual(self.judged(own, **pins), ("subject", "ca"))
        wrong = attrs.evolve(by_id, certificates=own.certificates[:1])
        self.assertEqual(self.judged(wrong), Cause.CERTIFICATE_NOT_EXPECTED)
        nameless = chain(attrs.evolve(LEAF, subject_serial_number=None), MIDDLE, ROOT)
        self.assertEqual(self.judged(by_id, nameless), Cause.CERTIFICATE_NOT_EXPECTED)

    def test_by_pin(self) -> None:
        """The certificate or its key, of its entry or of its outbound part; no authority is needed."""
        by_pin = Outbound(host="h", verify=Verify.PIN)
        alone = ChainFacts(presented=(LEAF,), path_errors=(PathError(18, 0, "self-signed"),))
        for pin, by in (
            (CertificatePin(sha256=sha256("leaf")), "certificate"),
            (KeyPin(sha256=key_sha256("leaf")), "key"),
        ):
            self.assertEqual(self.judged(by_pin, alone, certificates=(pin,)), (by, None))
            self.assertEqual(self.judged(attrs.evolve(by_pin, certificates=(pin,)), alone), (by, None))
        other = (CertificatePin(sha256="00" * 32),)
        self.assertEqual(self.judged(by_pin, alone, certificates=other), Cause.CERTIFICATE_NOT_EXPECTED)
        own = attrs.evolve(by_pin, certificates=other)
        pinned: dict[str, Any] = {"certificates": (CertificatePin(sha256=sha256("leaf")),)}
        self.assertEqual(self.judged(own, alone, **pinned), Cause.CERTIFICATE_NOT_EXPECTED)

    def test_verified_path_of_no_pin(self) -> None:
        """A certificate that is not pinned is refused, and it is said up to which authorities its path is good."""
        known = partner(
            outbound=Outbound(host="h", verify=Verify.PIN), certificates=(CertificatePin(sha256="00" * 32),)
        )
        assert known.outbound is not None
        alone = ChainFacts(presented=(LEAF,), path_errors=(PathError(18, 0, "self-signed"),))
        for found, cas in ((chain(), "ca"), (alone, None)):
            refused: CertificateRefusal = self.assertRaises(
                CertificateRefusal, judge_called, found, known, known.outbound, server(known), NOW, "h".__contains__
            )
            self.assertIs(refused.cause, Cause.CERTIFICATE_NOT_EXPECTED)
            self.assertEqual((refused.detail.get("cas"), "not_after" in refused.detail), (cas, cas is not None))

    def test_a_pin_is_not_everything(self) -> None:
        """A pinned certificate has its dates, its key and its purpose all the same."""
        by_pin = Outbound(host="h", verify=Verify.PIN)
        pins: dict[str, Any] = {"certificates": (CertificatePin(sha256=sha256("leaf")),)}
        for change, cause in (
            ({"not_after": NOW - DAY}, Cause.CERTIFICATE_EXPIRED),
            ({"not_before": NOW + DAY}, Cause.CERTIFICATE_NOT_YET_VALID),
            ({"key_type": "RSA", "key_bits": 1024}, Cause.CERTIFICATE_WEAK_KEY),
            ({"extended_key_usage": frozenset({CLIENT_AUTH})}, Cause.CERTIFICATE_WRONG_PURPOSE),
        ):
            leaf: CertificateFacts = attrs.evolve(LEAF, **change)
            self.assertEqual(self.judged(by_pin, ChainFacts(presented=(leaf,)), **pins), cause)

    def test_nothing_shown(self) -> None:
        """No certificate."""
        self.assertEqual(self.judged(Outbound(host="h"), ChainFacts(presented=())), Cause.CERTIFICATE_MISSING)

    def test_the_path(self) -> None:
        """What is wrong with the path refuses, with its exact cause."""
        by_name = Outbound(host="h")
        expired = chain(LEAF, attrs.evolve(MIDDLE, not_after=NOW - DAY), ROOT)
        self.assertEqual(self.judged(by_name, expired), Cause.CERTIFICATE_EXPIRED)
        error = PathError(VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY, 0, "no issuer")
        lost = ChainFacts(presented=(LEAF,), path_errors=(error,))
        self.assertEqual(self.judged(by_name, lost), Cause.CERTIFICATE_UNKNOWN_CA)

    def test_revocation(self) -> None:
        """Revocation is judged as for partners that call."""
        required = (authority("ca", "root", revocation=RevocationMode.REQUIRE),)
        lists = (revocation("middle"), revocation("root"))
        for sets, found in (
            (lists, ("name", "ca")),
            ((revocation("middle", LEAF.serial), lists[1]), Cause.CERTIFICATE_REVOKED),
            ((lists[0], revocation("root", MIDDLE.serial)), Cause.CERTIFICATE_REVOKED),
            (lists[1:], Cause.CERTIFICATE_REVOCATION_MISSING),
            ((revocation("middle", next_update=NOW - DAY), lists[1]), Cause.CERTIFICATE_REVOCATION_STALE),
        ):
            configuration = server(cas=required, revocation=sets)
            self.assertEqual(self.judged(Outbound(host="h"), configuration=configuration), found)

    def test_purpose(self) -> None:
        """Called partners need serverAuth where the entry is strict; the other purposes are as lenient as inbound."""
        by_name = Outbound(host="h")
        openssl = (PathError(VerifyError.INVALID_PURPOSE, 0, "unsuitable"),)
        for usage, errors, purpose, good in (
            (None, (), Purpose.STRICT, True),
            ({SERVER_AUTH}, (), Purpose.STRICT, True),
            ({CLIENT_AUTH}, (), Purpose.STRICT, False),
            ({CLIENT_AUTH}, (), Purpose.SERVER_AUTH, True),
            ({MAIL}, (), Purpose.SERVER_AUTH, False),
            ({MAIL}, (), Purpose.ANY, True),
            ({SERVER_AUTH}, openssl, Purpose.STRICT, False),
            ({SERVER_AUTH}, openssl, Purpose.SERVER_AUTH, True),
        ):
            leaf = attrs.evolve(LEAF, extended_key_usage=None if usage is None else frozenset(usage))
            found = self.judged(by_name, chain(leaf, MIDDLE, ROOT, errors=errors), purpose=purpose)
            self.assertEqual(found, ("name", "ca") if good else Cause.CERTIFICATE_WRONG_PURPOSE)
