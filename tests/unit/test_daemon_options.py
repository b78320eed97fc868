"""The command lines of the two daemons: what they take, and what they say to a wrong one."""

import io
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.logger import Logger
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from smartproxy._version import RELEASED
from smartproxy.client.service import ClientService
from smartproxy.logs.severity import Severity
from smartproxy.net import files
from smartproxy.net.files import replace
from smartproxy.server.service import ServerService
from smartproxy.tap import backend, client, console, daemon, plain_client, plain_server, server
from smartproxy.tap.daemon import DaemonOptions
from smartproxy.tap.licensed import LicensedOptions
from smartproxy.tap.life import Life
from smartproxy.tap.signals import Signals
from smartproxy.testing.pki import TestCa
from smartproxy.tunnel.identity import load_or_make
from tests.unit.test_licence import NOW, SITE


class OptionsTestCase(SynchronousTestCase):
    """Command lines with what they print."""

    def setUp(self) -> None:
        """Catch what is printed; take the environment's variables away, and leave the process's signals alone."""
        self.patch(Signals, "listen_for_levels", lambda signals: None)
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        self.patch(os, "environ", {"PATH": ""})
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def parse(self, options: Any, *words: str) -> Any:
        """Read a command line."""
        options.parseOptions(["--state-dir", str(self.folder), *words])
        return options

    def ends(self, options: Any, *words: str) -> tuple[int, str]:
        """Read a command line that ends the program: its status and all that it printed."""
        ended: SystemExit = self.assertRaises(SystemExit, self.parse, options, *words)
        assert isinstance(ended.code, int)
        return ended.code, self.output.getvalue() + self.errors.getvalue()

    def file(self, name: str, text: str) -> str:
        """A file with this text."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


class SharedSwitches(OptionsTestCase):
    """What every daemon has."""

    def test_version(self) -> None:
        """Short and long, it prints program and version."""
        for word in ("-v", "--version"):
            status, text = self.ends(server.Options(), word)
            self.assertEqual((status, text.split()[0]), (0, "smartproxy-server"))

    def test_help(self) -> None:
        """Short and long, it prints how the program is called and its switches; twistd is named where it is used."""
        for word in ("-h", "--help"):
            self.output.truncate(0)
            status, text = self.ends(server.Options(), word)
            self.assertEqual(status, 0)
            self.assertIn("Usage: smartproxy-server [options]\n", text)
            self.assertIn("-L, --proxy-id", text)
        options = client.Options()
        options.parent = usage.Options()
        self.assertIn("Usage: twistd [twistd options] smartproxy-client -U URL", str(options))

    def test_answer_without_standard_output(self) -> None:
        """Where standard output is closed, help and version are one line on standard error and 74."""
        for options in (server, client, backend, plain_server, plain_client):
            for word in ("-h", "--help", "-v", "--version"):
                self.errors.truncate(0)
                self.errors.seek(0)
                read = options.Options()
                with patch("sys.stdout", None):
                    ended: SystemExit = self.assertRaises(SystemExit, read.parseOptions, [word])
                self.assertEqual(ended.code, 74, (read.program, word))
                self.assertEqual(self.errors.getvalue(), f"{read.program}: standard output is closed\n")

    def test_wrong_use_without_standard_error(self) -> None:
        """Wrong use ends with 2, also where standard error is closed or full; so does a program without a word."""
        with open("/dev/full", "w", buffering=1) as full:
            for errors in (None, full):
                with patch("sys.stderr", errors), patch("sys.argv", ["smartproxy-client"]):
                    self.assertEqual(self.assertRaises(SystemExit, self.parse, server.Options(), "--x").code, 2)
                    self.assertEqual(self.assertRaises(SystemExit, console.client_main).code, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())

    def test_level_that_does_not_exist(self) -> None:
        """One line names the option, the value and what is right; the status is 2."""
        status, text = self.ends(server.Options(), "--log-level", "loud")
        self.assertEqual((status, text.count("\n")), (2, 1))
        for word in ("--log-level", "loud", "trace"):
            self.assertIn(word, text)

    def test_state_folder(self) -> None:
        """The switch wins over the variable, and the variable over the default."""
        for words, variable, expected in (
            (["--state-dir", "/a"], "/b", "/a"),
            ([], "/b", "/b"),
            ([], "", "/var/lib/smartproxy"),
        ):
            os.environ["SMARTPROXY_STATE_DIR"] = variable
            options = DaemonOptions()
            options.parseOptions(words)
            self.assertEqual(options.state_directory, Path(expected))

    def test_log_goes_to_standard_output_and_to_the_file(self) -> None:
        """Twistd finds our observer by name; it writes text, and JSON lines beside it, from the level upwards."""
        parent = usage.Options()
        parent["logfile"], parent["syslog"], parent["nodaemon"] = None, None, True
        options = DaemonOptions()
        options.parent = parent
        path = self.folder / "log.jsonl"
        self.parse(options, "--log-json", str(path), "--log-level", "warning")
        self.assertEqual(parent["logger"], "smartproxy.tap.daemon.chosen_observer")
        log = Logger(namespace="x", observer=daemon.chosen_observer())
        log.info("one")
        log.error("two")
        options.set_level(Severity.DEBUG)
        log.info("three")
        text = self.output.getvalue()
        self.assertEqual([word for word in ("one", "two", "three") if word in text], ["two", "three"])
        self.assertEqual(path.read_text().count("\n"), 2)

    def parent(self, **words: object) -> usage.Options:
        """Twistd's own switches."""
        parent = usage.Options()
        parent.update({"logfile": None, "syslog": None, "nodaemon": True, **words})
        return parent

    def logged(self, parent: usage.Options | None, *words: str) -> None:
        """Log one line under these switches."""
        options = DaemonOptions()
        options.parent = parent
        self.parse(options, *words)
        Logger(namespace="x", observer=options.observer()).error("gr\x1bave")

    def test_twistd_s_log_file(self) -> None:
        """A file that twistd was told of gets our lines, so that a partner's words are harmless there, too."""
        path = self.folder / "x.log"
        self.logged(self.parent(logfile=str(path)))
        self.assertIn(r"ERROR    [x] gr\x1bave", path.read_text())
        self.assertEqual(self.output.getvalue(), "")

    def test_twistd_s_syslog(self) -> None:
        """Who has twistd log to the local syslog gets that."""
        options = DaemonOptions()
        options.parent = parent = self.parent(syslog=True)
        self.parse(options)
        self.assertNotIn("logger", parent)

    def test_background(self) -> None:
        """In the background a daily file in the state folder is written, which the group may read and nobody else."""
        self.logged(self.parent(nodaemon=False))
        (path,) = (self.folder / "log").iterdir()
        self.assertRegex(path.name, r"^smartproxy-\d{4}-\d\d-\d\d\.log$")
        self.assertEqual(path.read_text().count("\n"), 1)
        self.assertEqual((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777), (0o640, 0o750))
        self.assertEqual(self.output.getvalue(), "")

    def test_console_program(self) -> None:
        """Without twistd the switch for the foreground decides; a folder that is named is used in both cases."""
        self.logged(None, "--foreground")
        self.assertEqual(self.output.getvalue().count("\n"), 1)
        self.assertFalse((self.folder / "log").exists())
        self.logged(None)
        self.assertEqual(len(list((self.folder / "log").iterdir())), 1)
        self.logged(None, "--foreground", "--log-dir", str(self.folder / "there"))
        self.assertEqual(len(list((self.folder / "there").iterdir())), 1)
        self.assertEqual(self.output.getvalue().count("\n"), 1)

    def test_logrc_of_the_state_folder(self) -> None:
        """It is found by its name, and says what is logged and where to; the switch for the level goes before it."""
        path = self.folder / "all.jsonl"
        self.file("smartproxy.logrc", '[levels]\nlog = "fatal"\n[[appenders]]\ntype = "file"\npath = "all.jsonl"\n')
        self.logged(None, "--foreground")
        self.assertEqual(path.read_text(), "")
        os.rename(self.folder / "smartproxy.logrc", self.folder / "other")
        self.logged(None, "--logrc", str(self.folder / "other"), "--log-level", "trace")
        self.assertEqual(path.read_text(), "")
        self.file("other", '[[appenders]]\ntype = "file"\npath = "all.jsonl"\n')
        self.logged(None, "--logrc", str(self.folder / "other"), "--log-level", "fatal")
        self.assertEqual(path.read_text(), "")
        self.logged(None, "--logrc", str(self.folder / "other"))
        self.assertIn('"message":"gr\\\\x1bave"', path.read_text())

    def test_logrc_beside_the_program(self) -> None:
        """Without one in the state folder, that beside the program is read, also where the program is a link."""
        programs, links = self.folder / "programs", self.folder / "links"
        for folder in (programs, links):
            folder.mkdir()
        (programs / "start").write_text("")
        (links / "start").symlink_to(programs.absolute() / "start")
        (programs / "smartproxy.logrc").write_text('[levels]\n"*" = "error"\n')
        for program, severity in (
            (programs / "start", Severity.ERROR),
            (links / "start", Severity.ERROR),
            (programs / "none", None),
            (Path("-c"), None),
        ):
            self.patch(sys, "argv", [str(program)])
            options = self.parse(DaemonOptions())
            self.assertEqual(options.logrc.levels, {} if severity is None else {"*": severity}, program)
        self.patch(sys, "argv", [str(links / "start")])
        self.file("smartproxy.logrc", '[levels]\n"*" = "debug"\n')
        self.assertEqual(self.parse(DaemonOptions()).logrc.levels, {"*": Severity.DEBUG})

    def test_wrong_logrc(self) -> None:
        """Each fault is one line with the file and the place; a file that is named must be there."""
        path = self.file("x.logrc", "[levels]\nsession = 1\nnothing = 'info'\n")
        status, text = self.ends(DaemonOptions(), "--logrc", path)
        self.assertEqual((status, text.count("\n")), (2, 2))
        for line in text.splitlines():
            self.assertTrue(line.startswith(f"smartproxy: --logrc: {Path(path).absolute()}: levels."), line)
        status, text = self.ends(DaemonOptions(), "--logrc", "/no/such/file")
        self.assertEqual(status, 2)
        self.assertIn("/no/such/file: No such file", text)

    def test_json_file_that_cannot_be_written(self) -> None:
        """The daemon does not start, and says why."""
        options = DaemonOptions()
        self.parse(options, "--log-json", str(self.folder))
        ended: SystemExit = self.assertRaises(SystemExit, options.observer)
        self.assertEqual(ended.code, 1)
        self.assertIn("--log-json", self.errors.getvalue())

    def test_log_file_that_cannot_be_written(self) -> None:
        """The daemon does not start, and says why."""
        options = self.parse(DaemonOptions(), "--log-json", str(self.folder))
        ended: SystemExit = self.assertRaises(SystemExit, options.observer)
        self.assertEqual(ended.code, 1)
        self.assertIn("--log-json", self.errors.getvalue())


