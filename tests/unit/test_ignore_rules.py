"""Rules that silence what is known: what they hit, what they never hit, how long they last."""

from datetime import datetime, timedelta
from typing import Any

from smartproxy.backend import generations, journal, rollback
from smartproxy.backend.alerts import ignore_rules
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound
from smartproxy.backend.journal import StoredEvent
from smartproxy.logs.record import Record, read
from smartproxy.policy import limits
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.causes import Cause
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, SiteCase

HOUR = timedelta(hours=1)


def event(name: str, source: str = "server", **fields: object) -> Record:
    """A record that a daemon carried here."""
    return read({"name": name, "time": NOW.isoformat(), "source": source, "sequence": 1, **fields})


def refusal(**fields: object) -> Record:
    """A refused certificate, which is a warning."""
    told: dict[str, Any] = {"cause": Cause.CERTIFICATE_EXPIRED, "subject": "CN=x", **fields}
    return event("certificate.refused", **told)


class Hits(SiteCase):
    """What a rule hits."""

    def rule(self, text: str, name: str = "known", **values: Any) -> None:
        """Add a rule."""
        with self.change() as change:
            ignore_rules.add(change, IgnoreRule(name=name, text=text, **values))

    def arrive(self, *records: Record, received: datetime = NOW) -> list[StoredEvent]:
        """Store records; they as they are in the store."""
        with self.store.writing() as session:
            before = journal.newest_number(session)
            journal.keep(session, records, received)
            found = journal.find(session, journal.Filter(after=before))
        return list(found)

    def silenced(self, *records: Record, received: datetime = NOW) -> list[object]:
        """Which rule silenced each."""
        return [each.fields.get("ignored_by") for each in self.arrive(*records, received=received)]

    def state(self) -> ignore_rules.IgnoreRuleState:
        """The one rule."""
        with self.store.reading() as session:
            return ignore_rules.listed(session)[0]

    def test_marked_and_counted(self) -> None:
        """A hit stays in the store, marked with the rule's name; hits are counted, with the last one's time."""
        self.rule("expired")
        one, two, three = self.arrive(refusal(), refusal(cause=Cause.CERTIFICATE_REVOKED), refusal(), received=NOW)
        marks = [each.fields.get("ignored_by") for each in (one, two, three)]
        self.assertEqual(marks, ["known", None, "known"])
        self.assertIn("ignored_by=known", str(one))
        self.assertEqual(one.level.label, "warning")
        state = self.state()
        self.assertEqual((state.hits, state.last_hit, state.last_event), (2, NOW, three.number))
        self.silenced(refusal(), received=NOW + HOUR)
        self.assertEqual((self.state().hits, self.state().last_hit), (3, NOW + HOUR))

    def test_case_and_unicode(self) -> None:
        """Upper and lower case are alike in every script, and composed letters are what they look like."""
        self.rule("MÜLLER Straße")
        for partner, hit in (
            ("mu\u0308ller STRASSE", "known"),
            ("Müller straße", "known"),
            ("Muller strasse", None),
        ):
            self.assertEqual(self.silenced(refusal(partner=partner)), [hit], partner)

    def test_as_a_person_reads_it(self) -> None:
        """Text copied from either form of a line hits, across fields and columns; what is in no line does not."""
        (stored,) = self.arrive(refusal(partner="ACME", peer="192.0.2.7:4711", message='It has "expired".'))
        for number, text in enumerate(
            (
                "certificate.refused ACME",
                'certificate.refused "It has \\"expired\\"."',
                "cause=certificate.expired",
                str(stored).partition(" ")[2].partition(" ")[2],
                stored.short()[27:90],
            )
        ):
            self.rule(text, f"rule {number}")
            self.assertEqual(
                self.silenced(refusal(partner="ACME", peer="192.0.2.7:4711", message='It has "expired".')),
                [f"rule {number}"],
                text,
            )
            with self.change() as change:
                ignore_rules.remove(change, f"rule {number}")
        self.rule("expired certificate")
        self.assertEqual(self.silenced(refusal(partner="ACME")), [None])

    def test_escaped_text(self) -> None:
        """What a partner sent is compared as it is shown, escaped: no line of it can look like another's."""
        self.rule("listener.failed")
        self.assertEqual(self.silenced(refusal(subject="CN=x\nlistener\u200b.failed")), [None])

    def test_never(self) -> None:
        """Bugs, violations of the tunnel's protocol, what operators did, and this feature's own failures stay."""
        self.rule("e")
        found = self.silenced(
            event("internal.error", place="x"),
            event("tunnel.violation", cause=Cause.BOX_KIND),
            event("store.set_back", "command", generation=2, previous=1),
            event("event_script.failed", "backend", cause=Cause.SCRIPT_STATUS, event="x", event_number=1),
            event("listener.failed", port=1, cause=Cause.PORT_IN_USE),
        )
        self.assertEqual(found, [None, None, None, None, "known"])

    def test_below_warning(self) -> None:
        """What disturbs nobody is not looked at: it is neither marked nor counted."""
        self.rule("ACME")
        self.assertEqual(self.silenced(event("session.started", partner="ACME")), [None])

    def test_validity(self) -> None:
        """A rule counts from its beginning to its end, both included, by the clock of the backend."""
        self.rule("expired", valid_from=NOW + HOUR, valid_until=NOW + 2 * HOUR)
        second = timedelta(seconds=1)
        for moment, hit in (
            (NOW + HOUR - second, None),
            (NOW + HOUR, "known"),
            (NOW + 2 * HOUR, "known"),
            (NOW + 2 * HOUR + second, None),
        ):
            self.assertEqual(self.silenced(refusal(), received=moment), [hit], moment)

    def test_first_of_several(self) -> None:
        """An event counts for one rule, the first by name."""
        self.rule("expired", "b")
        self.rule("certificate", "a")
        self.assertEqual(self.silenced(refusal()), ["a"])

    def test_expired(self) -> None:
        """Rules whose time is over are taken out, with what they did."""
        self.rule("expired", "short", valid_until=NOW + HOUR)
        self.rule("nothing", "long")
        self.silenced(refusal())
        with self.store.writing() as session:
            self.assertEqual(ignore_rules.take_expired(session, NOW + HOUR), [])
            over = ignore_rules.take_expired(session, NOW + 2 * HOUR)
        self.assertEqual([(each.rule.name, each.hits) for each in over], [("short", 1)])
        self.assertEqual(self.state().rule.name, "long")

    def test_refused(self) -> None:
        """A rule that is there, is over, or ends before it begins is refused, and so are too many."""
        self.rule("expired")
        with self.assertRaisesRegex(AlreadyThere, "ignore change known"):
            self.rule("expired")
        with self.assertRaisesRegex(ChangeRefused, "later --until"):
            self.rule("x", "over", valid_until=NOW - HOUR)
        with self.assertRaisesRegex(ChangeRefused, "before it begins"):
            self.rule("x", "turned", valid_from=NOW + 2 * HOUR, valid_until=NOW + HOUR)
        with self.assertRaisesRegex(ChangeRefused, "text: is empty"):
            self.rule("", "empty")
        self.patch(limits, "IGNORE_RULES_MOST", 1)
        with self.assertRaisesRegex(ChangeRefused, "remove one first"):
            self.rule("x", "many")
        with self.change() as change, self.assertRaises(NotFound):
            ignore_rules.remove(change, "nobody")

    def roll_back(self, number: int, now: datetime) -> list[str]:
        """Have a generation again; why what stays does so."""
        with self.change("roll back", now) as change:
            planned = rollback.plan(change.session, number, now)
            rollback.carry_out(change, planned)
        return [each.why for each in planned.kept]

    def test_over_meanwhile(self) -> None:
        """A rule whose time is over is not brought back, and that one ended by itself is in no roll-back's way."""
        with self.store.reading() as session:
            before = generations.newest_number(session)
        self.rule("expired", "short", valid_until=NOW + HOUR)
        self.rule("expired", "long", valid_until=NOW + 3 * HOUR)
        with self.change() as change:
            ignore_rules.take(change, [])
        self.assertEqual(
            self.roll_back(before + 2, NOW + 2 * HOUR), ["its time is over: add it again with a later end"]
        )
        self.assertEqual(self.state().rule.name, "long")
        with self.store.writing() as session:
            ignore_rules.take_expired(session, NOW + 4 * HOUR)
        self.assertEqual(self.roll_back(before, NOW + 4 * HOUR), [])

    def test_doubts(self) -> None:
        """Somebody is warned of a text that silences nothing, or all; not of one that does what it seems to."""
        for text, told in (
            ("internal.error", "no rule silences internal.error"),
            ("ERROR audit.", "no rule silences audit."),
            ("certificate.refussed ACME", "no event is called certificate.refussed"),
            ("session.started", "session.started is below WARNING"),
            ("oftp.noisy.example", ""),
            ("certificate.refused ACME", ""),
            ("certificate.", ""),
        ):
            rule = IgnoreRule(name="x", text=text)
            found = list(ignore_rules.doubts(rule, ignore_rules.IgnoreTrial(hits=10, tried=20)))
            self.assertEqual([each[: len(told)] for each in found], [told] if told else [], text)
        (broad,) = ignore_rules.doubts(IgnoreRule(name="x", text="e"), ignore_rules.IgnoreTrial(hits=11, tried=20))
        self.assertIn("11 of the 20 events", broad)

    def test_history(self) -> None:
        """Who silenced what is an event, and a generation."""
        self.rule("expired", valid_until=NOW + HOUR)
        (told,) = self.stored("ignore.changed")
        self.assertEqual((told.fields["ignored_by"], told.fields["facts"]), ("known", {"by": "alice"}))


