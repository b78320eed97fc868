"""Tests of :mod:`smartproxy.policy.licence`: every way in which a licence can be wrong, each with its own words."""

import base64
import datetime
import json
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.licence import Licence, LicenceRefused, WithdrawnClient, read, renew, sign
from smartproxy.policy.values import blocks
from smartproxy.testing.pki import KeyKind, TestCa, make_key
from tests.unit.documents import pem
from tests.unit.odd_files import of_no_version

NOW = datetime.datetime(2026, 11, 20, 10, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)
PROXY_ID = "0a" * 32 + "px"
ED25519 = bytes.fromhex("06032b6570")
"""The object identifier of the algorithm, in DER."""


class Site:
    """A site's authority, which signs licences."""

    def __init__(self) -> None:
        key = make_key(KeyKind.ED25519)
        assert isinstance(key, Ed25519PrivateKey)
        self.key = key
        self.certificate = TestCa.root("authority", key=key).certificate_pem.decode()

    def licence(self, **others: Any) -> Licence:
        """A licence that is good now."""
        return attrs.evolve(
            Licence(
                proxy_id=PROXY_ID,
                site="Muster GmbH",
                valid_from=NOW - DAY,
                valid_until=NOW + 365 * DAY,
                limits={"sessions": 500},
                authority_certificate=self.certificate,
            ),
            **others,
        )

    def text(self, **others: Any) -> str:
        """The same, signed."""
        return sign(self.licence(**others), self.key)


SITE = Site()
OTHER = Site()


def gone(name: str, begins_until: datetime.datetime = NOW) -> WithdrawnClient:
    """A client that is shut out."""
    return WithdrawnClient(name=name, begins_until=begins_until)


class Withdrawing(SynchronousTestCase):
    """Licences that say whose certificates are withdrawn."""

    def test_whose(self) -> None:
        """Certificates of this name that begin until then; no later ones, and no other name's."""
        licence = read(SITE.text(withdrawn=(gone("inner"),)), PROXY_ID, NOW)
        for name, begins, withdrawn in (
            ("inner", NOW, True),
            ("inner", NOW - DAY, True),
            ("inner", NOW + SECOND, False),
            ("Inner", NOW, False),
            ("inner-2", NOW, False),
        ):
            self.assertEqual(licence.withdraws(name, begins), withdrawn, (name, begins))

    def test_until_when(self) -> None:
        """The latest of the begins that are withdrawn for a name counts."""
        licence = SITE.licence(withdrawn=(gone("a", NOW - DAY), gone("a"), gone("b", NOW + DAY)))
        self.assertEqual([licence.withdrawn_until(name) for name in ("a", "b", "c")], [NOW, NOW + DAY, None])

    def test_no_key_without_any(self) -> None:
        """A licence that withdraws nobody is one that versions before know."""
        self.assertNotIn("withdrawn", SITE.text())
        self.assertEqual(read(SITE.text(), PROXY_ID, NOW).withdrawn, ())

    def test_signed(self) -> None:
        """The list is signed: without it, with another one or an empty one, the licence is damaged."""
        whole = json.loads(SITE.text(withdrawn=(gone("inner"),)))
        for change in ([], None, [{"name": "other", "begins_until": "2026-11-20T10:00:00Z"}]):
            whole["licence"]["withdrawn"] = change
            if change is None:
                del whole["licence"]["withdrawn"]
            refused: LicenceRefused = self.assertRaises(LicenceRefused, read, json.dumps(whole), PROXY_ID, NOW)
            self.assertIs(refused.cause, Cause.LICENCE_DAMAGED)

    def test_same_end(self) -> None:
        """With the same end it replaces one that withdraws less, and none that withdraws as much or more."""
        one, later, two = (gone("a"),), (gone("a", NOW + SECOND),), (gone("a"), gone("b"))
        for present, text, taken in (
            ((), one, True),
            (one, later, True),
            (one, two, True),
            (one, (gone("b"),), True),
            ((), (), False),
            (one, one, False),
            (one, (), False),
            (later, one, False),
            (two, one, False),
        ):
            arguments = (SITE.licence(withdrawn=present), SITE.text(withdrawn=text), NOW)
            if taken:
                self.assertEqual(renew(*arguments).withdrawn, text)
            else:
                refused: LicenceRefused = self.assertRaises(LicenceRefused, renew, *arguments)
                self.assertIs(refused.cause, Cause.LICENCE_NOT_NEWER)

    def test_earlier_end(self) -> None:
        """An earlier end is older, whomever it withdraws."""
        text = SITE.text(withdrawn=(gone("a"),), valid_until=NOW + DAY)
        self.assertRaises(LicenceRefused, renew, SITE.licence(), text, NOW)


