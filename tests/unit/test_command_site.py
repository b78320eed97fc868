"""``smartproxy``: the site's authority, licences, clients, settings, history; and how every command behaves."""

import argparse
import io
import os
import re
import stat
import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from unittest.mock import patch

from cryptography import x509

from smartproxy import __version__
from smartproxy.backend import sightings
from smartproxy.backend.schema import SettingRow
from smartproxy.backend.store import Store
from smartproxy.logs.fields import isotime
from smartproxy.logs.record import Record
from smartproxy.policy.licence import read
from smartproxy.tap.command import MODULES, main, parser
from smartproxy.tap.commands import console
from smartproxy.tap.commands.arguments import end_of, past
from tests.databases import Database
from tests.unit.commands import CommandCase, done_by
from tests.unit.sites import PROXY_ID


class EveryCommand(CommandCase):
    """Help, errors, exit status."""

    founded = False

    def test_help_speaks_of_what_is_there(self) -> None:
        """Commands that use no store do not offer one: ``ctl`` works where no backend is, ``judge`` on a file."""
        for words, store, folder in (
            (["partner", "list"], True, True),
            (["ctl", "status"], False, True),
            (["judge"], False, False),
        ):
            said = self.run_command(*words, "--help").out
            self.assertEqual(("--database" in said, "--state-dir" in said), (store, folder), words)

    def test_help(self) -> None:
        """Help lists all subjects and the first steps; each action has help of its own."""
        text = self.do("--help").out
        subjects = ("authority", "licence", "client", "partner", "ca", "crl", "identity", "settings", "events")
        for subject in (*subjects, "history", "export", "import", "judge"):
            self.assertIn(f"\n    {subject} ", text)
        self.assertIn("smartproxy authority create", text)
        self.assertIn("examples:", self.do("partner", "add", "--help").out)

    def test_version(self) -> None:
        """The version."""
        self.assertEqual(self.do("--version").out, f"smartproxy {__version__}\n")

    def test_wrong_use(self) -> None:
        """What cannot be understood ends with 2."""
        for arguments in ((), ("nothing",), ("partner",), ("partner", "add"), ("licence", "issue", "x")):
            self.assertEqual(self.run_command(*arguments).status, 2, arguments)

    def test_bare(self) -> None:
        """Without a subject, or without its action, the help is shown."""
        self.assertIn("first steps:", self.run_command().out)
        for subject in ("partner", "ctl"):
            bare = self.run_command(subject)
            self.assertEqual(bare.status, 2)
            self.assertIn(f"usage: smartproxy {subject}", bare.out)

    def test_unknown_option(self) -> None:
        """An option that there is not is named, with and without a subject, its action and other options."""
        for before in ((), ("--json",), ("partner",), ("--state-dir", "x", "partner"), ("partner", "list")):
            said = self.refused(*before, "--nonsense", status=2)
            self.assertIn("unrecognized arguments: --nonsense", said)
            self.assertEqual(said.count("\n"), 0)
            named = " ".join(["smartproxy", *(each for each in before if each in ("partner", "list"))])
            self.assertIn(f"(see {named} --help)", said)

    def test_two_dashes_as_a_value(self) -> None:
        """``--option=--`` is an option without its value, whose type nothing converts."""
        for arguments in (("events", "--since=--"), ("history", "--json", "--last=--"), ("--state-dir=--", "history")):
            self.assertIn("expected one argument", self.refused(*arguments, status=2))

    def test_meant(self) -> None:
        """A mistyped subject, action or choice gets the nearest one."""
        for arguments, near in (
            (("partnr",), "'partner'"),
            (("partner", "lst"), "'list'"),
            (("judge", "x", "--profile", "strikt"), "'strict'"),
        ):
            self.assertIn(f"did you mean {near}?", self.refused(*arguments, status=2))
        self.assertIn("choose from authority, licence", self.refused("xyzzy", status=2))

    def test_each_alone(self) -> None:
        """Every subject is declared by the module that the table names; with it alone, its help is the same."""
        (subjects,) = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
        self.assertEqual(list(subjects.choices), list(MODULES))
        for name in MODULES:
            (alone,) = (each for each in parser(name)._actions if isinstance(each, argparse._SubParsersAction))
            self.assertEqual(alone.choices[name].format_help(), subjects.choices[name].format_help())
            self.assertEqual(done_by([name, "--help"]).out, subjects.choices[name].format_help())

    def test_what_is_wrong_is_shown_safely(self) -> None:
        """What was given is escaped and bounded in the line that refuses it; no name at all has none that is near."""
        told = self.refused("partner", "list", "\u202eB\x1b[2J" + "x" * 5000, status=2)
        self.assertTrue(told.isprintable(), told)
        self.assertLess(len(told), 800)
        self.assertIn("(see smartproxy events --help)", self.refused("events", "prune", status=2))
        self.assertIn("choose from authority", self.refused("", status=2))
        self.assertIn("did you mean 'viewer'?", self.refused("user", "add", "x", "--role", "viewr", status=2))

    def test_wrong_use_without_standard_error(self) -> None:
        """Wrong use ends with 2, also where the line that tells of it cannot be written."""
        with open("/dev/full", "w") as full, patch("sys.stderr", full):
            self.assertEqual(self.assertRaises(SystemExit, main, ["frobnicate"]).code, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())

    def test_output_cannot_be_written(self) -> None:
        """A full or closed output is one line and 74, also for help; one without characters gets them escaped."""
        self.do("authority", "create", "--site", "Müller GmbH")
        for arguments in (("authority", "show"), ("--help",), ("--version",)):
            with open("/dev/full", "w") as full, patch("sys.stderr", io.StringIO()) as err:
                with patch("sys.stdout", full):
                    self.assertEqual(main(["--state-dir", str(self.state), *arguments]), 74)
                os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
            self.assertEqual(err.getvalue(), "smartproxy: cannot write to standard output: No space left on device\n")
        with patch("sys.stdout", None), patch("sys.stderr", io.StringIO()) as err:
            self.assertEqual(main(["--state-dir", str(self.state), "authority", "show"]), 74)
        self.assertEqual(err.getvalue(), "smartproxy: standard output is closed; nothing was done\n")
        octets = io.BytesIO()
        with patch("sys.stdout", io.TextIOWrapper(octets, encoding="ascii")):
            self.assertEqual(main(["--state-dir", str(self.state), "authority", "show"]), 0)
            sys.stdout.flush()
            self.assertIn(b"M\\xfcller", octets.getvalue())

    def test_argument_not_utf8(self) -> None:
        """An argument that is not UTF-8 is wrong use, and not a traceback."""
        self.do("authority", "create", "--site", "Muster GmbH")
        self.assertIn("not UTF-8", self.refused("events", "--partner", "\udcff", status=2))

    def test_numbers(self) -> None:
        """Numbers out of range are wrong use."""
        for arguments in (("events", "-n"), ("history", "-n")):
            for number in ("99999999999999999999", "-1", "x", "٣"):
                self.assertIn("is not a whole number", self.refused(*arguments, number, status=2))

    def test_newest(self) -> None:
        """``-n`` means the same in every list: the newest so many, and all of them with 0."""
        self.do("authority", "create", "--site", "Muster GmbH")
        for name in ("one", "two", "three"):
            self.do("client", "add", name)
        for arguments in (("events",), ("history",), ("audit", "list")):
            every = self.do(*arguments, "-n", "0", "--json").json
            self.assertGreaterEqual(len(every), 3)
            self.assertEqual(self.do(*arguments, "-n", "2", "--json").json, every[-2:], arguments)

    def test_no_store(self) -> None:
        """Without a store every command says how to make one."""
        self.assertIn("smartproxy authority create", self.refused("partner", "list"))

    def test_where_options_stand(self) -> None:
        """The store and the form of the answer can be said before or after the subject."""
        other = str(self.folder / "other")
        self.do("authority", "create", "--site", "Other", "--state-dir", other)
        for arguments in (
            ("--state-dir", other, "--json", "client", "list"),
            ("client", "list", "--json", "--state-dir", other),
        ):
            self.assertEqual(self.do(*arguments).json, [])

    def test_site_that_means_nothing(self) -> None:
        """What names a site is refused where the command would look elsewhere: here, or on no site at all."""
        recorded = self.file("trace.jsonl", b"")
        for words in (("ctl", "status"), ("judge", recorded), ("logrc", "convert", recorded)):
            for option in ("--url", "--database"):
                told = self.refused(option, "https://backend.example:8443", *words, status=2)
                self.assertIn(f"{words[0]} takes no {option}", told)
        token = self.file("token", b"")
        for option in ("--token-file", "--backend-ca"):
            self.assertIn("go with --url", self.refused(option, token, "partner", "list", status=2))
        both = ("--url", "https://backend.example:8443", "--database", "sqlite:////tmp/x", "partner", "list")
        self.assertIn("--url or --database", self.refused(*both, status=2))

    def test_standard_input_is_closed(self) -> None:
        """A program that was started without standard input works; only what is to be read from there is refused."""
        self.do("authority", "create", "--site", "Muster GmbH")
        state = ["--state-dir", str(self.state)]
        with patch("sys.stdin", None), patch("sys.stderr", io.StringIO()) as err, patch("sys.stdout", io.StringIO()):
            self.assertEqual(main([*state, "partner", "list"]), 0, err.getvalue())
            self.assertEqual(main([*state, "user", "add", "alice", "--role", "viewer"]), 1)
            self.assertIn("nobody to ask", err.getvalue())
            for words, status in ((("crl", "load", "-"), 1), (("judge", "-"), 2)):
                err.truncate(0)
                self.assertEqual(main([*state, *words]), status)
                self.assertIn("smartproxy: standard input is closed; give a file instead of -\n", err.getvalue())

    def test_interrupted(self) -> None:
        """Ctrl-C ends with 130, as in a shell."""
        self.do("authority", "create", "--site", "Muster GmbH")
        with patch.object(console.Console, "answer", side_effect=KeyboardInterrupt):
            self.assertEqual(self.run_command("client", "list").status, 130)

    def test_our_own_fault(self) -> None:
        """A module of ours that is missing is a fault, and not passed off as a library to be installed."""
        missing = ModuleNotFoundError("no", name="smartproxy.backend.nothing")
        self.do("authority", "create", "--site", "Muster GmbH")
        with patch.object(console.Console, "answer", side_effect=missing):
            self.assertRaises(ModuleNotFoundError, self.run_command, "client", "list")

    def test_who(self) -> None:
        """The history names who gave the command, and who stands behind sudo."""
        with patch("getpass.getuser", return_value="root"), patch.dict("os.environ", {"SUDO_USER": "alice"}):
            self.assertEqual(console.operator(), "root (sudo by alice)")
        with patch("getpass.getuser", side_effect=KeyError), patch.dict("os.environ", clear=True):
            self.assertTrue(re.fullmatch(r"uid \d+", console.operator()))