class Programs(SynchronousTestCase):
    """The console programs."""

    def test_library_missing(self) -> None:
        """A program whose libraries are not installed says which extra to install, also for ``-h``, and ends with 1."""
        missing = ModuleNotFoundError("No module named 'treq'", name="treq")
        for main, extra in ((console.client_main, "client"), (console.backend_main, "backend")):
            with (
                patch("sys.argv", ["x", "-h"]),
                patch("sys.stderr", io.StringIO()) as err,
                patch("importlib.import_module", side_effect=missing),
            ):
                end = self.assertRaises(SystemExit, main)
            self.assertEqual((end.code, len(err.getvalue().splitlines())), (1, 1))
            self.assertIn(f"pip install 'smartproxy[{extra}]'", err.getvalue())

    def test_help_in_any_width(self) -> None:
        """Help is shown whatever COLUMNS says, in lines of 60 characters or more."""
        for columns in ("0", "1", "28", "-5", "x", "", "٣", "200"):
            with (
                patch.dict("os.environ", {"COLUMNS": columns}),
                patch("sys.argv", ["x", "-h"]),
                patch("sys.stdout", io.StringIO()) as out,
            ):
                self.assertEqual(self.assertRaises(SystemExit, console.server_main).code or 0, 0)
            self.assertIn("--state-dir", out.getvalue())

    def test_output_is_full(self) -> None:
        """Help that cannot be written is one line and status 74."""
        with patch("sys.argv", ["x", "-h"]), patch("sys.stderr", io.StringIO()) as err, open("/dev/full", "w") as full:
            with patch("sys.stdout", full):
                self.assertEqual(self.assertRaises(SystemExit, console.server_main).code, 74)
            os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
        self.assertEqual(
            err.getvalue(), "smartproxy-server: cannot write to standard output: No space left on device\n"
        )


