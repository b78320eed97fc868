"""Trust lists: what is read, what is refused, and what becomes of it."""

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import cas, trust_lists, trust_xml
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.fetching import Fetched, ListFetcher, NotFetched, Wanted
from smartproxy.backend.rounds import AGAIN_SECONDS
from smartproxy.backend.trust_lists import ListedCa
from smartproxy.backend.trust_watch import TrustListWatch
from smartproxy.backend.trust_xml import ParsedTrustList, TrustListRefused
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.trust_lists import TrustListEntry
from smartproxy.testing.pki import TestCa, TestCredential, self_signed
from tests.adapters.api_site import AtOnce, Later
from tests.unit.commands import CommandCase
from tests.unit.odd_files import der_of, named_in_bits, of_no_version, of_no_year
from tests.unit.sites import SiteCase
from tests.unit.trust_list_files import GRANTED, NOW, WITHDRAWN, service, signed, unsigned

SIGNER, OTHER = self_signed("tsl signer"), self_signed("somebody else")
FIRST, SECOND = TestCa.root("First"), TestCa.root("Second")
PUBLISHED = "http://crl.example/first.crl"
DAY = timedelta(days=1)


def listing(
    *services: str, sequence: int = 1, due: timedelta | None = 30 * DAY, signer: TestCredential = SIGNER
) -> bytes:
    """A signed list."""
    return signed(unsigned(services, sequence, due), signer)


