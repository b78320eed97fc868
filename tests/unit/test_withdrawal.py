"""Tests of :mod:`smartproxy.policy.certificates.withdrawal`: what ends a session that runs, and what does not."""

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.certificates.judge import judge_chain
from smartproxy.policy.certificates.revocation import ListScope, RevocationSet
from smartproxy.policy.certificates.withdrawal import Standing
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.partners import CertificatePin, Outbound, RevocationMode, Verify
from tests.unit.chains import (
    CLIENT_AUTH,
    DAY,
    LEAF,
    MIDDLE,
    NOW,
    ROOT,
    authority,
    chain,
    partner,
    revocation,
    server,
    sha256,
)


def listed(mode: RevocationMode, *lists: RevocationSet) -> ServerConfiguration:
    """A configuration with revocation lists."""
    return server(cas=(authority("ca", "root", revocation=mode),), revocation=lists)


def verified(of: ChainFacts | None = None, before: ServerConfiguration | None = None) -> VerifiedPartner:
    """Who was let in by an earlier generation."""
    shown = of or chain()
    match = judge_chain(shown, before or server(), NOW)
    return VerifiedPartner(partner=match.partner, certificate=match.certificate, by=match.by, ca=match.ca, chain=shown)


def cause(after: ServerConfiguration, who: VerifiedPartner | None = None) -> Cause | None:
    """Why it has to go by a later generation, if it has to."""
    found = Standing.of(after).withdrawn(who or verified(), NOW + DAY)
    return None if found is None else found.cause


class StandingTests(SynchronousTestCase):
    """A partner was let in by one generation, and is judged again by the next."""

    def test_nothing_changed(self) -> None:
        """The same rules let it go on."""
        self.assertIsNone(cause(server()))

    def test_revoked(self) -> None:
        """A revoked certificate ends the session, an intermediate authority's as well as its own, old list or not."""
        dates = {"this_update": NOW - 90 * DAY, "next_update": NOW - 60 * DAY}
        for issuer, serial in (("middle", LEAF.serial), ("root", MIDDLE.serial)):
            old = revocation(issuer, serial, **dates)
            for mode in (RevocationMode.REQUIRE, RevocationMode.PREFER):
                self.assertIs(cause(listed(mode, old)), Cause.CERTIFICATE_REVOKED, issuer)
            self.assertIsNone(cause(listed(RevocationMode.OFF, old)))

    def test_revoked_by_a_part(self) -> None:
        """A part ends the sessions of its own distribution point's certificates, and the other part no session."""
        who = verified(chain(attrs.evolve(LEAF, crl_points=("URI:1",)), MIDDLE, ROOT))
        for point, ended in (("URI:1", Cause.CERTIFICATE_REVOKED), ("URI:2", None)):
            part = revocation("middle", LEAF.serial, scope=ListScope(points=(point,)))
            self.assertIs(cause(listed(RevocationMode.REQUIRE, revocation("root"), part), who), ended)

    def test_no_list(self) -> None:
        """A list that is missing or out of date keeps new sessions out and lets the running one finish."""
        self.assertIsNone(cause(listed(RevocationMode.REQUIRE)))
        old = revocation("middle", this_update=NOW - 90 * DAY, next_update=NOW - 60 * DAY)
        self.assertIsNone(cause(listed(RevocationMode.REQUIRE, old)))

    def test_expired(self) -> None:
        """The end of the certificate's validity is no withdrawal."""
        ending = chain(attrs.evolve(LEAF, not_after=NOW + DAY / 2), *chain().path[1:])
        self.assertIsNone(cause(server(), verified(ending)))

    def test_end_hides_nothing(self) -> None:
        """A certificate that ended meanwhile, or a clock that was put back, hides no withdrawal."""
        for ended in (attrs.evolve(LEAF, not_after=NOW + DAY / 2), attrs.evolve(LEAF, not_before=NOW + 2 * DAY)):
            who = attrs.evolve(verified(), chain=chain(ended, *chain().path[1:]))
            self.assertIs(cause(server(partner(enabled=False)), who), Cause.CERTIFICATE_PARTNER_DISABLED)
            late = listed(RevocationMode.PREFER, revocation("middle", LEAF.serial))
            self.assertIs(cause(late, who), Cause.CERTIFICATE_REVOKED)

    def test_entry(self) -> None:
        """An entry that was disabled, or knows the certificate no more, ends the session."""
        self.assertIs(cause(server(partner(enabled=False))), Cause.CERTIFICATE_PARTNER_DISABLED)
        self.assertIs(cause(server(partner(CertificatePin(sha256="77" * 32)))), Cause.CERTIFICATE_NO_PARTNER)

    def test_pin(self) -> None:
        """Removing the pin is the revocation of a pinned certificate."""
        pinned = server(partner(CertificatePin(sha256=LEAF.sha256)))
        who = verified(ChainFacts(presented=(LEAF,)), pinned)
        self.assertIsNone(cause(pinned, who))
        self.assertIs(cause(server(), who), Cause.CERTIFICATE_UNKNOWN_CA)

    def test_authority(self) -> None:
        """Removing the authority takes the right of all its partners away."""
        self.assertIs(cause(server(cas=())), Cause.CERTIFICATE_UNKNOWN_CA)

    def test_authority_with_a_later_certificate(self) -> None:
        """A CA certificate that was issued again goes on; one with another key, or for another name, is another CA."""
        after = server(cas=(authority("ca", "root again"),))
        again = attrs.evolve(ROOT, sha256=sha256("root again"), not_after=NOW + 999 * DAY)
        for anchor, ended in (
            (again, None),
            (attrs.evolve(again, key_sha256="77" * 32), Cause.CERTIFICATE_UNKNOWN_CA),
            (attrs.evolve(again, subject="CN=another"), Cause.CERTIFICATE_UNKNOWN_CA),
        ):
            found = Standing.of(after, (anchor,)).withdrawn(verified(), NOW + DAY)
            self.assertIs(None if found is None else found.cause, ended)
            called = attrs.evolve(after, partners=(partner(outbound=BY_NAME),))
            found = Standing.of(called, (anchor,)).withdrawn_called(verified(), NOW + DAY, lambda name: True)
            self.assertIs(None if found is None else found.cause, ended)

    def test_authority_with_both_certificates(self) -> None:
        """As long as the old one is there, it is the one that counts, with the rules of its own CA."""
        after = server(cas=(authority("new", "root again"), authority("ca", "root")))
        again = attrs.evolve(ROOT, sha256=sha256("root again"))
        self.assertIsNone(Standing.of(after, (again, ROOT)).withdrawn(verified(), NOW + DAY))

    def test_leaf_is_no_authority(self) -> None:
        """A partner's own certificate counts as it was shown."""
        alone = verified(ChainFacts(presented=(LEAF,), path=(LEAF,)), server(cas=(authority("ca", "leaf"),)))
        again = attrs.evolve(LEAF, sha256=sha256("leaf again"))
        found = Standing.of(server(cas=(authority("ca", "leaf again"),)), (again,)).withdrawn(alone, NOW + DAY)
        assert found is not None
        self.assertIs(found.cause, Cause.CERTIFICATE_UNKNOWN_CA)

    def test_somebody_else(self) -> None:
        """A certificate that has become another partner's ends the session of the former one."""
        self.assertIs(cause(server(partner(name="SUCCESSOR"))), Cause.CERTIFICATE_NO_PARTNER)


