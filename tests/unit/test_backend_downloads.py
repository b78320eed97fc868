"""Downloads of revocation lists: proposals and decisions, and what the backend does by itself."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO, TextIOWrapper
from tempfile import TemporaryFile
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import cas, downloads, generations, history, list_contents, lists_apart, revocation, settings
from smartproxy.backend.change import Channel
from smartproxy.backend.download_watch import DownloadWatch
from smartproxy.backend.downloads import DownloadStatus
from smartproxy.backend.errors import ChangeRefused, NotFound, StoreBusy, StoreOutdated, Unusable
from smartproxy.backend.fetching import Fetched, ListFetcher, NotFetched, Wanted
from smartproxy.backend.list_contents import ParsedList
from smartproxy.backend.lists_apart import ListsApart
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import parse
from smartproxy.policy.partners import RevocationMode
from smartproxy.testing.pki import TestCa
from tests.adapters.api_site import AtOnce, Later
from tests.unit.sites import NOW
from tests.unit.test_backend_sightings import SightingsCase

URL, OTHER = "http://crl.example/odette.crl", "http://crl.example/second.crl"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class DownloadsCase(SightingsCase):
    """A site whose CA's certificates have named an address."""

    def setUp(self) -> None:
        """Let it be seen."""
        super().setUp()
        self.tell("crl.url_seen", url=URL, ca="odette")

    def proposals(self) -> list[tuple[str, bool]]:
        """The proposed addresses, each with whether it was rejected."""
        with self.store.reading() as session:
            return [(each.url, each.rejected is not None) for each in downloads.proposals(session)]

    def approve(self, *urls: str, by_itself: bool = False) -> downloads.Decided:
        """Approve addresses."""
        with self.change() as change:
            return downloads.approve(change, "odette", urls, by_itself=by_itself)

    def approved(self) -> tuple[str, ...]:
        """The addresses in the CA's entry."""
        with self.store.reading() as session:
            return cas.find(session, "odette").entry.lists


