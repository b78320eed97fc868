"""A setting is declared once: what an entry has reaches help, tables, JSON, document and archive by itself."""

import ast
import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from smartproxy.backend import archive, archive_file, generations, partners
from smartproxy.backend.columns import Declared
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits
from smartproxy.policy.partners import Authentication, CertificatePin, Outbound, Partner, Purpose, TrustedCa, Verify
from smartproxy.policy.schema import ForPeople, ObjectOf, declarations, kind
from smartproxy.policy.settings import ClientEntry
from smartproxy.policy.values import Flag, Whole
from smartproxy.policy.watching import Downtime, PartnerWatching
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.console import CommandFailed
from smartproxy.testing.pki import TestCa
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, PIN, SiteCase

CODE = "O0013000001ACME"
LIST = "http://crl.example/a.crl"
ACME = Partner(
    name="ACME",
    enabled=False,
    codes=(CODE, "SECOND"),
    lowest_level=Level.OFTP_1_4,
    authentication=Authentication.REQUIRED,
    profile=Profile.STRICT,
    originators=("O0013000001ACME", "O0013000001SUB"),
    destinations=("O0013000002ME",),
    purpose=Purpose.ANY,
    certificates=(CertificatePin(sha256=PIN),),
    outbound=Outbound(host="oftp.acme.example", port=6620, verify=Verify.PIN, listener=3307),
    watching=PartnerWatching(silent_hours=48, downtimes=(Downtime(begins=NOW, until=NOW, why="new system"),)),
)
"""A partner all of whose fields differ from the defaults; a test holds that."""
OF_THEIR_OWN = {"name", "enabled", "certificates", "outbound", "watching"}
"""The fields of a partner that have no argument by their declaration, but ways of their own in the command."""


@attrs.frozen(kw_only=True)
class Extended(Partner):
    """A partner with one setting more, as whoever adds one declares it."""

    quiet_hours: int = attrs.field(
        default=24,
        metadata=kind(
            Whole(limits.Limit(default=24, least=1, most=1000, unit="hours")),
            people=ForPeople(help="hours without a session after which the partner counts as silent", listed=True),
        ),
    )
    watched: bool = attrs.field(
        default=True, metadata=kind(Flag(), people=ForPeople(help="whether its silence is told"))
    )


class OneSettingMore(SynchronousTestCase):
    """A further field with its metadata is all that a further setting needs."""

    def extended(self, *switches: str) -> Extended:
        """A partner of a command line."""
        parser = ArgumentParser()
        declared.add_arguments(parser, Extended)
        values = declared.given(parser.parse_args(["--code", CODE, *switches]), Extended)
        return Extended(name="ACME", certificates=ACME.certificates, **values)

    def test_argument(self) -> None:
        """It has an argument with its help and default, and its values are judged."""
        parser = ArgumentParser()
        declared.add_arguments(parser, Extended)
        text = re.sub(r"\s+", " ", parser.format_help())
        self.assertIn("--quiet-hours N hours without a session after which the partner counts as silent [24]", text)
        self.assertIn("--watched {yes,no} whether its silence is told [yes]", text)
        self.assertEqual(self.extended("--quiet-hours", "48", "--watched", "no").quiet_hours, 48)
        self.assertFalse(self.extended("--watched", "no").watched)
        wrong = self.assertRaises(CommandFailed, self.extended, "--quiet-hours", "0")
        self.assertIn("--quiet-hours: is 0; has to be between 1 and 1000 hours", str(wrong))

    def test_shown(self) -> None:
        """It stands in the table of all entries if it is to, in the entry's own list, and in JSON."""
        entry = self.extended("--quiet-hours", "48")
        self.assertEqual(declared.heads(Extended)[-1], "QUIET HOURS")
        self.assertEqual(declared.cells(entry)[-1], "48")
        self.assertEqual(declared.pairs(entry)["quiet hours"], "48")
        self.assertEqual(declared.document(entry)["quiet_hours"], 48)

    def test_row(self) -> None:
        """A row keeps it, and reads entries that were written before it was there."""
        entry, column = self.extended("--quiet-hours", "48"), Declared(ObjectOf(Extended))
        written: Any = column.process_bind_param(entry, None)  # type: ignore[arg-type]  # no dialect is asked
        self.assertEqual(column.process_result_value(written, None), entry)  # type: ignore[arg-type]  # as above
        del written["quiet_hours"], written["watched"]
        before = column.process_result_value(written, None)  # type: ignore[arg-type]  # as above
        self.assertEqual((before.quiet_hours, before.watched), (24, True))


