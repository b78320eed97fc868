"""Who a TLS peer is: from OpenSSL's verify callback to a partner, or an exact refusal.

Duty: OpenSSL builds the path and checks its signatures; everything that it finds wrong is recorded, not obeyed, and
policy judges the whole at the end of the path, while the handshake can still be refused with an alert that says why.
What a stranger can make the site compute is bounded: a finding after which no path can be good is judged at once,
before a signature is checked; where OpenSSL goes on, above a pinned certificate, the keys are of ordinary size. The
verify callback never raises. Only this module makes a :class:`~smartproxy.policy.identity.VerifiedPartner`, and only
for a finished handshake, in which the peer proved that it holds the certificate's key.

Trusts OpenSSL to call back for every certificate of the path and for every error. Standards: RFC 5280 section 6;
RFC 5246 section 7.4.8 and RFC 8446 section 4.4.3 (CertificateVerify); RFC 5024 section 11.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL, crypto
from twisted.python.failure import Failure

from smartproxy.net.tls.bounded import BoundedConnection
from smartproxy.net.tls.context import (
    AnchorsAbove,
    Namesakes,
    anchors_above,
    check_path,
    judge_peers,
    load_anchors,
    may_stand_above,
    namesakes_of,
    path_with_anchors_above,
    twins_of,
)
from smartproxy.net.tls.facts import certificate_of, check_cost, check_costs, path_facts
from smartproxy.net.tls.openssl import GetPath, error_text, watch_alerts
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import (
    BROKEN,
    CERTIFICATE_CAUSES,
    WITHOUT_ANCHOR,
    CertificateRefusal,
    VerifyError,
)
from smartproxy.policy.certificates.decoding import is_issued_by
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts, PathError
from smartproxy.policy.certificates.judge import Match, judge_chain
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.partners import TrustedCa

ALERTS: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""The names of TLS alerts (RFC 5246 section 7.2, RFC 8446 section 6)."""


@attrs.define(eq=False)
class _Walk:
    """What OpenSSL has shown of a path.

    :ivar path: its certificates, by their depth.
    :ivar errors: what is wrong with them.
    :ivar settled: whether the path ends at another anchor than OpenSSL took, up to which it was checked by itself.
    :ivar read: the certificates that were read last, and their facts.
    """

    path: dict[int, x509.Certificate] = attrs.field(factory=dict)
    errors: list[PathError] = attrs.field(factory=list)
    settled: bool = False
    read: tuple[list[x509.Certificate], tuple[CertificateFacts, ...]] = attrs.field(default=([], ()))


@attrs.define(eq=False)
class Verification:
    """What became known about the peer of one connection.

    :ivar match: the partner that its certificate names, once that is judged.
    :ivar facts: of the chain that was judged last.
    :ivar refusal: why its certificate was refused.
    :ivar failure: a bug of ours, met in the verify callback.
    :ivar alert_sent: the alert that we sent last.
    :ivar alert_received: the alert that the peer sent last.
    :ivar bounded: whether the keys of its path are known to be of ordinary size.
    :ivar pinned: the partner, if its own certificate is good whatever stands above it.
    """

    match: Match | None = None
    facts: ChainFacts | None = None
    refusal: CertificateRefusal | None = None
    failure: Failure | None = None
    alert_sent: str | None = None
    alert_received: str | None = None
    bounded: bool = False
    pinned: Match | None = None
    _shown: _Walk | None = attrs.field(factory=_Walk, init=False)

    @property
    def _walk(self) -> _Walk:
        """What OpenSSL has shown so far; there is nothing to be shown after :meth:`forget`."""
        assert self._shown is not None
        return self._shown

    def chain(self, anchors: "Anchors | None" = None) -> ChainFacts:
        """The facts so far.

        :param anchors: what stands above the anchor at which OpenSSL ended the path, or beside it.
        :raises CertificateRefusal: if one of the certificates cannot be read.
        """
        walk = self._walk
        return self._chain(walk, [walk.path[depth] for depth in sorted(walk.path)], _is_anchored(walk), anchors)

    def saw(self, certificate: x509.Certificate, depth: int, error: int) -> None:
        """Take note of one call of OpenSSL: a certificate of the path, and what is wrong with it if not 0.

        The last word on which certificate stands where has OpenSSL's walk down the finished path, without errors.
        """
        walk = self._shown
        assert walk is not None
        if walk.settled:
            return
        if error:
            walk.path.setdefault(depth, certificate)
            walk.errors.append(_path_error(error, depth))
        else:
            walk.path[depth] = certificate

    @property
    def leaf(self) -> x509.Certificate:
        """The peer's own certificate, once the path is complete."""
        return self._walk.path[0]

    def chain_of(self, certificates: list[x509.Certificate], anchors: "Anchors | None" = None) -> ChainFacts:
        """The facts so far of a path that is not finished.

        :param certificates: what OpenSSL has built of it; of a path without an anchor the first one is enough.
        :param anchors: what stands above the anchor at which OpenSSL ended the path, or beside it.
        :raises CertificateRefusal: if one of the certificates cannot be read.
        """
        walk, anchored = self._walk, _is_anchored(self._walk)
        return self._chain(walk, certificates if anchored else certificates[:1], anchored, anchors)

    def _chain(
        self, walk: _Walk, shown: list[x509.Certificate], anchored: bool, anchors: "Anchors | None"
    ) -> ChainFacts:
        known = anchors or Anchors()
        path = path_with_anchors_above(shown, known.above) if anchored else shown
        facts = self._facts(walk, path)
        return ChainFacts(
            presented=facts[: len(shown)],
            path=facts if anchored else (),
            path_errors=tuple(walk.errors),
            twins=known.twins_in(path, facts) if anchored else {},
        )

    def settle(self, path: list[x509.Certificate], finding: tuple[int, int] | None) -> None:
        """End the path at another anchor than OpenSSL took: what it found up to that one counts no more.

        What it said about purposes below the anchor stays: it was checked before the signatures, and not again.

        :param finding: what is wrong with this path, if anything is.
        """
        walk = self._walk
        walk.path = dict(enumerate(path))
        said = (each for each in walk.errors if each.code == VerifyError.INVALID_PURPOSE and each.depth < len(path) - 1)
        walk.errors = [*said, *([] if finding is None else [_path_error(*finding)])]
        walk.settled = True

    @staticmethod
    def _facts(walk: _Walk, path: list[x509.Certificate]) -> tuple[CertificateFacts, ...]:
        """The facts of a path, which is read once: OpenSSL calls back several times about the same one."""
        if walk.read[0] != path:
            walk.read = (path, path_facts(path))
        return walk.read[1]

    def judged_before(self, chain: ChainFacts) -> Match | None:
        """The partner, if its certificate is pinned and was judged before the path was complete."""
        if self.pinned is None or self.pinned.certificate.sha256 != chain.presented[0].sha256:
            return None
        return self.pinned

    def forget(self) -> None:
        """Release the certificates, and who they name: the connection may live for hours."""
        self._shown = self.match = self.pinned = None

    @property
    def is_judged(self) -> bool:
        """Whether policy has judged the peer."""
        return self.match is not None or self.refusal is not None


