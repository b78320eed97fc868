"""How much CPU time of the server one handshake costs, for all kinds of chain that a stranger may show.

Run by ``make bench-parts``. Server and client talk in memory; only what the server computes is
counted. Goal: no stranger costs more than 3 ms. Each figure is the median of several handshakes.
"""

import datetime
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from OpenSSL import SSL

from smartproxy.net.tls.verdict import VerifiedConnection
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import CertificatePin, Partner, RevocationMode, ServerIdentity, SubjectRule, TrustedCa
from smartproxy.server.generation import PartnerContexts
from smartproxy.testing.forging import (
    below,
    certificate,
    compressed,
    explicit_curve,
    monstrous,
    name,
    of_key,
    on,
    rsa_signer,
)
from smartproxy.testing.pki import TestCa, TestCredential, self_signed
from smartproxy.tunnel.contexts import ServerContext
from smartproxy.tunnel.identity import Identity

GOAL_MS: Final = 3.0
ROUNDS: Final = 15

ROOT = TestCa.root("known root")
MIDDLE = ROOT.intermediate("known intermediate")
KNOWN = MIDDLE.issue("known partner", serial_number="O0013000001ACME")
PINNED = self_signed("pinned partner")


def kinds() -> dict[str, tuple[TestCredential | None, bool]]:
    """What is shown, and whether the leaf is pinned."""
    huge, ordinary = monstrous(3072, 3072), monstrous(2048, 16)
    known_root = ROOT.credential.certificate.subject
    p256 = on(ec.SECP256R1())
    many = [certificate(name(f"c{number}"), name("x"), p256()) for number in range(120)]
    alike = [certificate(name("same"), name("same"), p256()) for number in range(120)]
    alternative = x509.SubjectAlternativeName([x509.DNSName(f"host{number}.example") for number in range(600)])
    stranger = self_signed("stranger")
    wide = certificate(name("wide"), name("x"), stranger.key.public_key(), extensions=[alternative])
    dsa_key = dsa.generate_private_key(3072)
    ec_512 = ec.generate_private_key(ec.BrainpoolP512R1())
    ec_521 = ec.generate_private_key(ec.SECP521R1())
    own_curve, p224, p521 = explicit_curve(640), compressed(ec.SECP224R1()), compressed(ec.SECP521R1())
    made: dict[str, tuple[TestCredential | None, bool]] = {
        "none": (None, False),
        "known partner": (KNOWN, False),
        "pinned partner": (PINNED, True),
        "self-signed stranger": (stranger, False),
        "leaf of an unknown authority": (TestCa.root("unknown").issue("stranger"), False),
        "known partner without its intermediate": (attrs.evolve(KNOWN, intermediates=()), False),
        "expired": (MIDDLE.issue_expired("old partner"), False),
        "five authorities, RSA 2048": (below(ordinary), False),
        "five authorities, RSA 3072, exponents of 3072 bits": (below(huge, signer=rsa_signer(3072)), False),
        "the same, in the known root's name": (below(huge, length=4, signer=rsa_signer(3072), top=known_root), False),
        "four authorities, RSA 8192": (below(monstrous(8192, 32), length=4, signer=rsa_signer(8192)), False),
        "twenty authorities, RSA 2048": (below(ordinary, length=20), False),
        "five authorities, DSA 3072": (below(dsa_key.public_key, signer=dsa_key), False),
        "120 certificates that belong nowhere": (attrs.evolve(stranger, intermediates=tuple(many)), False),
        "120 certificates of one name": (
            TestCredential(stranger.key, certificate(name("s"), name("same"), stranger.key.public_key()), tuple(alike)),
            False,
        ),
        "a key on a curve of its own": (beside(stranger, own_curve, 1), False),
        "40 keys on curves of their own": (beside(stranger, own_curve, 40), False),
        "180 compressed keys, P-224": (beside(stranger, p224, 180), False),
        "7 compressed keys, P-521": (beside(stranger, p521, 7), False),
        "a certificate with 600 names": (TestCredential(stranger.key, wide), False),
        "pinned, five authorities, exponents of 3072 bits": (below(huge, signer=rsa_signer(3072)), True),
        "pinned, five authorities, RSA 4096, exponents of 32 bits": (
            below(monstrous(4096, 32), signer=rsa_signer(4096)),
            True,
        ),
        "pinned, five authorities, RSA 8192, exponents of 32 bits": (
            below(monstrous(8192, 32), signer=rsa_signer(8192)),
            True,
        ),
        "pinned, five authorities, brainpoolP512r1": (below(on(ec.BrainpoolP512R1()), signer=ec_512), True),
        "pinned, five authorities, P-521": (below(on(ec.SECP521R1()), signer=ec_521), True),
    }
    return made