class ServerSwitches(OptionsTestCase):
    """smartproxy-server."""

    def licensed(self) -> str:
        """A licence for the identity in the state folder."""
        identity = load_or_make(self.folder / "identity.key")
        path = self.folder / "licence"
        replace(path, SITE.text(proxy_id=identity.proxy_id).encode())
        return str(path)

    def test_proxy_id(self) -> None:
        """It is printed without a licence, is the same each time,has 66 characters; a new key is told beside it."""
        printed = []
        for word, beside in (("-L", f"a new key was made: {self.folder.absolute()}/identity.key"), ("--proxy-id", "")):
            for stream in (self.output, self.errors):
                stream.truncate(0)
                stream.seek(0)
            status, _ = self.ends(server.Options(), word)
            self.assertEqual(status, 0)
            printed.append(self.output.getvalue().strip())
            self.assertIn(beside, self.errors.getvalue())
            self.assertEqual(self.errors.getvalue().count("\n"), bool(beside))
        self.assertEqual(len(printed[0]), 66)
        self.assertEqual(*printed)

    def test_licence_faults(self) -> None:
        """Each is told with the path, what to do and the Proxy ID; the status is 1."""
        proxy_id = load_or_make(self.folder / "identity.key").proxy_id
        missing = str(self.folder / "missing")
        for path, word in (
            (missing, "no such file"),
            (self.file("damaged", "{}"), "not a licence"),
            (self.file("foreign", SITE.text()), "another machine"),
            (self.file("ended", SITE.text(proxy_id=proxy_id, valid_until=NOW)), "ended on"),
        ):
            status, text = self.ends(server.Options(), "-l", path)
            self.assertEqual(status, 1)
            for part in (path, word, proxy_id):
                self.assertIn(part, text)
            self.errors.truncate(0)
            self.errors.seek(0)

    def test_clock_before_this_version(self) -> None:
        """A clock that shows a day before this version was made is wrong: no daemon starts, and one line says so.

        The Proxy ID can be asked for all the same.
        """
        licence = self.licensed()
        early = datetime.fromisoformat(f"{RELEASED}T00:00:00+00:00") - timedelta(seconds=1)
        clock = patch.object(DaemonOptions, "now", return_value=early)
        clock.start()
        self.addCleanup(clock.stop)
        for options in (
            server.ServerSwitches,
            client.ClientSwitches,
            backend.BackendSwitches,
            plain_server.PlainServerSwitches,
            plain_client.PlainClientSwitches,
        ):
            self.errors.truncate(0)
            words = ("-l", licence) if issubclass(options, LicensedOptions) else ()
            status, told = self.ends(options(), *words)
            self.assertEqual((status, told.count("\n")), (1, 1), options)
            self.assertIn("put the clock right", told)
        self.assertEqual(self.ends(server.Options(), "-L")[0], 0)
        self.assertTrue(self.output.getvalue().endswith("px\n"))

    def test_validity(self) -> None:
        """``-V`` prints whose the licence is and until when."""
        status, text = self.ends(server.Options(), "-l", self.licensed(), "-V")
        self.assertEqual(status, 0)
        self.assertIn("Muster GmbH", text)
        self.assertIn("2027-11-20", text)

    def test_identity_that_cannot_be_used(self) -> None:
        """A key that others may read is refused with what to do."""
        Path(self.file("identity.key", "x")).chmod(0o644)
        status, text = self.ends(server.Options(), "-L")
        self.assertEqual(status, 1)
        self.assertIn("chmod 600", text)

    def test_address(self) -> None:
        """``-i`` takes a port, an address with a port, and nothing else."""
        licence = self.licensed()
        options = self.parse(server.Options(), "-l", licence, "-i", "[::1]:2999")
        self.assertEqual((options.address.host, options.address.port), ("::1", 2999))
        life = server.makeService(options)
        assert isinstance(life, Life)
        self.assertIsInstance(life.daemon, ServerService)
        status, text = self.ends(server.Options(), "-l", licence, "-i", "nowhere:1")
        self.assertEqual(status, 2)
        self.assertIn("--listen", text)

    def test_workers(self) -> None:
        """One for each core, and 8 at most; or as many as are asked for, but no number that there cannot be."""
        licence = self.licensed()
        for cores, workers in ((1, 1), (2, 2), (8, 8), (64, 8)):
            self.patch(daemon, "cores", lambda cores=cores: cores)
            self.assertEqual(self.parse(server.Options(), "-l", licence).workers, workers)
            self.assertEqual(self.parse(server.Options(), "-l", licence, "--process-per-session").workers, 8)
        for asked in (0, 1, 8):
            self.assertEqual(self.parse(server.Options(), "-l", licence, "--workers", str(asked)).workers, asked)
        for asked, ready in ((0, 8), (1, 1), (64, 64)):
            one_each = ("-l", licence, "--process-per-session", "--workers", str(asked))
            self.assertEqual(self.parse(server.Options(), *one_each).workers, ready)
        for words, crew in ((("--workers", "0"), False), ((), True)):
            made: Any = server.makeService(self.parse(server.Options(), "-l", licence, *words))
            self.assertEqual(made.daemon.crew is not None, crew)
        for wrong in ("9", "-1", "many", ""):
            self.assertIn("--workers", self.ends(server.Options(), "-l", licence, "--workers", wrong)[1])
        more = ("--process-per-session", "--workers", "65")
        self.assertIn("--workers", self.ends(server.Options(), "-l", licence, *more)[1])