BY_NAME = Outbound(host="oftp.acme.example")
BY_ID = Outbound(host="h", verify=Verify.ODETTE)
BY_PIN = Outbound(host="h", verify=Verify.PIN, certificates=(CertificatePin(sha256=LEAF.sha256),))


class CalledStanding(SynchronousTestCase):
    """A partner was called by one generation, and is judged again by the next."""

    def cause(
        self, after: Outbound | None, who: VerifiedPartner | None = None, *, given: Any = None, **entry: Any
    ) -> Cause | None:
        """Why it has to go by a later generation, if it has to."""
        later = attrs.evolve(given or server(), partners=(partner(**{"outbound": after, **entry}),))
        found = Standing.of(later).withdrawn_called(
            who or verified(), NOW + DAY, lambda name: name == "oftp.acme.example"
        )
        return None if found is None else found.cause

    def test_fits(self) -> None:
        """An entry that its certificate fits lets it go on, whichever way it is known by, and whatever its purpose."""
        for outbound in (BY_NAME, BY_ID, BY_PIN):
            self.assertIsNone(self.cause(outbound))
        client_only = chain(attrs.evolve(LEAF, extended_key_usage=frozenset({CLIENT_AUTH})), *chain().path[1:])
        who = verified(client_only)
        self.assertIsNone(self.cause(BY_NAME, who))
        elsewhere = Outbound(host="elsewhere.example")
        self.assertIs(self.cause(elsewhere, who), Cause.CERTIFICATE_WRONG_NAME)

    def test_does_not_fit(self) -> None:
        """Any other ends its session, and so does none."""
        other = CertificatePin(sha256="77" * 32)
        self.assertIs(self.cause(attrs.evolve(BY_NAME, server_name="x")), Cause.CERTIFICATE_WRONG_NAME)
        self.assertIs(self.cause(attrs.evolve(BY_PIN, certificates=(other,))), Cause.CERTIFICATE_NOT_EXPECTED)
        self.assertIs(self.cause(BY_NAME, given=server(cas=())), Cause.CERTIFICATE_UNKNOWN_CA)
        self.assertIs(self.cause(None), Cause.CERTIFICATE_NOT_CALLED)
        self.assertIs(self.cause(BY_NAME, enabled=False), Cause.CERTIFICATE_PARTNER_DISABLED)
        self.assertIs(self.cause(BY_NAME, name="SUCCESSOR"), Cause.CERTIFICATE_NO_PARTNER)

    def test_lists(self) -> None:
        """A revocation ends its session, and no list that is missing or out of date, and no end of validity."""
        old = revocation("middle", this_update=NOW - 90 * DAY, next_update=NOW - 60 * DAY)
        ending = verified(chain(attrs.evolve(LEAF, not_after=NOW + DAY / 2), *chain().path[1:]))
        for outbound in (BY_NAME, BY_ID):
            revoked = listed(RevocationMode.REQUIRE, revocation("middle", LEAF.serial))
            self.assertIs(self.cause(outbound, ending, given=revoked), Cause.CERTIFICATE_REVOKED)
            for lists in ((), (old,)):
                self.assertIsNone(self.cause(outbound, ending, given=listed(RevocationMode.REQUIRE, *lists)))