class LicenceTestCase(SynchronousTestCase):
    """Tests of licences that are refused."""

    def assertRefused(
        self, cause: Cause, detail: str, text: str, now: datetime.datetime = NOW, **others: Any
    ) -> LicenceRefused:
        """The text is refused for *cause*, with *detail* in its words."""
        refusal: LicenceRefused = self.assertRaises(LicenceRefused, read, text, PROXY_ID, now, **others)
        self.assertIs(refusal.cause, cause)
        self.assertIn(detail, refusal.message)
        return refusal


class ReadTests(LicenceTestCase):
    """A licence is whole, signed, for this machine and in its time."""

    def test_good(self) -> None:
        """What was signed is read."""
        self.assertEqual(read(SITE.text(), PROXY_ID, NOW), SITE.licence())

    def test_document(self) -> None:
        """It is a short JSON document that an operator can read, signed over its canonical form."""
        document = json.loads(SITE.text())
        self.assertEqual(set(document), {"licence", "signature"})
        self.assertEqual(document["licence"]["proxy_id"], PROXY_ID)
        self.assertEqual(document["licence"]["valid_until"], "2027-11-20T10:00:00Z")
        signed = json.dumps(document["licence"], sort_keys=True, separators=(",", ":")).encode()
        SITE.key.public_key().verify(base64.b64decode(document["signature"]), signed)
        self.assertLess(len(SITE.text()), 2_000)

    def test_layout_does_not_matter(self) -> None:
        """Blanks, line ends and the order of keys may change on the way."""
        document = json.loads(SITE.text())
        moved = {"signature": document["signature"], "licence": dict(reversed(document["licence"].items()))}
        read(json.dumps(moved).replace(",", ",\r\n"), PROXY_ID, NOW)
        read("\ufeff" + json.dumps(moved), PROXY_ID, NOW)

    def test_a_name_beyond_ascii(self) -> None:
        """The site's name may be any."""
        text = SITE.text(site="Söhne & 株式会社")
        self.assertEqual(read(text, PROXY_ID, NOW).site, "Söhne & 株式会社")
        plain = json.dumps(json.loads(text), ensure_ascii=False)
        self.assertIn("株式会社", plain)
        read(plain, PROXY_ID, NOW)

    def test_not_a_licence(self) -> None:
        """What is not a licence is damaged, and the detail says where."""
        for text, detail in (
            ("", "document: not JSON"),
            ("\ufffd" * 9, "document: not JSON"),
            ("\ud800", "document: not JSON"),
            ("{}", "licence: is missing"),
            ("[]", "document: is a list; has to be an object"),
            (" " * (limits.LICENCE_OCTETS_MOST + 1), "at most 65536"),
            (SITE.text()[:-9], "document: not JSON"),
        ):
            refusal = self.assertRefused(Cause.LICENCE_DAMAGED, detail, text)
            self.assertTrue(refusal.message.startswith("it is not a licence ("))

    def test_every_change_is_noticed(self) -> None:
        """Whatever is changed in a signed licence, it is damaged."""
        changes: dict[str, object] = {
            "proxy_id": "0b" * 32 + "px",
            "site": "Muster AG",
            "valid_from": "2020-01-01T00:00:00Z",
            "valid_until": "2099-01-01T00:00:00Z",
            "limits": {},
            "authority_certificate": OTHER.certificate,
        }
        for key, value in changes.items():
            document = json.loads(SITE.text())
            document["licence"][key] = value
            self.assertRefused(Cause.LICENCE_DAMAGED, "its signature does not match", json.dumps(document))
        self.assertEqual(set(changes) | {"format"}, set(json.loads(SITE.text())["licence"]))

    def test_wrong_values(self) -> None:
        """Values that no licence has, signed or not, are named."""
        for key, value, detail in (
            ("format", 2, "licence.format: is 2; this version of SmartProxy reads 1 only"),
            ("proxy_id", "x", "licence.proxy_id: has to be a Proxy ID"),
            ("valid_until", "tomorrow", "licence.valid_until: has to be a time"),
            ("limits", {"coffee": 1}, "licence.limits.coffee: no such key; known here: sessions"),
            ("limits", {"sessions": 0}, "licence.limits.sessions: is 0"),
            ("limits", [], "licence.limits: is a list; has to be an object"),
            ("authority_certificate", "x", "licence.authority_certificate: holds no PEM block"),
        ):
            document = json.loads(SITE.text())
            document["licence"][key] = value
            self.assertRefused(Cause.LICENCE_DAMAGED, detail, json.dumps(document))

    def test_signature(self) -> None:
        """Another signature, a cut one or none is damage."""
        for signature, detail in (
            (base64.b64encode(OTHER.key.sign(b"x")).decode(), "its signature does not match"),
            ("x", "signature: has to be a signature in base64"),
            (None, "signature: is null"),
        ):
            document = json.loads(SITE.text()) | {"signature": signature}
            self.assertRefused(Cause.LICENCE_DAMAGED, detail, json.dumps(document))

    def test_authority_certificate(self) -> None:
        """A certificate that cannot be read, or whose key cannot sign licences, is damage."""
        another = TestCa.root("elliptic").certificate_pem.decode()
        (der,) = blocks(SITE.certificate, "CERTIFICATE")
        unheard_of = pem("CERTIFICATE", der.replace(ED25519, ED25519[:-1] + b"\x7f"))
        no_version = pem("CERTIFICATE", of_no_version(x509.load_pem_x509_certificate(SITE.certificate.encode())))
        for certificate in (pem("CERTIFICATE", b"no certificate"), another, unheard_of, no_version):
            document = json.loads(SITE.text())
            document["licence"]["authority_certificate"] = certificate
            self.assertRefused(
                Cause.LICENCE_DAMAGED, "the authority's certificate in it cannot be used", json.dumps(document)
            )

    def test_foreign(self) -> None:
        """A licence for another machine names both."""
        other = "0b" * 32 + "px"
        refusal = self.assertRefused(Cause.LICENCE_FOREIGN, other, SITE.text(proxy_id=other))
        self.assertIn(PROXY_ID, refusal.message)

    def test_time(self) -> None:
        """It is in force from its first moment to its last, to the second."""
        text = SITE.text(valid_from=NOW, valid_until=NOW + DAY)
        for now in (NOW, NOW + DAY):
            read(text, PROXY_ID, now)
        self.assertRefused(Cause.LICENCE_NOT_YET_VALID, "not valid before 2026-11-20 10:00 UTC", text, NOW - SECOND)
        self.assertRefused(Cause.LICENCE_EXPIRED, "it ended on 2026-11-21 10:00 UTC", text, NOW + DAY + SECOND)

    def test_authority(self) -> None:
        """Once a server obeys an authority, another one's licence is refused, even for this machine and well signed."""
        text = OTHER.text(site="Evil Corp")
        read(text, PROXY_ID, NOW)
        refusal = self.assertRefused(
            Cause.LICENCE_WRONG_AUTHORITY, "another authority", text, authority=SITE.certificate
        )
        self.assertIn("'Evil Corp'", refusal.message)
        read(SITE.text(), PROXY_ID, NOW, authority=SITE.certificate)

    def test_renewed_certificate_of_the_same_authority(self) -> None:
        """The authority is its key: a renewed certificate of the same key is the same authority."""
        renewed = TestCa.root("authority, renewed", key=SITE.key).certificate_pem.decode()
        read(SITE.text(authority_certificate=renewed), PROXY_ID, NOW, authority=SITE.certificate)

    @given(st.text(max_size=60) | st.binary(max_size=60).map(lambda octets: octets.decode("latin-1")))
    def test_any_text(self, text: str) -> None:
        """Any text is damaged, and nothing worse."""
        self.assertRefused(Cause.LICENCE_DAMAGED, "it is not a licence", text)