class Command(CommandCase):
    """``smartproxy ignore``."""

    def test_life(self) -> None:
        """Add, list, change and remove; each says what it did."""
        said = self.do("ignore", "add", "known", "--text", "Probe", "--description", "monitoring", "--until", "14d").out
        self.assertIn("would have silenced 0 of the 0 events", said)
        listed = self.do("ignore", "list").out
        for part in ("known", "Probe", "monitoring", "always", "never"):
            self.assertIn(part, listed)
        self.do("ignore", "change", "known", "--until", "always", "--text", "probe")
        (rule,) = self.do("ignore", "list", "--json").json
        self.assertEqual((rule["text"], rule["valid_until"], rule["hits"]), ("probe", None, 0))
        self.assertIn(
            "no rule silences internal.error", self.do("ignore", "change", "known", "--text", "internal.error").err
        )
        self.assertIn("silenced 0 events", self.do("ignore", "remove", "known").out)
        self.assertIn("no ignore rule", self.do("ignore", "list").out)
        changes = [each["change"] for each in self.do("history", "--json").json]
        done = ["ignore add known", *["ignore change known"] * 2, "ignore remove known"]
        self.assertEqual(changes[-4:], done)

    def test_rolled_back(self) -> None:
        """A roll-back has the rules of then: what was added is gone, what was changed or removed is as it was."""
        self.do("ignore", "add", "old", "--text", "before")
        self.do("ignore", "add", "gone", "--text", "gone")
        then = self.do("history", "--json").json[-1]["generation"]
        self.do("ignore", "change", "old", "--text", "afterwards")
        self.do("ignore", "remove", "gone")
        self.do("ignore", "add", "new", "--text", "new")
        self.assertIn("ignore old: text before -> afterwards", self.do("history", "show", str(then + 1)).out)
        self.do("history", "roll-back", str(then), "--yes")
        rules = self.do("ignore", "list", "--json").json
        self.assertEqual([(each["name"], each["text"]) for each in rules], [("gone", "gone"), ("old", "before")])

    def test_refused(self) -> None:
        """An empty text, none at all, and nothing to change are refused with what to do."""
        self.assertIn("is empty", self.refused("ignore", "add", "x", "--text", ""))
        self.assertIn("--text is needed", self.refused("ignore", "add", "x", status=2))
        self.assertIn("what is to be changed", self.refused("ignore", "change", "x", status=2))
        self.assertIn("ignore list", self.refused("ignore", "remove", "x"))