class Reading(SynchronousTestCase):
    """What is read of a list, and what is not."""

    def parse(self, octets: bytes, signers: Sequence[TestCredential] = (SIGNER,)) -> ParsedTrustList:
        """Read it."""
        return trust_xml.parse(octets, [each.certificate for each in signers], NOW)

    def refused(self, octets: bytes, signers: Sequence[TestCredential] = (SIGNER,)) -> Cause:
        """Why it is refused."""
        refused: TrustListRefused = self.assertRaises(TrustListRefused, self.parse, octets, signers)
        return refused.cause

    def test_read(self) -> None:
        """Number, dates, and its CAs with their status and where they publish; other services are left out."""
        other = service(SECOND, kind="http://uri.etsi.org/TrstSvc/Svctype/TSA")
        found = self.parse(listing(service(FIRST, address=PUBLISHED), other, service(SECOND, WITHDRAWN), sequence=7))
        self.assertEqual((found.sequence, found.issued, found.next_update), (7, NOW, NOW + 30 * DAY))
        first, second = found.services
        self.assertEqual((first.provider, first.status, first.is_good), ("Odette", "granted", True))
        self.assertEqual((first.certificate, first.addresses), (FIRST.credential.certificate, (PUBLISHED,)))
        self.assertEqual((second.status, second.is_good), ("withdrawn", False))

    def test_odd_certificates(self) -> None:
        """A certificate that cannot be read, in whatever way, is left out; those beside it are read."""
        good, certificate = service(FIRST), FIRST.credential.certificate
        own = b64encode(der_of(certificate)).decode()
        unreadable = [b64encode(each).decode() for each in (of_no_version(certificate), of_no_year(certificate), b"x")]
        for odd in (*unreadable, "\u00e4", "?"):
            other = good.replace(own, odd)
            self.assertNotEqual(other, good)
            found = self.parse(listing(other, good, service(SECOND)))
            self.assertEqual(
                [each.certificate for each in found.services], [certificate, SECOND.credential.certificate]
            )

    def test_names_that_are_no_text(self) -> None:
        """A CA is proposed whatever its name is written in, as it can be added."""
        good, certificate = service(FIRST), FIRST.credential.certificate
        odd = named_in_bits(certificate, "First")
        other = good.replace(b64encode(der_of(certificate)).decode(), b64encode(odd).decode())
        self.assertEqual([der_of(each.certificate) for each in self.parse(listing(other)).services], [odd])

    def test_one_of_several_signers(self) -> None:
        """One of the pinned certificates is enough; the one that the list itself brings is not."""
        octets = listing(service(FIRST))
        self.assertEqual(len(self.parse(octets, (OTHER, SIGNER)).services), 1)
        self.assertIs(self.refused(octets, (OTHER,)), Cause.TRUST_LIST_SIGNATURE)

    def test_not_signed(self) -> None:
        """A list without a signature, or changed after it, is refused."""
        octets = listing(service(FIRST))
        self.assertIs(self.refused(unsigned([service(FIRST)])), Cause.TRUST_LIST_SIGNATURE)
        self.assertIs(self.refused(octets.replace(b"Odette", b"Odetta")), Cause.TRUST_LIST_SIGNATURE)
        self.assertIs(
            self.refused(octets.replace(b"granted", b"recognisedatnationallevel")), Cause.TRUST_LIST_SIGNATURE
        )

    def test_wrapped(self) -> None:
        """A signed list that is wrapped into another one, in each usual way, does not make that one signed."""
        good = signed(unsigned([service(FIRST)]), SIGNER, uri="#list")
        self.assertEqual(len(self.parse(good).services), 1)
        begin, end = good.index(b"<ds:Signature"), good.index(b"</ds:Signature>") + len(b"</ds:Signature>")
        signature, inner = good[begin:end], good[:begin] + good[end:]
        evil = unsigned([service(SECOND)])
        holding = signature.replace(b"</ds:Signature>", b"<ds:Object>" + inner + b"</ds:Object></ds:Signature>")
        close = b"</TrustServiceStatusList>"
        for octets in (
            # The signature moves to a list of ours, and the signed one hides in an extension, or in the signature.
            evil.replace(close, b"<Extension>" + inner + b"</Extension>" + signature + close),
            evil.replace(b' Id="list"', b' Id="evil"').replace(close, b"<x>" + inner + b"</x>" + signature + close),
            evil.replace(b' Id="list"', b"").replace(close, b"<x>" + good + b"</x>" + signature + close),
            evil.replace(close, holding + close),
            # Without a signature of its own.
            evil.replace(close, good + close),
        ):
            try:
                found = self.parse(octets)
            except TrustListRefused as refused:
                self.assertIn(refused.cause, (Cause.TRUST_LIST_SIGNATURE, Cause.TRUST_LIST_XML))
            else:
                names = {each.certificate for each in found.services}
                self.assertNotIn(SECOND.credential.certificate, names, octets)

    def test_part_is_signed(self) -> None:
        """A signature over a part of the list is none of the list."""
        octets = unsigned([service(FIRST)]).replace(b"<SchemeInformation>", b'<SchemeInformation Id="part">')
        self.assertIs(self.refused(signed(octets, SIGNER, uri="#part")), Cause.TRUST_LIST_SIGNATURE)

    def test_entities(self) -> None:
        """Whatever has a DTD is refused before a parser sees it: no entity is expanded, and no file or host read."""
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
            f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
        )
        for head in (
            f"{bomb}]>",
            '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
            '<!doctype x [<!ENTITY f SYSTEM "file:///etc/passwd">]>',
            '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
        ):
            self.assertIs(self.refused(unsigned([service(FIRST)], head=head)), Cause.TRUST_LIST_XML)
        hidden = unsigned([service(FIRST)], head=f"{bomb}]>").decode()
        for encoding in ("utf-16", "utf-32", "utf-7"):
            self.assertIs(self.refused(hidden.encode(encoding)), Cause.TRUST_LIST_XML, encoding)

    def test_malformed(self) -> None:
        """What is no list is refused, whatever it is."""
        good = listing(service(FIRST))
        for octets in (b"", b"<", b"<a/>", b"\xff" * 100, good[:-9], b"<a>" * 100_000, good.replace(b"Sequence", b"X")):
            self.assertIn(self.refused(octets), (Cause.TRUST_LIST_XML, Cause.TRUST_LIST_SIGNATURE))
        for wrong in ("<TSLSequenceNumber>x", "<TSLSequenceNumber>"):
            text = unsigned([service(FIRST)]).replace(b"<TSLSequenceNumber>1", wrong.encode())
            self.assertIs(self.refused(signed(text, SIGNER)), Cause.TRUST_LIST_XML)

    def test_bounds(self) -> None:
        """A list that is too large, or has too many CAs, is refused; a certificate that cannot be read is left out."""
        self.patch(limits, "TRUST_LIST_SERVICES_MOST", 2)
        self.assertIs(self.refused(listing(*[service(FIRST)] * 3)), Cause.TRUST_LIST_SIZE)
        broken = service(FIRST).replace("<X509Certificate>MII", "<X509Certificate>MIJ")
        self.assertEqual(len(self.parse(listing(broken, service(SECOND))).services), 1)
        self.patch(limits, "TRUST_LIST_OCTETS_MOST", 100)
        self.assertIs(self.refused(listing(service(FIRST))), Cause.TRUST_LIST_SIZE)

    def test_signer_has_ended(self) -> None:
        """A pinned certificate that has ended signs nothing any more."""
        late = NOW + 4000 * DAY
        certificates = [SIGNER.certificate]
        self.assertRaises(TrustListRefused, trust_xml.parse, listing(service(FIRST)), certificates, late)