class RefusalTests(SynchronousTestCase):
    """Each cause says what is wrong and what to do."""

    def test_words(self) -> None:
        """Every cause has an advice, and both stand in the message."""
        for cause in (cause for cause in Cause if cause.startswith("licence.")):
            refusal = LicenceRefused(cause, "what is wrong")
            self.assertTrue(refusal.advice)
            self.assertEqual(str(refusal), f"what is wrong; {refusal.advice}")


class SignTests(SynchronousTestCase):
    """Only what a server could accept is signed."""

    def test_other_key(self) -> None:
        """A key that is not that of the certificate in the licence signs nothing."""
        error = self.assertRaises(ValueError, sign, SITE.licence(), OTHER.key)
        self.assertIn("not that of the authority's certificate", str(error))

    def test_unreadable(self) -> None:
        """A licence that no server could read is not signed."""
        error = self.assertRaises(ValueError, sign, SITE.licence(limits={"coffee": 1}), SITE.key)
        self.assertIn("licence.limits.coffee", str(error))


class RenewalTests(SynchronousTestCase):
    """A licence in force is replaced only by a later one of the same authority for the same machine."""

    def test_later(self) -> None:
        """One that ends later replaces it."""
        later = SITE.licence(valid_until=NOW + 700 * DAY)
        self.assertEqual(renew(SITE.licence(), sign(later, SITE.key), NOW), later)

    def test_refusals(self) -> None:
        """Any other does not."""
        later = {"valid_until": NOW + 700 * DAY}
        for cause, text in (
            (Cause.LICENCE_NOT_NEWER, SITE.text()),
            (Cause.LICENCE_NOT_NEWER, SITE.text(valid_until=NOW + DAY)),
            (Cause.LICENCE_WRONG_AUTHORITY, OTHER.text(**later)),
            (Cause.LICENCE_FOREIGN, SITE.text(proxy_id="0b" * 32 + "px", **later)),
            (Cause.LICENCE_NOT_YET_VALID, SITE.text(valid_from=NOW + DAY, **later)),
            (Cause.LICENCE_DAMAGED, "{}"),
        ):
            refusal = self.assertRaises(LicenceRefused, renew, SITE.licence(), text, NOW)
            self.assertIs(refusal.cause, cause)

    def test_after_its_end(self) -> None:
        """A licence that has ended meanwhile can still be renewed."""
        ended = SITE.licence(valid_until=NOW - SECOND)
        self.assertEqual(renew(ended, SITE.text(), NOW), SITE.licence())