class EveryField(SiteCase):
    """Every field of a partner is where an operator looks for it, and survives every way through the store."""

    def setUp(self) -> None:
        """A site with the partner."""
        super().setUp()
        with self.change() as change:
            partners.add(change, ACME)

    def configured(self) -> dict[str, Any]:
        """The partner's entry in the document in force."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        (entry,) = json.loads(found[1])["server"]["partners"]
        assert isinstance(entry, dict)
        return entry

    def test_nothing_is_a_default(self) -> None:
        """The partner of these tests differs from the defaults in every field, so that no field can be left out."""
        same = [each.name for each in declarations(Partner) if getattr(ACME, each.name) == each.default]
        self.assertEqual(same, [])

    def test_document(self) -> None:
        """The document has every field, as it was said."""
        entry = self.configured()
        self.assertEqual(set(entry), {each.key for each in declarations(Partner)})
        self.assertEqual(entry["lowest_level"], 4)
        with self.store.reading() as session:
            self.assertEqual(partners.find(session, "ACME").entry, ACME)

    def test_archive(self) -> None:
        """An export and its import bring every field back."""
        with self.store.reading() as session:
            text = archive.export(session, NOW, with_secrets=False)
        with self.change() as change:
            partners.remove(change, "ACME")
        with self.change() as change:
            archive.take(change, archive_file.parse_file(text.encode()))
        with self.store.reading() as session:
            self.assertEqual(partners.find(session, "ACME").entry, ACME)


class OfNoFace(SynchronousTestCase):
    """What a declaration says of a setting is for every face: the command, the page and the API."""

    def test_repeated(self) -> None:
        """No help says how an argument is given."""
        for cls in (Partner, Outbound, PartnerWatching, TrustedCa, ClientEntry):
            for each in declarations(cls):
                self.assertNotIn("repeated", each.people.help, each.name)


class InTheCommand(CommandCase):
    """Every field of an entry in the command's help, table and JSON."""

    def help(self, *words: str) -> str:
        """The help of an action, on one line."""
        return re.sub(r"\s+", " ", self.do(*words, "--help").out)

    def test_help(self) -> None:
        """Every field has an argument with its declared help, or a way of its own."""
        for cls, words, own in (
            (Partner, ("partner", "add"), OF_THEIR_OWN),
            (Partner, ("partner", "change"), OF_THEIR_OWN),
            (Outbound, ("partner", "outbound"), {"certificates"}),
            (PartnerWatching, ("partner", "watch"), {"downtimes"}),
            (TrustedCa, ("ca", "add"), {"name", "certificates"}),
            (TrustedCa, ("ca", "change"), {"name", "certificates"}),
            (ClientEntry, ("client", "add"), {"name", "enabled", "token_sha256", "created"}),
        ):
            text = self.help(*words)
            self.assertEqual({each.name for each in declarations(cls)} - own, {e.name for e in declared.argued(cls)})
            for each in declared.argued(cls):
                self.assertIn(each.option, text)
                self.assertIn(each.people.help.split(";")[0], text)
        self.assertIn("files from the partner may have; * = any; may be repeated [*]", self.help("partner", "add"))
        text = self.help("partner")
        for word in ("add", "enable", "disable", "certificate", "outbound", "watch"):
            self.assertIn(f" {word} ", text)

    def test_shown(self) -> None:
        """Every field stands in an entry's list of values and in its JSON, the declared columns in the table."""
        ca = self.file("ca.pem", TestCa.root("Odette").certificate_pem)
        self.do("partner", "add", "ACME", "--code", CODE, "--pin", PIN, "--lowest-level", "1.4")
        self.do("ca", "add", "odette", ca, "--refuse-direct", "yes", "--approve-lists", "yes", "--list", LIST)
        self.do("client", "add", "inner")
        for cls, word, name in ((Partner, "partner", "ACME"), (TrustedCa, "ca", "odette")):
            shown, answer = self.do(word, "show", name).out, self.do(word, "show", name, "--json").json
            for each in declarations(cls):
                self.assertIn(each.key, answer)
                if not each.secret:
                    self.assertIn("\n" + (word if each.name == "name" else each.title), "\n" + shown)
        self.assertRegex(shown, f"(?m)^lists +{LIST}\napprove lists +yes\nrefuse direct +yes$")
        (client,) = self.do("client", "list", "--json").json
        for each in declarations(ClientEntry):
            self.assertEqual(each.key in client, not each.secret, each.name)
        for kind_of, word in ((Partner, "partner"), (TrustedCa, "ca"), (ClientEntry, "client")):
            heads = re.split("  +", self.do(word, "list").out.splitlines()[0])
            listed = [each.title.upper() for each in declarations(kind_of) if each.people.listed]
            self.assertEqual(heads[: len(listed)], listed)
        self.assertIn("1.4", self.do("partner", "list").out)


class Places(SynchronousTestCase):
    """Where a setting of an entry stands in the source."""

    def test_backend_and_command_name_none(self) -> None:
        """Outside of policy, and of what acts on it, nobody names an entry's setting: neither store nor command."""
        # The page of a refusal has a button that allows another purpose; the names of settings of the site have texts.
        of_partners = {"ctl_display.py", "setting_texts.py", "refusals.py"}
        # One adds the addresses that certificates name, the other knows how long a list is good.
        of_cas = {"downloads.py", "forecasts.py"}
        # An address gets its usual form, the document of each client its place, and 'client listen' has its own words.
        of_clients = {"clients.py", "generations.py", "client.py"}
        found = [
            *_naming(Partner, {"codes", "profile"}, of_partners),
            *_naming(TrustedCa, {"revocation", "lists"}, of_cas),
            *_naming(ClientEntry, {"address"}, of_clients),
        ]
        self.assertEqual(found, [])


def _naming(cls: type[Any], words: set[str], without: set[str]) -> list[str]:
    """Where an entry's settings are named.

    :param words: the names that other things have, too.
    :param without: the files that act on a setting.
    """
    names = {each.name for each in declared.argued(cls)} - words
    root = Path(smartproxy.__file__).parent
    return [
        f"{path.relative_to(root)}: {name}"
        for folder in ("backend", "tap/commands")
        for path in sorted((root / folder).rglob("*.py"))
        if path.name not in without
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (name := _named(node)) in names
    ]


def _named(node: ast.AST) -> object:
    """The word that a piece of source names, if it names one."""
    match node:
        case ast.Attribute():
            return node.attr
        case ast.keyword():
            return node.arg
        case ast.Name():
            return node.id
        case ast.Constant():
            return node.value
        case _:
            return None