class TrustListCase(SiteCase):
    """A site with the trust list ``odette``."""

    def setUp(self) -> None:
        """Name it."""
        super().setUp()
        signers = SIGNER.certificate_pem.decode()
        entry = TrustListEntry(name="odette", signers=signers, url="https://tsl.example/tsl.xml")
        with self.change() as change:
            trust_lists.add(change, entry)

    def take(self, octets: bytes, days: int = 0) -> None:
        """A list came."""
        with self.store.writing() as session:
            trust_lists.take(session, "odette", octets, NOW + days * DAY)

    def refused(self, octets: bytes, days: int = 0) -> Cause:
        """Why a list is not taken."""
        refused: TrustListRefused = self.assertRaises(TrustListRefused, self.take, octets, days)
        return refused.cause

    def cas(self) -> list[ListedCa]:
        """The CAs that it names, or named."""
        with self.store.reading() as session:
            return list(trust_lists.listed_cas(session, "odette"))

    def proposed(self) -> list[str]:
        """The subjects of those that are proposed."""
        return [each.subject.split(",")[0] for each in self.cas() if trust_lists.is_proposed(each)]

    def accept(self, which: str = FIRST.credential.sha256, ca: str = "first") -> None:
        """Trust a CA."""
        with self.change() as change:
            trust_lists.accept(change, "odette", which[:16], ca)

    def told(self, name: str) -> list[dict[str, Value]]:
        """The events of a name."""
        return [each.fields for each in self.stored(f"trust_list.{name}")]


class Taking(TrustListCase):
    """What becomes of a list."""

    def test_proposed(self) -> None:
        """Its CAs are proposed, told once, and none is trusted."""
        self.take(listing(service(FIRST, address=PUBLISHED), service(SECOND)))
        self.take(listing(service(FIRST, address=PUBLISHED), service(SECOND), sequence=2), 1)
        self.assertEqual(self.proposed(), ["CN=First", "CN=Second"])
        (event,) = self.told("proposed")
        self.assertEqual((event["list"], event["count"]), ("odette", 2))
        self.assertEqual(len(self.told("taken")), 2)
        with self.store.reading() as session:
            self.assertEqual(cas.listed(session), [])

    def test_accepted(self) -> None:
        """An accepted CA is a CA of the site, with the addresses at which it publishes; it is proposed no more."""
        self.take(listing(service(FIRST, address=PUBLISHED), service(SECOND)))
        self.accept()
        with self.store.reading() as session:
            entry = cas.find(session, "first").entry
        self.assertEqual((entry.lists, entry.anchors), ((PUBLISHED,), {FIRST.credential.sha256}))
        self.assertEqual(self.proposed(), ["CN=Second"])
        self.assertRaises(NotFound, self.accept, "00" * 32)
        self.assertRaises(NotFound, self.accept, "0")

    def test_rejected(self) -> None:
        """A rejected one is not proposed again."""
        self.take(listing(service(FIRST)))
        with self.store.writing() as session:
            trust_lists.reject(session, "odette", FIRST.credential.sha256[:8], NOW)
        self.take(listing(service(FIRST), sequence=2))
        self.assertEqual(self.proposed(), [])
        self.assertEqual(len(self.told("proposed")), 1)

    def test_number_goes_back(self) -> None:
        """An older list, or another one of the same number, is never taken; the same file is."""
        current = listing(service(FIRST), sequence=5)
        self.take(current)
        self.take(current)
        for sequence in (4, 5):
            self.assertIs(self.refused(listing(service(SECOND), sequence=sequence)), Cause.TRUST_LIST_OLD)
        self.assertEqual(self.proposed(), ["CN=First"])

    def test_overdue_list(self) -> None:
        """A list whose successor is overdue is not taken, nor one of a scheme that has ended."""
        self.assertIs(self.refused(listing(service(FIRST)), 31), Cause.TRUST_LIST_OVER)
        self.assertIs(self.refused(listing(service(FIRST), due=None)), Cause.TRUST_LIST_OVER)
        self.assertEqual(self.cas(), [])

    def test_withdrawn(self) -> None:
        """A CA that is trusted and withdrawn is told at level CRITICAL, once; it stays trusted, and is not accepted."""
        self.take(listing(service(FIRST), service(SECOND)))
        self.accept()
        for sequence in (2, 3):
            self.take(listing(service(FIRST, WITHDRAWN), service(SECOND, WITHDRAWN), sequence=sequence))
        (event,) = self.stored("trust_list.withdrawn")
        self.assertEqual(
            (event.fields["ca"], event.fields["check"], event.level.label), ("first", "withdrawn", "critical")
        )
        self.take(listing(service(SECOND, WITHDRAWN), sequence=4))
        self.assertEqual([each["check"] for each in self.told("withdrawn")], ["withdrawn", "gone"])
        self.take(listing(service(FIRST, GRANTED), sequence=5))
        self.take(listing(sequence=6))
        self.assertEqual(len(self.told("withdrawn")), 3)
        with self.store.reading() as session:
            self.assertEqual([each.name for each in cas.listed(session)], ["first"])
        self.assertRaises(ChangeRefused, self.accept, SECOND.credential.sha256, "second")

    def test_removed(self) -> None:
        """With the list its proposals go, and what was accepted stays."""
        self.take(listing(service(FIRST), service(SECOND)))
        self.accept()
        with self.change() as change:
            trust_lists.remove(change, "odette")
        self.assertEqual(self.cas(), [])
        with self.store.reading() as session:
            self.assertEqual(len(cas.listed(session)), 1)