class Authority(CommandCase):
    """The site's authority."""

    founded = False

    def test_create(self) -> None:
        """A new site: the store for its owner only, the certificate in a file, the pin shown."""
        path = str(self.folder / "ca.pem")
        done = self.do(
            "authority", "create", "--site", "Muster GmbH", "--name", "backend.example", "-o", path, "--json"
        )
        if self.database is Database.SQLITE:
            self.assertEqual(stat.S_IMODE(self.state.stat().st_mode), 0o700)
        certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=Muster GmbH SmartProxy authority")
        self.assertTrue(re.fullmatch("[0-9a-f]{64}", done.json["https_pin"]))
        self.assertIn("backend.example", done.json["https_names"])
        self.assertEqual(self.do("authority", "show", "--json").json, done.json)
        self.assertIn(done.json["https_pin"], self.do("authority", "show").out)
        self.assertIn("Muster GmbH", self.refused("authority", "create", "--site", "Other"))

    def test_first_listener(self) -> None:
        """A new site awaits partners at the port of OFTP2 over TLS."""
        self.do("authority", "create", "--site", "Muster GmbH")
        self.assertIn("0.0.0.0:6619", self.do("settings", "show", "server.listeners").out)

    def test_https(self) -> None:
        """Other names for the backend; the pin stays."""
        self.do("authority", "create", "--site", "Muster GmbH")
        before = self.do("authority", "show", "--json").json
        done = self.do("authority", "https", "--name", "new.example", "--json").json
        self.assertEqual(done["https_pin"], before["https_pin"])
        self.assertIn("new.example", done["https_names"])

    def test_withdraw_a_name_that_has_a_credential(self) -> None:
        """Only a name for which a credential was issued is withdrawn, or any with --force; a slip is told."""
        proxy_id = f"{'ab' * 32}px"
        self.do("authority", "create", "--site", "Muster GmbH")
        self.do("licence", "issue", proxy_id, "--until", "30d")
        self.do("authority", "issue-client", "inside-1", "-o", str(self.folder / "inside-1.credential"))
        before = self.do("history", "--json").json
        told = self.refused("authority", "withdraw-client", "inside1")
        self.assertIn("no credential was issued for 'inside1', so nothing is withdrawn; was 'inside-1' meant?", told)
        self.assertIn("--force", self.refused("authority", "withdraw-client", "issue-client"))
        self.assertEqual(self.do("history", "--json").json, before)
        self.assertIn("1 licence(s)", self.do("authority", "withdraw-client", "inside-1").out)
        self.do("authority", "withdraw-client", "inside1", "--force")
        self.assertEqual(len(self.do("history", "--json").json), len(before) + 2)

    def test_cannot_write(self) -> None:
        """A file that cannot be written is one line."""
        self.do("authority", "create", "--site", "Muster GmbH")
        self.assertIn("cannot write", self.refused("authority", "show", "-o", str(self.folder / "no" / "ca.pem")))