class Decisions(DownloadsCase):
    """What operators decide."""

    def test_approve(self) -> None:
        """What is proposed is approved, and proposed no more, however it is written; there is nothing left then."""
        self.assertEqual(self.proposals(), [(URL, False)])
        decided = self.approve()
        self.assertEqual((decided.urls, decided.unseen, decided.by_itself), ([URL], [], False))
        self.assertEqual((self.approved(), self.proposals()), ((URL,), []))
        self.tell("crl.url_seen", url="HTTP://CRL.example:80/odette.crl", ca="odette")
        self.assertEqual(self.proposals(), [])
        self.assertIn("--by-itself", str(self.assertRaises(ChangeRefused, self.approve)))

    def test_approve_other(self) -> None:
        """An address that no certificate named may be approved, too, and is told so; none that cannot be called."""
        decided = self.approve("http://pki.inside:8080/odette.crl")
        self.assertEqual(decided.unseen, ["http://pki.inside:8080/odette.crl"])
        self.assertEqual(self.proposals(), [(URL, False)])
        for bad in ("ldap://crl.example/", "http://user@crl.example/", "http://crl.example:99999/"):
            self.assertIn("nothing is changed", str(self.assertRaises(ChangeRefused, self.approve, bad)))

    def test_reject(self) -> None:
        """What is rejected is not approved with the others, only by its name; what was approved can be rejected."""
        self.tell("crl.url_seen", url=OTHER, ca="odette")
        with self.change() as change:
            downloads.reject(change, "odette", [OTHER])
        self.assertEqual(self.proposals(), [(URL, False), (OTHER, True)])
        self.approve()
        self.assertEqual(self.approved(), (URL,))
        self.approve(OTHER)
        self.assertEqual((self.approved(), self.proposals()), ((URL, OTHER), []))
        with self.change() as change:
            downloads.reject(change, "odette", [URL])
            self.assertRaises(NotFound, downloads.reject, change, "odette", ["http://crl.example/never"])
        self.assertEqual((self.approved(), self.proposals()), ((OTHER,), [(URL, True)]))

    def test_reject_written_otherwise(self) -> None:
        """An address is rejected in whatever way it is written, also as it stands in certificates."""
        self.tell("crl.url_seen", url="http://CRL.example/odette.crl", ca="odette")
        self.approve(URL)
        with self.change() as change:
            downloads.reject(change, "odette", ["HTTP://CRL.example:80/odette.crl"])
        with self.store.reading() as session:
            self.assertEqual(downloads.due(session, NOW), [])
        self.assertEqual(self.approved(), ())
        self.assertEqual(self.proposals(), [("http://CRL.example/odette.crl", True), (URL, True)])

    def test_seen_written_otherwise(self) -> None:
        """What was rejected stays so, and is not told, when certificates write it otherwise; nobody approves it."""
        self.tell("crl.url_seen", url=OTHER, ca="odette")
        self.approve(OTHER, by_itself=True)
        with self.change() as change:
            downloads.reject(change, "odette", [URL])
        self.tell("crl.url_seen", url="http://CRL.example:80/odette.crl", ca="odette")
        self.assertEqual(self.proposals(), [("http://CRL.example:80/odette.crl", True), (URL, True)])
        with self.store.reading() as session:
            self.assertEqual(downloads.by_themselves(session), [])
        with self.change() as change:
            cas.alter(change, "odette", approve_lists=False)
        with self.store.reading() as session:
            self.assertEqual(downloads.untold(session), [])

    def test_approve_written_otherwise(self) -> None:
        """An address is approved once, however often and in whatever way it is written; then it is not rejected."""
        with self.change() as change:
            downloads.reject(change, "odette", [URL])
        self.tell("crl.url_seen", url="http://CRL.example:80/odette.crl", ca="odette")
        decided = self.approve("http://crl.example:80/odette.crl", URL)
        self.assertEqual((decided.urls, decided.unseen), (["http://crl.example:80/odette.crl"], []))
        self.assertEqual((self.approved(), self.proposals()), (("http://crl.example:80/odette.crl",), []))
        with self.change() as change:
            cas.alter(change, "odette", lists=())
        self.assertEqual(self.proposals(), [("http://CRL.example:80/odette.crl", False), (URL, False)])
        self.assertEqual(self.approve().urls, ["http://CRL.example:80/odette.crl"])

    def test_removed(self) -> None:
        """With a CA everything about its downloads is gone."""
        self.approve()
        other = TestCa.root("Other")
        with self.change() as change:
            cas.add(change, "other", [other.credential.certificate])
            change.session.flush()
            downloads.approve(change, "other", [URL])
        with self.change() as change:
            cas.remove(change, "other")
        with self.store.reading() as session:
            self.assertEqual([each.ca for each in downloads.statuses(session)], ["odette"])
            self.assertRaises(NotFound, downloads.proposals, session, "other")
            self.assertRaises(NotFound, downloads.hurry, session, "other")

    def test_in_no_servers_configuration(self) -> None:
        """The server is not told the addresses."""
        self.approve()
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        whole = parse(found[1])
        self.assertEqual(whole.server.cas[0].lists, (URL,))
        self.assertEqual(whole.server_part.server.cas[0].lists, ())


