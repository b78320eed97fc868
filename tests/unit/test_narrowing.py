"""What a changed entry takes from a partner, for operators to read before they change it."""

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy.narrowing import narrowings
from smartproxy.policy.partners import Authentication, CertificatePin, Outbound, Partner, Purpose

WIDE = Partner(
    name="ACME",
    codes=("O0013A", "O0013B"),
    certificates=(CertificatePin(sha256="ab" * 32),),
    lowest_level=Level.OFTP_1_4,
    purpose=Purpose.ANY,
    outbound=Outbound(host="oftp.acme.example"),
)


class Narrowings(SynchronousTestCase):
    """One sentence for each thing that is refused afterwards."""

    def test_each(self) -> None:
        """Each setting that allows less is a sentence; the same settings the other way round are none."""
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"codes": ("O0013A",)}, "its code O0013B is not known any more"),
            ({"lowest_level": Level.OFTP_2_0}, "release levels below 2.0 are refused"),
            ({"authentication": Authentication.REQUIRED}, "secure authentication is required"),
            ({"profile": Profile.STRICT}, "no departure from RFC 5024 is tolerated any more"),
            ({"purpose": Purpose.STRICT}, "the extended key usage of its certificate has to be strict"),
            ({"originators": ("O0013A",)}, "files with other originators than O0013A are refused"),
            ({"destinations": ("O0013X", "O0013Y")}, "files with other destinations than O0013X, O0013Y are refused"),
            ({"outbound": None}, "it is not called any more"),
        )
        for values, why in cases:
            narrow = attrs.evolve(WIDE, **values)
            self.assertEqual(list(narrowings(WIDE, narrow)), [why])
            self.assertEqual(list(narrowings(narrow, WIDE)), [])
        self.assertEqual(list(narrowings(WIDE, WIDE)), [])

    def test_more_is_no_less(self) -> None:
        """Further codes, and a change of how the partner is called, refuse nothing."""
        wider = attrs.evolve(WIDE, codes=(*WIDE.codes, "O0013C"), outbound=Outbound(host="192.0.2.9"))
        self.assertEqual(list(narrowings(WIDE, wider)), [])
        some = attrs.evolve(WIDE, originators=("O0013A",))
        self.assertEqual(list(narrowings(some, attrs.evolve(some, originators=("O0013A", "O0013B")))), [])