LATE = datetime.now(UTC).year + 8
"""A year in which a licence may end."""


class Licences(CommandCase):
    """Licences."""

    def test_issue(self) -> None:
        """The licence in a file is the one that the server reads; renewed, listed, shown again, withdrawn.

        One that ends earlier is issued only when those of before are withdrawn: the server would not take it.
        """
        path = str(self.folder / "smartproxy.lic")
        self.do("licence", "issue", PROXY_ID, "--until", f"{LATE}-12-31", "--sessions", "20", "-o", path)
        licence = read(Path(path).read_text(), PROXY_ID, datetime.now(UTC))
        self.assertEqual(licence.valid_until, datetime(LATE, 12, 31, 23, 59, 59, tzinfo=UTC))
        self.assertEqual(dict(licence.limits), {"sessions": 20})
        self.assertRegex(self.do("licence", "show", PROXY_ID).out, r"(?m)^sessions +20$")
        self.assertEqual(self.do("licence", "list", "--json").json[0]["sessions"], 20)
        self.assertIn("takes none that ends earlier", self.refused("licence", "issue", PROXY_ID, "--until", "90d"))
        self.do("licence", "withdraw", PROXY_ID)
        text = self.do("licence", "issue", PROXY_ID, "--until", "90d").out
        self.assertRegex(self.do("licence", "show", PROXY_ID).out, r"(?m)^sessions +not limited$")
        self.assertLess(read(text, PROXY_ID, datetime.now(UTC)).valid_until, licence.valid_until)
        (listed,) = self.do("licence", "list", "--json").json
        for name in ("valid_from", "valid_until", "issued"):
            self.assertEqual(datetime.fromisoformat(listed[name]).utcoffset(), timedelta(), name)
        self.assertEqual(listed["proxy_id"], PROXY_ID)
        self.assertIn(PROXY_ID, self.do("licence", "list").out)
        again = str(self.folder / "again.lic")
        self.do("licence", "show", PROXY_ID, "-o", again)
        self.assertEqual(Path(again).read_text(), text)
        self.do("licence", "withdraw", PROXY_ID)
        self.assertIn("no licence was issued", self.do("licence", "list").out)
        self.assertIn("no licence was issued", self.refused("licence", "show", PROXY_ID))

    def test_licence_extended(self) -> None:
        """A licence gets a later end and keeps its limits; the server need not be named where there is one only."""
        self.do("licence", "issue", PROXY_ID, "--until", "30d", "--sessions", "20")
        path = str(self.folder / "extended")
        self.assertIn(
            "the server receives it", self.do("licence", "extend", "--until", f"{LATE}-12-31", "-o", path).out
        )
        licence = read(Path(path).read_text(), PROXY_ID, datetime.now(UTC))
        self.assertEqual((licence.valid_until.year, dict(licence.limits)), (LATE, {"sessions": 20}))
        self.assertIn("later --until", self.refused("licence", "extend", PROXY_ID, "--until", "1y"))
        self.do("licence", "issue", "ab" * 32 + "px", "--until", "1y")
        self.assertIn("say which", self.refused("licence", "extend", "--until", "9y"))
        self.do("licence", "extend", PROXY_ID, "--until", f"{LATE + 1}-01-01")

    def test_download(self) -> None:
        """The newest licence comes again, whole, to standard output or a file; the only server need not be named."""
        self.do("licence", "issue", PROXY_ID, "--until", "30d")
        text = self.do("licence", "extend", "--until", "8y", "--json").json["licence"]
        self.assertEqual(self.do("licence", "download").out, text)
        self.do("licence", "download", PROXY_ID, "-o", str(self.folder / "again"))
        self.assertEqual((self.folder / "again").read_text(), text)
        self.do("licence", "show", "-o", str(self.folder / "shown"))
        self.assertEqual((self.folder / "shown").read_text(), text)
        self.do("licence", "issue", "ab" * 32 + "px", "--until", "1y")
        self.assertIn("say which", self.refused("licence", "download"))

    def test_listed_as_reported(self) -> None:
        """All servers are in one list, with the days left of what was issued and of what each put in force."""
        self.do("licence", "issue", PROXY_ID, "--until", "30d")
        (row,) = self.do("licence", "list", "--json").json
        self.assertIn(row["days_left"], (29, 30))
        self.assertEqual((row["reported"], row["reported_days_left"]), (None, None))
        other, now = "ab" * 32 + "px", datetime.now(UTC)
        store = Store.open(self.location)
        self.addCleanup(store.close)
        for proxy_id, days in ((PROXY_ID, 3), (other, -1), ("no id", 9)):
            fields = {"site": "x", "proxy_id": proxy_id, "valid_until": isotime(now + timedelta(days, 60))}
            with store.writing() as session:
                sightings.note(session, [Record("licence.accepted", now, "server", 1, fields)])
        rows = {each["proxy_id"]: each for each in self.do("licence", "list", "--json").json}
        self.assertEqual(set(rows), {PROXY_ID, other})
        self.assertIn(rows[PROXY_ID]["days_left"], (29, 30))
        self.assertEqual(rows[PROXY_ID]["reported_days_left"], 3)
        self.assertNotIn("issued", rows[other])
        text = self.do("licence", "list").out
        self.assertRegex(text, rf"{other} +- +not issued +- .* ended ")
        early = {"site": "x", "proxy_id": PROXY_ID, "valid_until": isotime(now)}
        with store.writing() as session:
            sightings.note(session, [Record("licence.accepted", now - timedelta(1), "server", 1, early)])
        rows = {each["proxy_id"]: each for each in self.do("licence", "list", "--json").json}
        self.assertEqual(rows[PROXY_ID]["reported_days_left"], 3)

    def test_nothing_to_extend(self) -> None:
        """Where no licence was issued, none can be extended."""
        self.assertIn("no licence was issued", self.refused("licence", "extend", "--until", "1y"))

    def test_bad_orders(self) -> None:
        """No Proxy ID, no date, a date in the past."""
        self.assertIn("smartproxy-server -L", self.refused("licence", "issue", "x", "--until", "1y"))
        self.assertIn("2027-12-31", self.refused("licence", "issue", PROXY_ID, "--until", "soon", status=2))
        self.assertIn("later --until", self.refused("licence", "issue", PROXY_ID, "--until", "2020-01-01"))

    def test_times(self) -> None:
        """A day ends with its last second, and so do days, weeks and years from now; hours count from this second."""
        self.assertEqual(end_of("2027-12-31"), datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC))
        self.assertEqual(end_of("2027-12-31T12:00+01:00"), datetime(2027, 12, 31, 11, tzinfo=UTC))
        minute = timedelta(minutes=1)
        for text, days in (("3d", 3), ("2w", 14), ("1y", 365)):
            found = end_of(text)
            self.assertEqual(found.time(), time(23, 59, 59))
            self.assertIn((found - datetime.now(UTC)).days, (days - 1, days))
        self.assertLess(abs(end_of("12h") - datetime.now(UTC) - timedelta(hours=12)), minute)
        self.assertLess(abs(past("2h") - datetime.now(UTC) + timedelta(hours=2)), minute)
        self.assertEqual(past("2026-11-20"), datetime(2026, 11, 20, tzinfo=UTC))

    def test_ago(self) -> None:
        """``m`` is minutes; seconds and yesterday are understood; no time is beyond all times."""
        for text, seconds in (("60s", 60), ("1m", 60), ("90m", 5400), ("1d", 86_400), ("1w", 604_800)):
            ago = datetime.now(UTC) - past(text)
            self.assertLess(abs(ago - timedelta(seconds=seconds)), timedelta(seconds=10), text)
        today = datetime.now(UTC).date()
        self.assertIn((today - past("yesterday").date()).days, (1, 2))
        self.assertEqual(past("yesterday").time(), time())
        self.assertEqual(past("2026-11-20T12:00:00+02:00"), datetime(2026, 11, 20, 10, tzinfo=UTC))
        for wrong in ("999999999y", "99999d9", "1M", "0001-01-01T00:00:00+14:00", "1 m", "soon"):
            self.assertRaises(ArgumentTypeError, past, wrong)

    def test_no_months(self) -> None:
        """The end of a licence is never taken for minutes where months may have been meant."""
        self.assertIn("180d", self.refused("licence", "issue", PROXY_ID, "--until", "6m", status=2))
        self.assertRaises(ArgumentTypeError, end_of, "999999999y")