class Host(ListFetcher):
    """The host of the lists: what it answers is set, what it was asked is kept.

    :ivar answers: by address: octets, an answer, a failure, or a Deferred of an answer that is still to come.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Fetched | NotFetched | Deferred[Fetched]] = {}
        self.asked: list[Wanted] = []

    async def fetch(self, wanted: Wanted) -> Fetched:
        """Answer."""
        self.asked.append(wanted)
        answer = self.answers[wanted.url]
        if isinstance(answer, NotFetched):
            raise answer
        if isinstance(answer, bytes):
            return Fetched(octets=answer, etag=f'"{len(self.asked)}"')
        return await (succeed(answer) if isinstance(answer, Fetched) else answer)


def at_once(octets: bytes, source: str, issuers: Sequence[x509.Certificate]) -> ParsedList:
    """Read a list in this process."""
    (parsed,) = revocation.parse(octets, source)
    return parsed


class Watching(DownloadsCase):
    """What the backend does by itself."""

    def setUp(self) -> None:
        """A watch that is not started yet."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.told: list[dict[str, Value]] = []
        self.host = Host()
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.watch = DownloadWatch(
            self.store, AtOnce(), events, self.clock, self.host, AtOnce(), parse=at_once, chance=lambda: 0.0
        )
        self.addCleanup(self.watch.stop)

    def wait(self, by: timedelta) -> None:
        """Let time pass in two steps: there is a look after each."""
        for _ in range(2):
            self.clock.advance(by.total_seconds() / 2)

    def names(self) -> list[str]:
        """The events that the watch told."""
        return [str(each["name"]) for each in self.told]

    def status(self, url: str = URL) -> DownloadStatus:
        """How the downloads from an address go."""
        with self.store.reading() as session:
            (found,) = [each for each in downloads.statuses(session) if each.url == url]
        return found

    def lists(self) -> list[tuple[str | None, int]]:
        """The lists in force: their parts, and how many certificates they revoke."""
        with self.store.reading() as session:
            return [(row.scope.part, row.count) for row in revocation.listed(session)]

    def generation(self) -> int:
        """The number of the generation in force."""
        with self.store.reading() as session:
            return generations.newest_number(session)

    def crl(self, *revoked: str, age: timedelta = HOUR, life: timedelta = 10 * HOUR, point: str | None = None) -> bytes:
        """A list of the CA."""
        made = NOW - age
        leaves = [self.ca.issue(name) for name in revoked]
        return self.ca.crl(leaves, this_update=made, next_update=made + life, point=point)