def _is_anchored(walk: _Walk) -> bool:
    """Whether OpenSSL found an anchor at the end of a path."""
    return not any(error.code in WITHOUT_ANCHOR for error in walk.errors)


@lru_cache(maxsize=256)
def _path_error(error: int, depth: int) -> PathError:
    """One for all connections."""
    return PathError(error, depth, error_text(error))


class VerifiedConnection(BoundedConnection):
    """A TLS connection that carries what became known about its peer."""

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context)
        self.verification = Verification()


def note_alert(connection: SSL.Connection, where: int, value: int) -> None:
    """OpenSSL's information callback: remember which alerts were sent and received."""
    if not where & SSL.SSL_CB_ALERT:
        return
    assert isinstance(connection, VerifiedConnection)
    alert = ALERTS.get(value & 0xFF, f"alert {value & 0xFF}")
    if where & SSL.SSL_CB_READ:
        connection.verification.alert_received = alert
    else:
        connection.verification.alert_sent = alert


@attrs.frozen
class Anchors:
    """What the anchors of a generation are to each other.

    :ivar above: the anchors above an anchor.
    :ivar twins: the other certificates of the CA that an anchor is of, with the same key, and their facts.
    :ivar namesakes: the other anchors with the name of an anchor, which have other keys.
    """

    above: AnchorsAbove = attrs.field(factory=dict)
    twins: Mapping[x509.Certificate, tuple[tuple[x509.Certificate, CertificateFacts], ...]] = attrs.field(factory=dict)
    namesakes: Namesakes = attrs.field(factory=dict)

    @classmethod
    def of(cls, anchors: Iterable[x509.Certificate]) -> "Anchors":
        """Find out; an anchor that cannot be read stands for none."""
        known = tuple(anchors)
        twins: dict[x509.Certificate, tuple[tuple[x509.Certificate, CertificateFacts], ...]] = {}
        for anchor, others in twins_of(known).items():
            read: list[tuple[x509.Certificate, CertificateFacts]] = []
            for each in others:
                with contextlib.suppress(CertificateRefusal):
                    read.append((each, path_facts([each])[0]))
            twins[anchor] = tuple(read)
        return cls(anchors_above(known), twins, namesakes_of(known))

    def twins_in(
        self, path: list[x509.Certificate], facts: tuple[CertificateFacts, ...]
    ) -> Mapping[str, tuple[CertificateFacts, ...]]:
        """The twins of the anchors in a path, by their SHA-256; those that may stand there."""
        if not self.twins:
            return {}
        return {
            facts[depth].sha256: tuple(each for twin, each in found if may_stand_above(twin, depth))
            for depth, certificate in enumerate(path)
            if depth and (found := self.twins.get(certificate))
        }