class Clients(CommandCase):
    """Clients and tokens."""

    def test_token_once(self) -> None:
        """The token is shown when the client is added, alone on standard output, and nowhere else afterwards."""
        done = self.do("client", "add", "inner")
        token = done.out.strip()
        self.assertTrue(re.fullmatch(r"spc_[\w-]{43}", token))
        self.assertIn("shown only now", done.err)
        shown = [self.do("client", "list").out, self.do("client", "list", "--json").out, self.do("events").out]
        shown += [self.do("history").out, self.do("export", "-", "--with-secrets").out]
        self.assertNotIn(token, "".join(shown))
        self.assertIn("inner", shown[0])

    def test_client_address(self) -> None:
        """A client is bound to an address when it is added or later, and listed with it."""
        self.do("client", "add", "inner", "--address", "10.0.0.5")
        self.assertIn("10.0.0.5", self.do("client", "list").out)
        self.assertIn("from any address", self.do("client", "bind", "inner", "--any").out)
        self.assertIn("from 127.0.0.1", self.do("client", "bind", "inner", "--address", "127.0.0.1").out)
        self.assertEqual(self.do("client", "list", "--json").json[0]["address"], "127.0.0.1")
        self.assertIn(
            "has to be an IPv4 or IPv6 address", self.refused("client", "bind", "inner", "--address", "inside")
        )
        self.assertIn("is bound to none", self.refused("client", "bind", "inner", "--address", "0.0.0.0"))
        self.assertIn("is bound to none", self.refused("client", "add", "other", "--address", "::"))
        self.refused("client", "bind", "inner", status=2)

    def test_last_client(self) -> None:
        """A dry run says that no client would be left, and nothing of that as long as another one may call."""
        told = "would refuse everybody: no client is left that may call the backend"
        for name in ("inner", "second"):
            self.do("client", "add", name)
        self.assertNotIn(told, self.do("client", "remove", "inner", "--dry-run").out)
        self.do("client", "disable", "second")
        for action in ("remove", "disable"):
            self.assertIn(told, self.do("client", action, "inner", "--dry-run").out)
        self.assertNotIn(told, self.do("client", "remove", "second", "--dry-run").out)
        self.do("client", "enable", "second")
        self.do("client", "remove", "inner")

    def test_own_port(self) -> None:
        """A client's own port is given when it is added or later, listed, and given up again."""
        self.do("client", "add", "inner", "--listen-port", "65434", "--listen-address", "10.0.0.5")
        (shown,) = self.do("client", "list", "--json").json
        self.assertEqual((shown["listen_port"], shown["listen_address"]), (65434, "10.0.0.5"))
        self.assertIn("65434", self.do("client", "list").out)
        done = self.do("client", "listen", "inner", "--port", "65435")
        self.assertIn("client inner: listen address the site's, listen port 65435", done.out)
        self.assertIsNone(self.do("client", "listen", "inner", "--as-site", "--json").json["listen_port"])
        for wrong in ((), ("--as-site", "--port", "1")):
            self.assertIn("or --as-site alone", self.refused("client", "listen", "inner", *wrong, status=2))
        self.assertIn("0 to 65535", self.refused("client", "listen", "inner", "--port", "65536"))
        self.assertIn("has to be an IPv4 or IPv6 address", self.refused("client", "listen", "inner", "--on", "inside"))

    def test_token_file(self) -> None:
        """Or it goes into a file that only its owner can read, and is not shown at all."""
        path = self.folder / "token"
        done = self.do("client", "add", "inner", "--token-file", str(path))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertTrue(path.read_text().startswith("spc_"))
        self.assertNotIn("spc_", done.out + done.err)

    def test_file_that_cannot_be_written(self) -> None:
        """A client whose token could not be put away is not added."""
        self.assertIn(
            "cannot write", self.refused("client", "add", "inner", "--token-file", str(self.folder / "x" / "y"))
        )
        self.assertEqual(self.do("client", "list", "--json").json, [])

    def test_life(self) -> None:
        """Added, given a new token, disabled, enabled, removed."""
        first = self.do("client", "add", "inner", "--json").json["token"]
        second = self.do("client", "token", "inner", "--json").json["token"]
        self.assertNotEqual(first, second)
        self.do("client", "disable", "inner")
        self.assertFalse(self.do("client", "list", "--json").json[0]["enabled"])
        self.do("client", "enable", "inner")
        self.assertTrue(self.do("client", "list", "--json").json[0]["enabled"])
        self.do("client", "remove", "inner")
        self.assertIn("smartproxy client add", self.do("client", "list").out)
        self.assertIn("known: none", self.refused("client", "token", "inner"))