class TimeTests(SynchronousTestCase):
    """How long a licence still holds."""

    def test_in_force(self) -> None:
        """It is in force from its first moment to its last."""
        licence = SITE.licence(valid_from=NOW, valid_until=NOW + DAY)
        self.assertEqual(
            [licence.in_force(now) for now in (NOW - SECOND, NOW, NOW + DAY, NOW + DAY + SECOND)],
            [False, True, True, False],
        )

    def test_days_left(self) -> None:
        """Whole days, and a negative number once it has ended."""
        licence = SITE.licence(valid_until=NOW + 30 * DAY)
        self.assertEqual(
            [licence.days_left(now) for now in (NOW, NOW + SECOND, NOW + 30 * DAY, NOW + 30 * DAY + SECOND)],
            [30, 29, 0, -1],
        )

    def test_warnings(self) -> None:
        """Thirty, fourteen, seven days and one day before the end are announced, then the end; nothing before."""
        until = NOW + 40 * DAY
        licence = SITE.licence(valid_until=until)
        for before, due in ((31, None), (30, 30), (15, 30), (14, 14), (7, 7), (6, 7), (1, 1), (0, 1)):
            self.assertEqual(licence.warning(until - before * DAY), due, before)
        self.assertEqual(licence.warning(until + SECOND), 0)

    def test_next_warning(self) -> None:
        """Each announcement is followed by the next; the last one is that of the end."""
        until = NOW + 40 * DAY
        licence = SITE.licence(valid_until=until)
        moment, moments = NOW, []
        while (following := licence.next_warning(moment)) is not None:
            moments.append((until - following).days)
            moment = following + SECOND
        self.assertEqual(moments, [30, 14, 7, 1, 0])

    def test_ends_of_time(self) -> None:
        """A licence that ends at either end of time is told of like any other."""
        first, last = (each.replace(tzinfo=datetime.UTC) for each in (datetime.datetime.min, datetime.datetime.max))
        licence = SITE.licence(valid_from=first, valid_until=first)
        self.assertEqual((licence.warning(NOW), licence.next_warning(NOW)), (0, None))
        self.assertEqual((licence.warning(first), licence.next_warning(first)), (1, first))
        licence = SITE.licence(valid_from=first, valid_until=last)
        self.assertEqual((licence.warning(NOW), licence.next_warning(NOW)), (None, last - 30 * DAY))
        self.assertEqual((licence.warning(last), licence.next_warning(last)), (1, last))
