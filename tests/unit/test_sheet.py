"""A partner's sheet: everything that the partner has to know, in two languages, and nothing that acts on a reader."""

import string
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Level
from smartproxy.policy.partners import (
    Authentication,
    CertificatePin,
    KeyPin,
    Outbound,
    Partner,
    Purpose,
    SanRule,
    SubjectRule,
    Verify,
)
from smartproxy.policy.settings import Offer, SheetSettings
from smartproxy.policy.sheet import OurSide, Sheet, SheetFormat, ShownCertificate, compose, render
from smartproxy.policy.sheet_words import ENGLISH, GERMAN, WORDS, Language

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PIN = "ab" * 32
ACME = Partner(
    name="ACME",
    codes=("O0013000001ACME",),
    certificates=(CertificatePin(sha256=PIN),),
    lowest_level=Level.OFTP_1_4,
    authentication=Authentication.REQUIRED,
)
CALLED = Outbound(host="oftp.acme.example", port=6619)
SHOWN = ShownCertificate(
    subject="CN=oftp.muster.example",
    issuer="CN=Odette CA",
    serial="1f",
    sha256="0123456789abcdef" * 4,
    not_after=datetime(2027, 6, 30, tzinfo=UTC),
)
SAID = SheetSettings(
    host="oftp.muster.example",
    codes=("O0013000001MUSTER",),
    buffer_octets=4096,
    credit=99,
    compression=Offer.YES,
    restart=Offer.NO,
    contact="EDI",
)
OURS = OurSide(
    site="Muster GmbH", said=SAID, ports=(6619, 3305), answering=SHOWN, calling=SHOWN, source=None, lists=False
)


def made(
    partner: Partner = ACME,
    ours: OurSide = OURS,
    language: Language = Language.EN,
    pins: Mapping[str, ShownCertificate] | None = None,
) -> Sheet:
    """A sheet."""
    return compose(partner, ours, pins or {}, language, NOW)


def values(sheet: Sheet, label: str) -> list[tuple[str, ...]]:
    """What stands beside a label, wherever it does."""
    return [row.values for section in sheet.sections for row in section.rows if row.label == label]


class WhatItSays(SynchronousTestCase):
    """The facts."""

    def test_our_side(self) -> None:
        """Address, ports, codes and the certificate with its end."""
        sheet = made()
        self.assertEqual(values(sheet, ENGLISH.host), [("oftp.muster.example",)])
        self.assertEqual(values(sheet, ENGLISH.port), [("6619", "3305")])
        self.assertEqual(values(sheet, ENGLISH.our_codes), [("O0013000001MUSTER",)])
        self.assertEqual(values(sheet, ENGLISH.our_file_codes), [("O0013000001MUSTER",)])
        self.assertEqual(values(sheet, ENGLISH.subject), [("CN=oftp.muster.example",)])
        self.assertEqual(values(sheet, ENGLISH.issuer), [("CN=Odette CA",)])
        self.assertEqual(values(sheet, ENGLISH.sha256), [(":".join(["01:23:45:67:89:AB:CD:EF"] * 4),)])
        self.assertEqual(values(sheet, ENGLISH.valid_until), [("2027-06-30 00:00 UTC",)])
        self.assertEqual(sheet.missing, ())

    def test_port_outside(self) -> None:
        """A port that partners reach through a firewall, and codes of files, take the place of what the server has."""
        said = attrs.evolve(SAID, port=443, file_codes=("O0013X", "O0013Y"))
        sheet = made(ours=attrs.evolve(OURS, said=said))
        self.assertEqual(values(sheet, ENGLISH.port), [("443",)])
        self.assertEqual(values(sheet, ENGLISH.our_file_codes), [("O0013X", "O0013Y")])

    def test_session(self) -> None:
        """Levels from the newest to the lowest, authentication, buffer size, credit, compression, restart."""
        sheet = made()
        self.assertEqual(values(sheet, ENGLISH.levels), [("2.0, 1.4",)])
        self.assertEqual(values(sheet, ENGLISH.secure), [("yes, required",)])
        self.assertEqual(values(sheet, ENGLISH.buffer), [("4096 octets",)])
        self.assertEqual(values(sheet, ENGLISH.credit), [("99",)])
        self.assertEqual(values(sheet, ENGLISH.compression), [("yes",)])
        self.assertEqual(values(sheet, ENGLISH.restart), [("no",)])

    def test_nothing_said(self) -> None:
        """What nobody said is told separately, and the settings that would say it are named."""
        ours = attrs.evolve(OURS, said=SheetSettings(), ports=(), answering=None, calling=None)
        sheet = made(ours=ours)
        for label in (ENGLISH.host, ENGLISH.port, ENGLISH.our_codes, ENGLISH.buffer, ENGLISH.credit, ENGLISH.restart):
            self.assertEqual(values(sheet, label), [(ENGLISH.unsaid,)], label)
        names = ("host", "codes", "buffer_octets", "credit", "compression", "restart", "contact")
        self.assertEqual(sheet.missing, tuple(f"backend.sheet.{each}" for each in names))

    def test_partner(self) -> None:
        """Its codes as we know them, and how each of its certificates is recognized."""
        rules = (
            CertificatePin(sha256=PIN),
            KeyPin(sha256="cd" * 32),
            SubjectRule(ca="odette", serial_number="O0013"),
            SanRule(ca="odette", san="DNS:oftp.acme.example"),
        )
        sheet = made(attrs.evolve(ACME, certificates=rules, originators=("O0013A", "O0013B")), pins={PIN: SHOWN})
        self.assertEqual(values(sheet, ENGLISH.your_codes), [("O0013000001ACME",)])
        self.assertEqual(values(sheet, ENGLISH.originators), [("O0013A", "O0013B")])
        self.assertEqual(values(sheet, ENGLISH.destinations), [("any",)])
        ((pin, key, subject, san),) = values(sheet, ENGLISH.certificates)
        self.assertIn("AB:AB:", pin)
        self.assertIn("(CN=oftp.muster.example, valid until 2027-06-30 00:00 UTC)", pin)
        self.assertTrue(key.endswith("CD:CD"), key)
        self.assertIn("serialNumber O0013 in the subject", subject)
        self.assertIn("the name DNS:oftp.acme.example", san)

    def test_called(self) -> None:
        """A partner that we call sees where, from where, with which certificate, and what we ask of its own."""
        for verify, words in (
            (Verify.NAME, "contain the name oftp.acme.example"),
            (Verify.PIN, "one of those that we know"),
            (Verify.ODETTE, "contain your Odette ID"),
        ):
            other = attrs.evolve(SHOWN, subject="CN=caller")
            ours = attrs.evolve(OURS, calling=other, source="192.0.2.7")
            sheet = made(attrs.evolve(ACME, outbound=attrs.evolve(CALLED, verify=verify)), ours)
            self.assertEqual(values(sheet, ENGLISH.host)[1:], [("oftp.acme.example",)])
            self.assertEqual(values(sheet, ENGLISH.from_address), [("192.0.2.7",)])
            self.assertEqual(values(sheet, ENGLISH.subject), [("CN=oftp.muster.example",), ("CN=caller",)])
            self.assertIn(words, values(sheet, ENGLISH.your_name)[0][0])
        same = made(attrs.evolve(ACME, outbound=CALLED))
        self.assertEqual(values(same, ENGLISH.subject), [("CN=oftp.muster.example",)])
        self.assertEqual(values(same, ENGLISH.from_address), [(ENGLISH.any_address,)])
        self.assertIn(ENGLISH.never, render(made(), SheetFormat.TEXT))

    def test_needed(self) -> None:
        """What we need: the certificate for its use, lists where they are required, an address where we call."""

        def needed(partner: Partner = ACME, ours: OurSide = OURS) -> str:
            return "\n".join(made(partner, ours).sections[-1].sentences)

        self.assertIn("clientAuth, or no such extension", needed())
        self.assertIn("clientAuth or serverAuth", needed(attrs.evolve(ACME, purpose=Purpose.SERVER_AUTH)))
        self.assertIn("does not matter", needed(attrs.evolve(ACME, purpose=Purpose.ANY)))
        self.assertNotIn("revocation list", needed())
        self.assertIn("revocation list", needed(ours=attrs.evolve(OURS, lists=True)))
        self.assertIn(ENGLISH.need_address, needed())
        self.assertNotIn(ENGLISH.need_address, needed(attrs.evolve(ACME, outbound=CALLED)))