class Settings(CommandCase):
    """Settings."""

    def test_numbers(self) -> None:
        """A number is written in the digits 0 to 9 with nothing else."""
        for wrong in ("٣٠", "3_0", " 30", "+30"):
            self.assertIn("is a whole number", self.refused("settings", "set", "server.deadlines.ssid", wrong))
        for wrong in ("9" * 26, "1" * 5000):
            told = self.refused("settings", "set", "server.deadlines.ssid", wrong)
            self.assertTrue(told.startswith(f"smartproxy: server.deadlines.ssid: the number '{wrong[:26]}"), told)
        self.assertIn("is far too large", self.refused("settings", "set", "server.deadlines.ssid", "9" * 26))
        self.do("settings", "set", "server.deadlines.ssid", "30")

    def test_without_effect(self) -> None:
        """A deadline that no client reads is neither shown nor set; one that was set is shown until it is reset."""
        for name in ("handshake", "withdrawal"):
            told = self.refused("settings", "set", f"client.deadlines.{name}", "30")
            self.assertIn(f"was server.deadlines.{name} meant?", told)
            self.refused("settings", "show", f"client.deadlines.{name}")
            self.assertNotIn(name, self.do("settings", "show", "client.deadlines").out)
        store = Store.open(self.location)
        self.addCleanup(store.close)
        with store.writing() as session:
            session.add(SettingRow(name="client.deadlines.handshake", value=30))
        self.assertIn("client.deadlines.handshake", self.do("settings", "show", "client.deadlines").out)
        self.do("settings", "reset", "client.deadlines.handshake")
        self.assertNotIn("handshake", self.do("settings", "show", "client.deadlines").out)

    def test_mistyped_host(self) -> None:
        """An address with a slip is no host name."""
        for wrong in ("192.168.1.300", "127.1", "1.2.3.400", "6619"):
            told = self.refused("settings", "set", "client.station.host", wrong)
            self.assertIn("no name ends in a number", told)
        for right in ("192.168.1.30", "station4.example", "::1", "::ffff:192.0.2.1", "3com.example"):
            self.do("settings", "set", "client.station.host", right)

    def test_wildcards(self) -> None:
        """An address that stands for all of a machine is none that is called, called from, or told to partners."""
        for name in ("client.station.host", "backend.sheet.host", "backend.mail.host", "server.source_address"):
            self.assertIn("every address of a machine", self.refused("settings", "set", name, "0.0.0.0"))
        self.do("settings", "set", "server.listeners", "0.0.0.0:6619", "client.outbound.address", "::")

    def test_kinds(self) -> None:
        """Numbers, words, yes and no, lists of addresses and of networks."""
        self.do(
            "settings", "set", "server.deadlines.ssid", "45", "client.station.host", "station.example",
            "server.penalties.enabled", "no", "server.listeners", "127.0.0.1:6619, [::1]:6619, 6620",
            "server.penalties.exempt", "10.0.0.0/8,fd00::/8",
        )  # fmt: skip
        shown = {name: each["value"] for name, each in self.do("settings", "show", "--json").json.items()}
        self.assertEqual(shown["server.deadlines.ssid"], 45)
        self.assertEqual(shown["client.station.host"], "station.example")
        self.assertIs(shown["server.penalties.enabled"], False)
        self.assertEqual(shown["server.penalties.exempt"], ["10.0.0.0/8", "fd00::/8"])
        self.assertEqual([each["port"] for each in shown["server.listeners"]], [6619, 6619, 6620])
        text = self.do("settings", "show", "server").out
        self.assertIn("127.0.0.1:6619,[::1]:6619,0.0.0.0:6620", text)
        self.assertIn("1 to 300 seconds", text)

    def test_all_or_none(self) -> None:
        """When one of several is wrong, none is set."""
        reason = self.refused("settings", "set", "server.deadlines.ssid", "45", "server.deadlines.buffer", "0")
        self.assertIn("server.deadlines.buffer", reason)
        self.assertEqual(
            self.do("settings", "show", "server.deadlines.ssid", "--json").json["server.deadlines.ssid"]["value"], 30
        )

    def test_named_twice(self) -> None:
        """A setting that is named twice is refused: one of its values would be lost."""
        twice = ("server.deadlines.ssid", "45", "server.deadlines.buffer", "50", "server.deadlines.ssid", "46")
        self.assertIn("server.deadlines.ssid is named 2 times", self.refused("settings", "set", *twice))
        self.assertIn("is named 2 times", self.refused("settings", "reset", twice[0], twice[0]))
        shown = self.do("settings", "show", "server.deadlines", "--json").json
        self.assertFalse([name for name, each in shown.items() if each["set"]])

    def test_bad_values(self) -> None:
        """What is not of the setting's kind is refused with what is."""
        self.assertIn("whole number", self.refused("settings", "set", "server.deadlines.ssid", "soon"))
        self.assertIn("yes or no", self.refused("settings", "set", "server.penalties.enabled", "perhaps"))
        self.assertIn("IP address", self.refused("settings", "set", "server.listeners", "dmz.example:6619"))
        self.assertIn("was server.deadlines.ssid meant", self.refused("settings", "set", "server.deadline.ssid", "1"))
        self.assertIn("after each name", self.refused("settings", "set", "server.deadlines.ssid", status=2))

    def test_reset(self) -> None:
        """Back to the default."""
        self.do("settings", "set", "server.deadlines.ssid", "45")
        self.assertIn("is 30 again", self.do("settings", "reset", "server.deadlines.ssid").out)
        self.assertFalse(
            self.do("settings", "show", "server.deadlines.ssid", "--json").json["server.deadlines.ssid"]["set"]
        )

    def test_nothing_set(self) -> None:
        """A setting without a value is said to be not set."""
        shown = self.do("settings", "show").out
        self.assertIn("not set", shown)
        self.assertNotIn("null", shown)


class History(CommandCase):
    """Who changed what."""

    def test_history(self) -> None:
        """Each change with its number, time, author and words; the newest last."""
        with patch("getpass.getuser", return_value="alice"), patch.dict("os.environ"):
            os.environ.pop("SUDO_USER", None)
            self.do("settings", "set", "server.deadlines.ssid", "45")
        (last,) = self.do("history", "-n", "1", "--json").json
        self.assertEqual(
            (last["generation"], last["by"], last["change"]), (2, "alice", "settings set server.deadlines.ssid 45")
        )
        self.assertIn("authority create", self.do("history").out)