class Proposing(Watching):
    """Proposals are told; some CAs' are approved by themselves."""

    def test_told_once(self) -> None:
        """A proposal is told once, and nothing is downloaded before it is approved."""
        self.watch.start()
        self.wait(HOUR)
        self.assertEqual(self.names(), ["crl.proposed"])
        self.assertEqual((self.told[0]["ca"], self.told[0]["url"]), ("odette", URL))
        self.assertIn("crl approve odette", str(self.told[0]["advice"]))
        self.assertEqual(self.host.asked, [])

    def test_by_itself(self) -> None:
        """Where a CA is to be approved by itself, what is seen is downloaded; what was rejected is not."""
        self.tell("crl.url_seen", url=OTHER, ca="odette")
        with self.change() as change:
            downloads.reject(change, "odette", [OTHER])
        self.approve(by_itself=True)
        self.host.answers[URL] = self.crl()
        third = "http://crl.example/third.crl"
        self.host.answers[third] = NotFetched(Cause.CRL_NAME, "no name")
        self.watch.start()
        self.tell("crl.url_seen", url=third, ca="odette")
        self.wait(timedelta(seconds=2 * limits.DOWNLOADS_LOOK_SECONDS))
        self.assertEqual(self.approved(), (URL, third))
        self.assertEqual([each.url for each in self.host.asked], [URL, third])
        self.assertNotIn("crl.proposed", self.names())
        with self.store.reading() as session:
            (entry,) = [each for each in history.listed(session, 9) if "by itself" in each.change]
        self.assertEqual((entry.made_by, entry.channel), ("smartproxy-backend", Channel.BACKEND))

    def test_room(self) -> None:
        """As many addresses are approved as a CA may have; those that are left keep nothing from being downloaded."""
        self.approve(by_itself=True)
        self.patch(limits, "LISTS_PER_CA_MOST", 2)
        for number in range(3):
            self.tell("crl.url_seen", url=f"http://crl.example/{number}.crl", ca="odette")
        self.host.answers = {URL: self.crl(), "http://crl.example/0.crl": self.crl()}
        self.watch.start()
        self.wait(timedelta(minutes=1))
        self.assertEqual(self.approved(), (URL, "http://crl.example/0.crl"))
        self.assertEqual((len(self.host.asked), self.told), (2, []))

    def test_fault(self) -> None:
        """Addresses that cannot be approved are tried again after an hour; approved ones are downloaded as ever."""
        self.approve(by_itself=True)
        self.tell("crl.url_seen", url=OTHER, ca="odette")
        self.host.answers[URL] = self.crl("BAD")

        def fail(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(downloads, "approve_what_fits", fail)
        self.watch.start()
        self.wait(HOUR / 2)
        self.assertEqual((self.names(), self.lists()), (["internal.error"], [(None, 1)]))
        self.wait(HOUR)
        self.assertEqual(self.names(), ["internal.error", "internal.error"])
        self.flushLoggedErrors(ZeroDivisionError)


class Downloading(Watching):
    """Lists are downloaded, and taken or not."""

    def setUp(self) -> None:
        """The address is approved."""
        super().setUp()
        self.approve()

    def test_success(self) -> None:
        """A list is in force at once, told with its address, and looked for again before its nextUpdate."""
        self.host.answers[URL] = self.crl("BAD")
        self.watch.start()
        self.assertEqual(self.lists(), [(None, 1)])
        (event,) = self.stored("crl.loaded")
        self.assertEqual((event.fields["url"], event.fields["ca"], event.fields["count"]), (URL, "odette", 1))
        status = self.status()
        self.assertEqual((status.tried, status.succeeded, status.fault, status.failures), (NOW, NOW, None, 0))
        self.assertEqual((status.next_try, status.next_update), (NOW + 8 * HOUR, NOW + 9 * HOUR))
        self.assertEqual(self.told, [])
        self.wait(7 * HOUR)
        self.assertEqual(len(self.host.asked), 1)

    def test_clock_was_ahead(self) -> None:
        """A list that was downloaded while the clock was years ahead is looked for when the clock is right again."""
        self.clock.advance(4 * 365 * 24 * 3600)
        self.host.answers[URL] = NotFetched(Cause.CRL_TIME, "too long")
        self.watch.start()
        self.watch.stop()
        self.clock.rightNow = NOW.timestamp()
        self.host.answers[URL] = self.crl()
        self.watch.start()
        self.assertEqual((len(self.host.asked), self.status().tried), (2, NOW))
        self.wait(HOUR)
        self.assertEqual(len(self.host.asked), 2)

    def test_conditional(self) -> None:
        """The next request names what is there; that it has not changed makes no generation."""
        self.host.answers[URL] = self.crl()
        self.watch.start()
        generation = self.generation()
        self.host.answers[URL] = Fetched(octets=None)
        self.wait(8 * HOUR)
        self.assertEqual([each.etag for each in self.host.asked], [None, '"1"'])
        self.assertEqual((self.generation(), self.status().tried), (generation, NOW + 8 * HOUR))
        # Its end is near: it is looked for every quarter of an hour.
        self.assertEqual(self.status().next_try, NOW + 8 * HOUR + HOUR / 4)

    def test_same_again(self) -> None:
        """The same list, sent whole by a host that knows no conditions, makes no generation either."""
        self.host.answers[URL] = self.crl("BAD")
        self.watch.start()
        generation = self.generation()
        self.wait(8 * HOUR)
        self.assertEqual((len(self.host.asked), self.generation(), self.lists()), (2, generation, [(None, 1)]))

    def test_newer(self) -> None:
        """A newer list takes the place of the one in force."""
        self.host.answers[URL] = self.crl()
        self.watch.start()
        self.host.answers[URL] = self.crl("BAD", "WORSE", age=-7 * HOUR)
        self.wait(8 * HOUR)
        self.assertEqual((self.lists(), self.status().next_update), ([(None, 2)], NOW + 17 * HOUR))

    def test_removed_list(self) -> None:
        """A list that an operator removed is asked for without conditions: it is to come again."""
        self.host.answers[URL] = self.crl()
        self.watch.start()
        with self.change() as change:
            revocation.remove(change, str(self.status().list))
        self.host.answers[URL] = self.crl("BAD")
        with self.store.writing() as session:
            self.assertEqual(downloads.hurry(session), [URL])
        self.wait(timedelta(seconds=2 * limits.DOWNLOADS_LOOK_SECONDS))
        self.assertEqual(([each.etag for each in self.host.asked], self.lists()), ([None, None], [(None, 1)]))

    def test_failure(self) -> None:
        """A failure is told with its cause and the next try, whose wait doubles; a success ends it."""
        self.host.answers[URL] = NotFetched(Cause.CRL_TIME, "it took too long")
        self.watch.start()
        event = self.told[0]
        self.assertEqual((event["name"], event["cause"], event["url"]), ("crl.download_failed", "crl.time", URL))
        self.assertEqual((event["seconds"], event["count"]), (limits.DOWNLOAD_RETRY_SECONDS_FIRST, 1))
        self.wait(timedelta(minutes=5))
        self.wait(timedelta(minutes=10))
        self.assertEqual([each["seconds"] for each in self.told], [300, 600, 1200])
        self.assertEqual(self.status().result, "failed: it took too long")
        self.host.answers[URL] = self.crl()
        self.wait(timedelta(minutes=20))
        self.assertEqual((len(self.told), self.status().failures, self.status().result), (3, 0, "ok"))

    def test_not_a_list(self) -> None:
        """What is no list of this CA, or an older one, is refused, and the list in force stays."""
        self.host.answers[URL] = self.crl("BAD")
        self.watch.start()
        stranger = TestCa.root("Stranger")
        other = TestCa.root("Other")
        forger = TestCa.root("Odette")
        with self.change() as change:
            cas.add(change, "other", [other.credential.certificate])
        for octets, words in (
            (b"<html>please log in</html>", "holds no readable revocation list"),
            (b"", "holds no readable revocation list"),
            (stranger.crl(), "is not from the CA 'odette'"),
            (other.crl(), "is not from the CA 'odette'"),
            (forger.crl(this_update=NOW), "is not signed by the key"),
            (self.crl(age=2 * HOUR), "older than the one in force"),
            (self.crl(age=-99 * HOUR), "in the future"),
            (delta(self.ca), "is a delta list; load the complete one"),
        ):
            self.told.clear()
            self.host.answers[URL] = octets
            with self.store.writing() as session:
                downloads.hurry(session)
            self.wait(timedelta(seconds=2 * limits.DOWNLOADS_LOOK_SECONDS))
            self.assertEqual([each["cause"] for each in self.told], ["crl.unusable"], words)
            self.assertIn(words, str(self.told[0]["message"]))
            self.assertEqual(self.lists(), [(None, 1)])

    def test_not_there_any_more(self) -> None:
        """A host that says "not changed" of a list that is not there has failed."""
        self.host.answers[URL] = Fetched(octets=None)
        self.watch.start()
        self.assertEqual([each["cause"] for each in self.told], ["crl.answer"])

    def test_parts(self) -> None:
        """The parts of a list come from their addresses and stay side by side, each with its own times."""
        self.approve(OTHER)
        self.host.answers = {
            URL: self.crl("BAD", point=URL),
            OTHER: self.crl("BAD", "WORSE", point=OTHER, life=100 * HOUR),
        }
        self.watch.start()
        self.assertEqual(self.lists(), [(f"URI:{URL}", 1), (f"URI:{OTHER}", 2)])
        self.assertEqual(self.status(URL).next_update, NOW + 9 * HOUR)
        self.assertEqual(self.status(OTHER).next_update, NOW + 99 * HOUR)
        self.host.answers[URL] = self.crl(point=URL, age=-7 * HOUR)
        self.wait(8 * HOUR)
        self.assertEqual(self.lists(), [(f"URI:{URL}", 0), (f"URI:{OTHER}", 2)])

    def test_wrong_part(self) -> None:
        """A host that gives another part than the address's own replaces nothing: the part in force stays as it is."""
        self.host.answers[URL] = self.crl("BAD", point=URL)
        self.watch.start()
        self.host.answers[URL] = self.crl(point=OTHER, age=-7 * HOUR)
        self.wait(8 * HOUR)
        self.assertEqual(self.lists(), [(f"URI:{URL}", 1), (f"URI:{OTHER}", 0)])
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        revoked = {each.scope.part: list(each.serials) for each in parse(found[1]).server.revocation}
        self.assertEqual([len(revoked[f"URI:{each}"]) for each in (URL, OTHER)], [1, 0])

    def test_networks(self) -> None:
        """The fetcher is told the networks that the operator allowed."""
        with self.change() as change:
            settings.put(change, settings.DOWNLOAD_NETWORKS, ["10.0.0.0/8"])
        self.host.answers[URL] = self.crl()
        self.watch.start()
        self.assertEqual(list(self.host.asked[0].allowed), ["10.0.0.0/8"])

    def test_rejected_meanwhile(self) -> None:
        """An address that is rejected while it fails is not told any more."""
        waiting: Deferred[Fetched] = Deferred()
        self.host.answers[URL] = waiting
        self.watch.start()
        with self.change() as change:
            downloads.reject(change, "odette", [URL])
        waiting.errback(NotFetched(Cause.CRL_TIME, "too long"))
        self.assertEqual(self.told, [])


class Crowds(Watching):
    """Hosts that answer slowly."""

    def test_one_ca_waits_for_itself(self) -> None:
        """A host that holds up a CA's download holds up the CA's others only, and no other CA's."""
        other = TestCa.root("Other")
        with self.change() as change:
            cas.add(change, "other", [other.credential.certificate], lists=("http://other.example/",))
        self.approve(URL, OTHER)
        waiting: Deferred[Fetched] = Deferred()
        self.host.answers = {URL: waiting, OTHER: self.crl(), "http://other.example/": other.crl(this_update=NOW)}
        self.watch.start()
        self.wait(timedelta(minutes=1))
        self.assertEqual({each.url for each in self.host.asked}, {URL, "http://other.example/"})
        waiting.callback(Fetched(octets=self.crl()))
        self.assertIn(OTHER, [each.url for each in self.host.asked])

    def test_few_at_once(self) -> None:
        """Lists of a few CAs are downloaded at the same time, and the others' when there is room."""
        self.patch(limits, "DOWNLOADS_AT_ONCE_MOST", 2)
        waiting: list[Deferred[Fetched]] = []
        with self.change() as change:
            for number in range(3):
                url = f"http://{number}.example/"
                waiting.append(Deferred())
                self.host.answers[url] = waiting[-1]
                ca = TestCa.root(f"CA {number}")
                cas.add(change, f"ca{number}", [ca.credential.certificate], lists=(url,))
        self.watch.start()
        self.assertEqual(len(self.host.asked), 2)
        waiting[0].errback(NotFetched(Cause.CRL_TIME, "too long"))
        self.wait(timedelta(seconds=2 * limits.DOWNLOADS_LOOK_SECONDS))
        self.assertEqual(len(self.host.asked), 3)

    def test_stop(self) -> None:
        """A stop gives up what is under way."""
        self.approve()
        given_up: list[object] = []
        self.host.answers[URL] = Deferred(given_up.append)
        self.watch.start()
        self.watch.stop()
        self.assertEqual((len(given_up), self.clock.getDelayedCalls(), self.told), (1, [], []))

    def reading(self) -> tuple[DownloadWatch, Later]:
        """A watch for which a list was downloaded, and what will read it."""
        self.approve()
        self.host.answers[URL] = self.crl("BAD")
        readers = Later()
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        watch = DownloadWatch(self.store, AtOnce(), events, self.clock, self.host, readers)
        self.addCleanup(watch.stop)
        watch.start()
        return watch, readers

    def test_readers(self) -> None:
        """Lists are read apart from the work of the store, which goes on meanwhile."""
        _, readers = self.reading()
        self.tell("crl.url_seen", url=OTHER, ca="odette")
        self.wait(HOUR)
        self.assertEqual((self.names(), self.lists()), (["crl.proposed"], []))
        readers.release()
        self.assertEqual((self.names(), self.lists()), (["crl.proposed"], [(None, 1)]))

    def test_stop_before_reading(self) -> None:
        """What waits for its turn to be read is not read after a stop, and not taken."""
        watch, readers = self.reading()
        watch.stop()
        begun: list[object] = []
        self.patch(subprocess, "Popen", lambda *arguments, **more: begun.append(arguments))
        readers.release()
        self.assertEqual((begun, self.lists(), self.status().fault, self.told), ([], [], None, []))


class Troubles(Watching):
    """What goes wrong in the store, and here."""

    def setUp(self) -> None:
        """Another CA has a list, too."""
        super().setUp()
        self.other = TestCa.root("Other")
        self.others = "http://other.example/"

    def with_other(self) -> None:
        """The first CA has two addresses, another CA has one."""
        with self.change() as change:
            cas.add(change, "other", [self.other.credential.certificate], lists=(self.others,))
        self.approve(URL, OTHER)
        self.host.answers = {URL: b"odd", OTHER: self.crl("BAD"), self.others: self.other.crl(this_update=NOW - HOUR)}

        def read(octets: bytes, source: str, issuers: Sequence[x509.Certificate]) -> ParsedList:
            if octets == b"odd":
                raise KeyError(octets)
            return at_once(octets, source, issuers)

        self.patch(self.watch, "_parse", read)

    def test_fault_at_one_address(self) -> None:
        """An answer that we fail at is told as such, and tried again; all other lists are downloaded as ever."""
        self.with_other()
        self.watch.start()
        self.assertEqual(self.names(), ["internal.error", "crl.download_failed"])
        self.assertIn("(KeyError)", str(self.told[1]["message"]))
        self.assertEqual((self.status(URL).failures, len(self.lists())), (1, 2))
        self.wait(timedelta(minutes=10))
        self.assertEqual(self.status(URL).failures, 2)
        self.flushLoggedErrors(KeyError)

    def test_failure_that_cannot_be_noted(self) -> None:
        """A CA whose failure cannot even be noted is left alone for an hour; another CA is not."""
        self.with_other()

        def fail(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(downloads, "failed", fail)
        self.watch.start()
        self.wait(HOUR / 2)
        with self.store.writing() as session:
            downloads.hurry(session)
        self.wait(timedelta(minutes=1))
        asked = [each.url for each in self.host.asked]
        self.assertEqual((asked.count(URL), asked.count(self.others)), (1, 2))
        self.wait(HOUR)
        self.assertIn(URL, [each.url for each in self.host.asked[3:]])
        self.flushLoggedErrors(ZeroDivisionError, KeyError)

    def test_busy(self) -> None:
        """A busy store is asked again at the next look, and what was downloaded is downloaded again."""
        self.approve()
        self.host.answers[URL] = self.crl()
        for function in ("due", "succeeded"):
            with self.patched(function, StoreBusy()):
                self.watch.start()
                self.assertEqual((self.told, self.status().tried), ([], None))
                self.watch.stop()
        self.watch.start()
        self.assertEqual(self.status().tried, NOW)

    def test_outdated_and_bugs(self) -> None:
        """A store of another version is left alone for an hour; so is a bug, which is told."""
        for error, names in ((StoreOutdated("other"), []), (ZeroDivisionError(), ["internal.error"])):
            self.told.clear()
            with self.patched("proposals", error):
                self.watch.start()
                self.wait(HOUR / 2)
                self.watch.stop()
            self.assertEqual(self.names(), names)
            self.clock.advance(HOUR.total_seconds())
        self.flushLoggedErrors(ZeroDivisionError)

    def patched(self, name: str, error: Exception) -> "_Failing":
        """Let a function of the store fail meanwhile."""
        return _Failing(name, error)


class _Failing:
    """A function of the module that raises, within a block."""

    def __init__(self, name: str, error: Exception) -> None:
        self._name, self._error = name, error

    def __enter__(self) -> None:
        self._kept = getattr(downloads, self._name)

        def fail(*arguments: object, **more: object) -> None:
            raise self._error

        setattr(downloads, self._name, fail)

    def __exit__(self, *reason: object) -> None:
        setattr(downloads, self._name, self._kept)


class Apart(DownloadsCase):
    """Lists are read in a process of their own."""

    def test_read(self) -> None:
        """What it says comes back, and who signed it."""
        bad = self.ca.issue("bad")
        octets = self.ca.crl([bad], this_update=NOW, next_update=NOW + DAY, point=URL, number=7)
        stranger = TestCa.root("Odette").credential.certificate
        issuers = [stranger, self.ca.credential.certificate]
        found = ListsApart().parse(octets, "the answer", issuers)
        (expected,) = revocation.parse(octets, "the answer")
        for name in ("what", "issuer", "scope", "this_update", "next_update", "number", "serials"):
            self.assertEqual(getattr(found, name), getattr(expected, name))
        self.assertEqual([found.signed_by(each) for each in issuers], [False, True])

    def test_file(self) -> None:
        """A file may hold several, which are read from the disk; what is none in it is refused."""
        lists = [self.ca.crl([self.ca.issue("bad")]), TestCa.root("Odette").crl()]
        with TemporaryFile() as file:
            file.write(b"".join(lists))
            found = ListsApart().parse_file(file, "both.pem", [self.ca.credential.certificate])
        expected = revocation.parse(b"".join(lists), "both.pem")
        self.assertEqual([each.serials for each in found], [each.serials for each in expected])
        self.assertEqual([each.issuer for each in found], [each.issuer for each in expected])
        self.assertEqual([each.signed_by(self.ca.credential.certificate) for each in found], [True, False])
        with TemporaryFile() as file:
            file.write(b"<html>")
            self.assertRaises(Unusable, ListsApart().parse_file, file, "both.pem", [])

    def test_refused(self) -> None:
        """What is none, or two, is refused in the same words."""
        issuers = [self.ca.credential.certificate]
        for octets, words in (
            (b"<html>", "the answer holds no readable revocation list"),
            (self.ca.crl() * 2, "the answer holds 2 revocation lists; one is expected"),
            (delta(self.ca), "is a delta list"),
        ):
            refused = self.assertRaises(Unusable, ListsApart().parse, octets, "the answer", issuers)
            self.assertIn(words, str(refused))

    def test_limits(self) -> None:
        """What takes more memory or time than it may is refused, and holds nobody up."""
        issuers = [self.ca.credential.certificate]
        self.patch(limits, "PARSING_SECONDS_MOST", 0.001)
        refused = self.assertRaises(Unusable, ListsApart().parse, self.ca.crl(), "the answer", issuers)
        self.assertIn("the answer cannot be read", str(refused))

    def test_stop(self) -> None:
        """A stop ends a process that reads; what it was to read is called neither too large nor too slow."""
        self.patch(lists_apart, "_PROGRAM", "import signal; signal.pause()")
        self.patch(limits, "PARSING_SECONDS_MOST", 30)
        apart = ListsApart()
        communicate = subprocess.Popen.communicate

        def stop_first(process: "subprocess.Popen[bytes]", *arguments: Any, **more: Any) -> object:
            apart.stop()
            return communicate(process, *arguments, **more)

        self.patch(subprocess.Popen, "communicate", stop_first)
        refused = self.assertRaises(Unusable, apart.parse, self.ca.crl(), "the answer", [])
        self.assertEqual(str(refused), "the answer was not read: the backend stops")
        self.assertIs(self.assertRaises(Unusable, apart.parse, b"", "the answer", []).__cause__, None)

    def test_bug(self) -> None:
        """What nobody expected while it reads is a refusal in words, and not called a matter of memory and time."""

        def fail(octets: bytes, source: str) -> None:
            raise KeyError(octets)

        told = TextIOWrapper(BytesIO())
        self.patch(list_contents, "parse", fail)
        self.patch(resource, "setrlimit", lambda *limits: None)
        self.patch(sys, "argv", ["", "", "3", "the answer"])
        self.patch(sys, "stdin", TextIOWrapper(BytesIO(b"odd")))
        self.patch(sys, "stdout", told)
        self.assertEqual(self.assertRaises(SystemExit, lists_apart.main).code, 3)
        told.seek(0)
        self.assertEqual(told.read(), "the answer cannot be read (KeyError)")

    def test_told_wrongly(self) -> None:
        """What the process tells, and no list may say, is refused with the list."""
        self.patch(lists_apart, "_PROGRAM", """print('{"issuer": ""}')""")
        refused = self.assertRaises(Unusable, ListsApart().parse, self.ca.crl(), "the answer", [])
        self.assertIn("the answer cannot be used: issuer", str(refused))


class States(DownloadsCase):
    """Whether a CA needs its lists."""

    def test_needed(self) -> None:
        """A CA whose lists are not used needs none."""
        self.approve()
        for mode in RevocationMode:
            with self.change() as change:
                cas.alter(change, "odette", revocation=mode)
            with self.store.reading() as session:
                (status,) = downloads.statuses(session)
            self.assertEqual((status.needed, status.result), (mode is not RevocationMode.OFF, "not tried yet"))


def delta(ca: TestCa) -> bytes:
    """A list that says only what has changed since another one."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.credential.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
    )
    return builder.sign(ca.credential.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