class ClientSwitches(OptionsTestCase):
    """smartproxy-client."""

    def words(self, *more: str) -> tuple[str, ...]:
        """What is needed, and more."""
        return ("-U", "https://backend.example:8443", "-S", "dmz.example", "--token-file", self.token("abc"), *more)

    def token(self, text: str) -> str:
        """A token file."""
        return self.file("token", text)

    def test_all_that_is_needed(self) -> None:
        """Backend, server and token make a daemon; the server's port is 2878 unless told otherwise."""
        options = self.parse(client.Options(), *self.words("-S", "[::1]:3000"))
        self.assertEqual([(each.host, each.port) for each in options.servers], [("dmz.example", 2878), ("::1", 3000)])
        self.assertEqual(options.secret, "abc")
        self.assertEqual(options.notices, [])
        life = client.makeService(options)
        assert isinstance(life, Life)
        self.assertIsInstance(life.daemon, ClientService)

    def test_workers(self) -> None:
        """One for each core, unless another number is asked for."""
        self.patch(daemon, "cores", lambda: 3)
        self.assertEqual(self.parse(client.Options(), *self.words()).workers, 3)
        self.assertEqual(self.parse(client.Options(), *self.words("--workers", "0")).workers, 0)

    def test_source_address_and_the_end(self) -> None:
        """``-o``, ``--drain`` and ``--exit-with-server`` are taken as given."""
        options = self.parse(client.Options(), *self.words("-o", "[::1]", "--drain", "7", "--exit-with-server"))
        self.assertEqual((options.source, options.drain, options["exit-with-server"]), ("::1", 7, 1))

    def test_drain(self) -> None:
        """Daemons that have sessions take how long these may go on; the backend has none."""
        with_sessions = (client.Options, server.Options, plain_client.Options, plain_server.Options)
        for options in (*with_sessions, backend.Options):
            self.assertEqual("drain=" in options().longOpt, options in with_sessions, options)

    def test_what_is_missing_is_named(self) -> None:
        """Without backend, server or token the program ends with 2 and one line."""
        words = self.words()
        for without in (0, 2, 4):
            status, text = self.ends(client.Options(), *words[:without], *words[without + 2 :])
            self.assertEqual((status, text.count("\n")), (2, 1))
            self.assertIn(("--backend", "--server", "--token-file")[without // 2], text)
            self.errors.truncate(0)
            self.errors.seek(0)

    def test_wrong_values_are_named(self) -> None:
        """Each wrong value ends with 2 and a line that names its option."""
        for words, option in (
            (("-U", "http://backend.example"), "--backend"),
            (("-S", "2878"), "--server"),
            (("-S", "0.0.0.0"), "--server"),
            (("-U", "https://[::]:8443"), "--backend"),
            (("--backend-pin", "12"), "--backend-pin"),
            (("--backend-ca", "/no/such/file"), "--backend-ca"),
            (("--backend-ca", self.file("empty", "")), "--backend-ca"),
            (("--backend-ca", "x", "--backend-pin", "y"), "one of the two"),
            (("-o", "localhost"), "--source"),
            (("-o", "224.0.0.1"), "--source: '224.0.0.1' is the address of many machines"),
            (("-o", "ff02::1"), "--source: 'ff02::1' is the address of many machines"),
            (("-o", "255.255.255.255"), "--source: '255.255.255.255' is the address of many machines"),
            (("-o", "127.0.0.1", "-S", "[::1]:2878"), "--source: 127.0.0.1 and --server [::1]:2878 are addresses of"),
            (("--drain", "-1"), "--drain"),
            (("--drain", "ten"), "--drain"),
            (("--token-file", "/no/such/file"), "--token-file"),
            (("--token-file", self.file("binary", "a\x07b")), "--token-file"),
            (("--token-file", self.file("blank", "\n")), "--token-file"),
        ):
            status, text = self.ends(client.Options(), *self.words(*words))
            self.assertEqual((status, text.count("\n")), (2, 1), words)
            self.assertIn(option, text)
            self.errors.truncate(0)
            self.errors.seek(0)

    def test_backend_s_proof(self) -> None:
        """A CA file and a pin reach the address as given."""
        pem = TestCa.root("ca").certificate_pem.decode()
        options = self.parse(client.Options(), *self.words("--backend-ca", self.file("ca.pem", pem)))
        self.assertEqual(options.address.authority, pem)
        options = self.parse(client.Options(), *self.words("--backend-pin", "AB:" * 31 + "AB"))
        self.assertEqual(options.address.pin, "ab" * 32)

    def test_secrets_on_the_command_line_are_noted(self) -> None:
        """``-T`` and user information in ``-U`` work, and are remembered for a warning."""
        options = self.parse(client.Options(), "-U", "https://u:p@backend.example", "-S", "dmz", "-T", "abc")
        self.assertEqual(
            (options.secret, options.basic, options.address.url), ("abc", "u:p", "https://backend.example")
        )
        self.assertEqual([fields["option"] for _, fields in options.notices], ["--token", "--backend"])
        self.assertEqual({name for name, _ in options.notices}, {"secret.on_command_line"})
        self.assertNotIn("abc", str(options.notices))

    def test_token_of_the_process(self) -> None:
        """The client's own environment is what the token is taken out of."""
        self.patch(os, "environ", {"PATH": "", "SMARTPROXY_TOKEN": "canary"})
        options = self.parse(client.Options(), "--backend", "https://127.0.0.1:8443", "--server", "127.0.0.1:2878")
        self.assertEqual((options.secret, options.by_environment), ("canary", True))
        self.assertEqual(dict(os.environ), {"PATH": ""})

    def test_token_is_taken_out_of_the_environment(self) -> None:
        """No program that the daemon starts inherits the token, also where another place gave it."""
        for told in (None, "switch"):
            environment = {"SMARTPROXY_TOKEN": "canary", "HOME": "/"}
            self.assertEqual(client.find_token(told, None, environment), told or "canary")
            self.assertEqual(environment, {"HOME": "/"})

    def test_where_a_token_comes_from(self) -> None:
        """The file wins, then the switch, then systemd's credential, then the environment."""
        (self.folder / "smartproxy-token").write_text("credential\n")
        credential = {"CREDENTIALS_DIRECTORY": str(self.folder), "SMARTPROXY_TOKEN": "variable"}
        self.assertEqual(client.find_token("switch", self.token("file\n"), credential), "file")
        self.assertEqual(client.find_token("switch", None, credential), "switch")
        self.assertEqual(client.find_token(None, None, credential), "credential")
        self.assertEqual(client.find_token(None, None, {"SMARTPROXY_TOKEN": "variable"}), "variable")
        self.assertRaises(ValueError, client.find_token, None, None, {})
        self.assertEqual(client.token_file("switch", "f", credential), "f")
        self.assertIsNone(client.token_file("switch", None, credential))
        self.assertEqual(client.token_file(None, None, credential), str(self.folder / "smartproxy-token"))
        self.assertIsNone(client.token_file(None, None, {"SMARTPROXY_TOKEN": "variable"}))
        self.assertEqual(client.find_token(None, self.token("\ufefffile\n"), {}), "file")

    def test_which_token_is_read_again(self) -> None:
        """That of ``--token-file``, unless a pipe is there by now, which nobody waits for; no other."""
        options = self.parse(client.Options(), *self.words())
        path = Path(self.token("new\n"))
        self.assertTrue(options.token.renewed("abc", 0.0) and options.token.text == "new")
        path.unlink()
        os.mkfifo(path)
        self.patch(files, "READ_SECONDS", 3600.0)
        self.assertFalse(options.token.renewed("new", 10.0))
        (self.folder / "smartproxy-token").write_text("credential\n")
        self.patch(os, "environ", {"CREDENTIALS_DIRECTORY": str(self.folder)})
        options = self.parse(client.Options(), "-U", "https://backend.example", "-S", "dmz")
        (self.folder / "smartproxy-token").write_text("another\n")
        self.assertFalse(options.token.renewed("credential", 0.0))