class Languages(SynchronousTestCase):
    """English and German."""

    def test_filled_in_alike(self) -> None:
        """Both languages have all words, and the same places to be filled in."""
        for field in attrs.fields(type(ENGLISH)):
            texts = [getattr(words, field.name) for words in WORDS.values()]
            self.assertTrue(all(texts), field.name)
            places = [{name for _, name, _, _ in string.Formatter().parse(each) if name} for each in texts]
            self.assertEqual(places[0], places[1], field.name)

    def test_german(self) -> None:
        """A German sheet has German words, and says its language to a browser."""
        sheet = made(language=Language.DE)
        text, page = render(sheet, SheetFormat.TEXT), render(sheet, SheetFormat.HTML)
        self.assertIn("OFTP2-Verbindung zwischen ACME und Muster GmbH", text)
        self.assertIn(GERMAN.need_password.split(";")[0], text)
        self.assertNotIn("you", text)
        self.assertIn('<html lang="de">', page)
        self.assertIn("Größe des Exchange Buffers", page)


FINGERPRINT = ":".join([PIN.upper()[:2]] * 32)


class Forms(SynchronousTestCase):
    """Text and page."""

    def test_text(self) -> None:
        """Labels in a column of their own; a further value stands below the first."""
        lines = render(made(), SheetFormat.TEXT).splitlines()
        place = next(number for number, line in enumerate(lines) if line.startswith(ENGLISH.port))
        self.assertEqual((lines[place].split()[-1], lines[place + 1].strip()), ("6619", "3305"))
        self.assertEqual(lines[place].index("6619"), lines[place + 1].index("3305"))
        longest = max(len(row.label) for words in WORDS for part in made(language=words).sections for row in part.rows)
        self.assertLess(longest, lines[place].index("6619"))
        place = lines.index(ENGLISH.certificates)
        self.assertEqual(
            lines[place + 1 : place + 3], ["  certificate with the SHA-256 fingerprint", f"  {FINGERPRINT}"]
        )
        self.assertLessEqual(max(map(len, lines)), 100)

    def test_escaped(self) -> None:
        """Markup in names and certificates is text on the page, and what acts on a terminal is in neither form."""
        name = '<script>alert("1")</script>&\x1b[2J\u202e'
        ours = attrs.evolve(
            OURS,
            site=name,
            said=attrs.evolve(SAID, contact=name),
            answering=attrs.evolve(SHOWN, subject=name, issuer=name, serial=name),
        )
        sheet = made(attrs.evolve(ACME, name=name), ours, pins={PIN: attrs.evolve(SHOWN, subject=name)})
        for form in SheetFormat:
            text = render(sheet, form)
            self.assertNotIn("\x1b", text)
            self.assertNotIn("\u202e", text)
        page = render(sheet, SheetFormat.HTML)
        self.assertNotIn("<script", page)
        self.assertIn("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;", page)