class Host(ListFetcher):
    """Stands for what downloads."""

    def __init__(self) -> None:
        self.asked: list[Wanted] = []
        self.answer: Fetched | Exception = Fetched(octets=None)

    async def fetch(self, wanted: Wanted) -> Fetched:
        """Give the answer."""
        self.asked.append(wanted)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Schedule(TrustListCase):
    """The backend downloads it by itself."""

    def setUp(self) -> None:
        """A backend on duty."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.host = Host()
        self.bugs: list[dict[str, Value]] = []
        events = Events(Logger(), self.bugs.append, self.clock, source="backend")
        self.looks = TrustListWatch(self.store, AtOnce(), events, self.clock, self.host, lambda: 0.5)
        self.addCleanup(self.looks.stop)

    def begin(self, answer: Fetched | Exception) -> None:
        """Take the duty."""
        self.host.answer = answer
        self.looks.start()

    def state(self) -> Any:
        """What is known of the list."""
        with self.store.reading() as session:
            (found,) = trust_lists.listed(session)
        return found

    def test_downloaded(self) -> None:
        """It is downloaded at once, and again after its hours, with what says whether it is another one."""
        self.begin(Fetched(octets=listing(service(FIRST)), etag='"1"'))
        self.assertEqual(self.proposed(), ["CN=First"])
        self.host.answer = Fetched(octets=None)
        self.clock.pump([AGAIN_SECONDS] * 10)
        self.assertEqual(len(self.host.asked), 1)
        self.clock.advance(24 * 3600)
        self.assertEqual([each.etag for each in self.host.asked], [None, '"1"'])
        self.assertIsNone(self.state().fault)
        self.assertEqual(self.bugs, [])

    def test_failures(self) -> None:
        """A download that fails, and a list that is refused, are told with the cause, and tried again later."""
        self.begin(NotFetched(Cause.CRL_TIME, "it did not arrive within 60 s"))
        self.assertEqual(self.state().fault, "it did not arrive within 60 s")
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(len(self.host.asked), 1)
        self.host.answer = Fetched(octets=listing(service(FIRST), signer=OTHER))
        self.clock.advance(24 * 3600)
        self.assertEqual([each["cause"] for each in self.told("failed")], ["crl.time", "trust_list.signature"])
        self.assertEqual(self.cas(), [])
        self.host.answer = Fetched(octets=listing(service(FIRST)))
        self.clock.advance(24 * 3600)
        self.assertIsNone(self.state().fault)

    def test_fault_at_one_list(self) -> None:
        """A list that we fail at is told as such, and tried again later; it keeps no other list from being taken."""
        entry = TrustListEntry(name="second", signers=SIGNER.certificate_pem.decode(), url="http://second.example/")
        with self.change() as change:
            trust_lists.add(change, entry)
        taken: list[str] = []

        def take(session: Session, name: str, octets: bytes, now: datetime) -> list[Record]:
            taken.append(name)
            if name == "odette":
                raise KeyError(name)
            return []

        self.patch(trust_lists, "take", take)
        self.begin(Fetched(octets=listing(service(FIRST))))
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(taken, ["odette", "second"])
        self.assertEqual([each["name"] for each in self.bugs], ["internal.error"])
        (told,) = self.told("failed")
        self.assertIn("(KeyError)", str(told["message"]))
        self.flushLoggedErrors(KeyError)

    def test_stopped_within_a_download(self) -> None:
        """A download that is given up because the backend stops is no fault of ours."""
        under_way: Deferred[Fetched] = Deferred()

        async def fetch(wanted: Wanted) -> Fetched:
            return await under_way

        self.patch(self.host, "fetch", fetch)
        self.looks.start()
        stopped = self.looks.stop()
        self.successResultOf(stopped)
        self.assertEqual(self.bugs, [])

    def test_stopped_while_the_store_is_asked(self) -> None:
        """A stop that comes while the store is asked which lists are due has none of them downloaded."""
        runner = Later()
        looks = TrustListWatch(
            self.store, runner, Events(Logger(), None, self.clock, source="backend"), self.clock, self.host
        )
        looks.start()
        stopped = looks.stop()
        self.assertNoResult(stopped)
        runner.release()
        self.successResultOf(stopped)
        self.assertEqual((self.host.asked, self.clock.getDelayedCalls()), ([], []))

    def test_removed_within_a_download(self) -> None:
        """That a list was removed while its download failed is no fault, and keeps no other from being downloaded."""
        entry = TrustListEntry(name="second", signers=SIGNER.certificate_pem.decode(), url="http://second.example/")
        with self.change() as change:
            trust_lists.add(change, entry)
        asked: list[str] = []

        async def fetch(wanted: Wanted) -> Fetched:
            asked.append(wanted.url)
            if len(asked) == 1:
                with self.change() as change:
                    trust_lists.remove(change, "odette")
            raise NotFetched(Cause.CRL_TIME, "it did not arrive within 60 s")

        self.patch(self.host, "fetch", fetch)
        self.looks.start()
        self.assertEqual((len(asked), [each["list"] for each in self.told("failed")], self.bugs), (2, ["second"], []))

    def test_overdue(self) -> None:
        """That no newer list came is told once."""
        self.begin(Fetched(octets=listing(service(FIRST))))
        self.host.answer = Fetched(octets=None)
        for _ in range(33):
            self.clock.advance(24 * 3600)
        (event,) = self.stored("trust_list.overdue")
        self.assertEqual(event.level.label, "error")

    def test_clock_was_ahead(self) -> None:
        """One that was downloaded while the clock was years ahead is due when the clock is right again."""
        self.clock.advance(4 * 365 * 24 * 3600)
        self.begin(NotFetched(Cause.CRL_TIME, "it did not arrive within 60 s"))
        self.looks.stop()
        self.clock.rightNow = NOW.timestamp()
        self.begin(Fetched(octets=listing(service(FIRST))))
        self.assertEqual((len(self.host.asked), self.state().fault), (2, None))
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(len(self.host.asked), 2)

    def test_hurried(self) -> None:
        """An operator has it downloaded now."""
        self.begin(Fetched(octets=listing(service(FIRST))))
        with self.store.writing() as session:
            trust_lists.hurry(session, "odette")
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(len(self.host.asked), 2)


class Commands(CommandCase):
    """``smartproxy trust-list``."""

    def test_commands(self) -> None:
        """A list is named, loaded, its CAs proposed, accepted and rejected, and it is removed."""
        signer = self.file("signer.pem", SIGNER.certificate_pem)
        self.assertIn("there is no trust list", self.do("trust-list", "list").out)
        self.assertIn(SIGNER.sha256, self.do("trust-list", "add", "odette", "--signer", signer).out)
        self.assertIn("already", self.refused("trust-list", "add", "odette", "--signer", signer))
        octets = listing(service(FIRST, address=PUBLISHED), service(SECOND))
        forged = self.file("forged.xml", octets.replace(b"Odette", b"Odetta"))
        self.assertIn("not signed by one", self.refused("trust-list", "load", "odette", forged))
        self.assertIn("CN=First", self.do("trust-list", "load", "odette", self.file("tsl.xml", octets)).out)
        self.assertIn("has no address", self.refused("trust-list", "update", "odette"))
        accept = ("trust-list", "accept", "odette", FIRST.credential.sha256[:16], "--ca", "first")
        self.do(*accept, "--revocation", "prefer", "--grace-hours", "3", "--refuse-direct", "yes")
        entry = self.do("ca", "list", "--json").json[0]
        self.assertEqual((entry["revocation"], entry["grace_hours"], entry["lists"]), ("prefer", 3, [PUBLISHED]))
        self.do("trust-list", "reject", "odette", SECOND.credential.sha256[:16])
        self.assertIn("no CA is proposed", self.do("trust-list", "proposals", "odette").out)
        self.assertIn("no trust list 'nosuch'", self.refused("trust-list", "proposals", "nosuch"))
        shown = self.do("trust-list", "proposals", "--all").out
        for text in ("CA first", "rejected", "granted"):
            self.assertIn(text, shown)
        self.assertEqual(self.do("trust-list", "list", "--json").json[0]["sequence"], 1)
        self.do("trust-list", "remove", "odette")
        self.assertEqual(json.loads(self.do("trust-list", "list", "--json").out), [])