def beside(shown: TestCredential, key: bytes, count: int) -> TestCredential:
    """A certificate, with so many others beside it that have a key."""
    return attrs.evolve(shown, intermediates=tuple(of_key(key, number) for number in range(count)))


def contexts(pinned: Sequence[TestCredential]) -> PartnerContexts:
    """A server that knows one CA, and these partners by pin."""
    identity = self_signed("server")
    ca = TrustedCa(name="ca", certificates=ROOT.certificate_pem.decode(), revocation=RevocationMode.OFF)
    pins = tuple(CertificatePin(sha256=each.sha256) for each in pinned)
    partners = (
        Partner(name="KNOWN", codes=("K",), certificates=(SubjectRule(ca="ca", serial_number="O0013000001ACME"),)),
        Partner(name="PINNED", codes=("P",), certificates=pins),
    )
    entry = ServerIdentity(name="main", certificate=identity.chain_pem.decode(), key=identity.key_pem.decode())
    configuration = ServerConfiguration(identities=(entry,), cas=(ca,), partners=partners)
    return PartnerContexts(configuration, lambda: datetime.datetime.now(datetime.UTC))


def at_the_tunnel() -> dict[str, tuple[Callable[[Any], SSL.Connection], Callable[[], SSL.Connection]]]:
    """What a stranger may send to the tunnel's port: what makes the server's end, and what makes the client's."""
    port = ServerContext(Identity.of(ec.generate_private_key(ec.SECP256R1())), ROOT.certificate_pem.decode())
    many = attrs.evolve(PINNED, intermediates=(PINNED.certificate,) * 200)
    offers = SSL.Context(SSL.TLS_CLIENT_METHOD)
    offers.set_alpn_protos([b"a"] * 3_000)
    return {
        "the tunnel's port, 200 certificates": (port.serverConnectionForTLS, partial(client_of, many)),
        "the tunnel's port, 40 keys on curves of their own": (
            port.serverConnectionForTLS,
            partial(client_of, beside(PINNED, explicit_curve(640), 40)),
        ),
        "the tunnel's port, 3,000 protocols": (port.serverConnectionForTLS, partial(SSL.Connection, offers, None)),
    }


def handshake(server: SSL.Connection, client: SSL.Connection) -> tuple[float, str]:
    """Let both talk until neither has anything to say; the server's seconds of CPU time, and what came of it."""
    server.set_accept_state()
    client.set_connect_state()
    spent, outcome = 0.0, "accepted"
    for _ in range(10):
        _step(client)
        while octets := _read(client):
            begun = time.process_time()
            server.bio_write(octets)
            _step(server)
            spent += time.process_time() - begun
        while octets := _read(server):
            client.bio_write(octets)
    if not isinstance(server, VerifiedConnection):
        outcome = "failed"
    elif server.verification.match is None:
        refused = server.verification.refusal
        outcome = "failed" if refused is None else str(refused.cause)
    return spent, outcome


def _step(connection: SSL.Connection) -> None:
    with suppress(SSL.Error):
        connection.do_handshake()


def _read(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(65536)
    except SSL.Error:
        return b""


def client_of(shown: TestCredential | None) -> SSL.Connection:
    """A client that shows a chain."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    if shown is not None:
        context.use_certificate(shown.certificate)
        context.use_privatekey(shown.key)
        for each in shown.intermediates:
            context.add_extra_chain_cert(each)
    return SSL.Connection(context, None)


def main() -> None:
    """Measure all kinds."""
    shown = kinds()
    made = contexts([credential for credential, pinned in shown.values() if pinned and credential is not None])
    worst = 0.0
    ends: dict[str, tuple[Callable[[Any], SSL.Connection], Callable[[], SSL.Connection]]] = {
        kind: (made.serverConnectionForTLS, partial(client_of, credential)) for kind, (credential, _) in shown.items()
    }
    for kind, (server, client) in (ends | at_the_tunnel()).items():
        figures = []
        outcome = ""
        for _round in range(ROUNDS):
            seconds, outcome = handshake(server(None), client())
            figures.append(seconds * 1000)
        median = statistics.median(figures)
        worst = max(worst, median)
        print(f"{median:8.2f} ms  {kind}: {outcome}")
    print(f"{worst:8.2f} ms  at most; the goal is {GOAL_MS:.0f} ms")


if __name__ == "__main__":
    main()