@lru_cache(maxsize=2)
def _anchors(cas: tuple[TrustedCa, ...]) -> Anchors:
    """Found once for a generation: each partner that is called has a verifier of its own."""
    return Anchors.of(load_anchors(cas))


class Verifier:
    """The verify callback of one generation of the configuration.

    :param configuration: the generation.
    :param now: tells the wall clock's time, aware, in UTC.
    :raises CertificateUnusable: if a certificate of a CA cannot be read.
    """

    def __init__(self, configuration: ServerConfiguration, now: Callable[[], datetime]) -> None:
        self._configuration = configuration
        self._anchors = _anchors(configuration.cas)
        self._now = now
        self._error = VerifyError.NO_EXPLICIT_POLICY
        self._get_path: GetPath = list

    def attach(self, context: SSL.Context, *, server: bool) -> None:
        """Judge the peers of a context; all its connections are :class:`VerifiedConnection`.

        :param server: whether it is for accepted connections.
        """
        judge_peers(context, self.verify, server=server, error=self.error, look=self._look)
        watch_alerts(context, note_alert)

    def verify(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Take note of one call of OpenSSL, and judge when the path is complete."""
        assert isinstance(connection, VerifiedConnection)
        verification = connection.verification
        try:
            verification.saw(certificate_of(certificate, depth), depth, 0 if ok else error)
            if not verification.is_judged:
                self._judge_early(verification, 0 if ok else error, depth)
            # The walk down the path ends at depth 0; what is reported after it (name constraints) is judged again.
            if verification.is_judged or (ok and depth == 0):
                verification.match = None
                verification.facts = verification.chain(self._anchors)
                verification.match = verification.judged_before(verification.facts) or self.judge(
                    verification.facts, verification.leaf
                )
        except CertificateRefusal as refusal:
            verification.refusal = refusal
            self._error = CERTIFICATE_CAUSES[refusal.cause].tells
        except Exception:
            verification.failure = Failure()
            verification.match = None
            self._error = VerifyError.NO_EXPLICIT_POLICY
            return False
        return verification.refusal is None

    def _is_of_namesake(self, verification: Verification, path: list[x509.Certificate], depth: int) -> bool:
        """Whether OpenSSL took the wrong one of several anchors with one name; the path ends at the right one then.

        Only so many signatures are checked as there are anchors of that name, and the path's once more if one is right.

        :param path: as OpenSSL has built it.
        :param depth: of the certificate whose signature OpenSSL checked with the anchor's key.
        """
        if len(path) != depth + 2:
            return False
        for anchor in self._anchors.namesakes.get(path[-1], ()):
            if is_issued_by(path[depth], anchor):
                verification.settle([*path[:-1], anchor], check_path(path[:-1], anchor))
                return True
        return False

    def _look(self, get_path: GetPath) -> None:
        self._get_path = get_path

    def _judge_early(self, verification: Verification, error: int, depth: int) -> None:
        """Refuse what cannot become good, before another signature is checked.

        OpenSSL asks for the first time when it has built the path, and checks signatures from the anchor down after
        that. So the key of a certificate is used only if an anchor vouches for it, or if this goes on because the
        peer's own certificate is pinned.

        :raises CertificateRefusal: if the path is worthless, or its keys are not of ordinary size.
        """
        hopeless = not verification.pinned and (error in WITHOUT_ANCHOR or error in BROKEN)
        if verification.bounded and not hopeless:
            return
        path = [certificate_of(each, at) for at, each in enumerate(self._get_path())]
        forged = hopeless and error == VerifyError.CERT_SIGNATURE_FAILURE
        if forged and self._is_of_namesake(verification, path, depth):
            return
        if hopeless and path:
            verification.pinned = self.judge(verification.chain_of(path, self._anchors), path[0])
            check_costs(path)
        if not verification.bounded:
            for depth, each in enumerate(path):
                check_cost(each, depth)
            verification.bounded = True

    def judge(self, chain: ChainFacts, leaf: x509.Certificate) -> Match:
        """The partner that the peer is.

        :param leaf: its own certificate, whose facts are the first of the chain.
        :raises CertificateRefusal: if the peer is not a partner.
        """
        return judge_chain(chain, self._configuration, self._now())

    def error(self) -> int:
        """The OpenSSL error number that stands for the refusal just given."""
        return self._error


def verified_partner(connection: VerifiedConnection) -> VerifiedPartner:
    """The partner that a finished handshake proved the peer to be.

    :raises CertificateRefusal: if it proved none, whatever the reason.
    """
    verification = connection.verification
    certificate = connection.get_peer_certificate(as_cryptography=True)
    match, facts = verification.match, verification.facts
    if match is None or facts is None or certificate is None:
        raise verification.refusal or CertificateRefusal(cause=Cause.CERTIFICATE_MISSING)
    if certificate.fingerprint(hashes.SHA256()).hex() != match.certificate.sha256:
        raise CertificateRefusal(cause=Cause.CERTIFICATE_INVALID_PATH)
    verification.forget()
    return VerifiedPartner(partner=match.partner, certificate=match.certificate, by=match.by, ca=match.ca, chain=facts)
