"""The command ``smartproxy``: what an operator does with a site.

NAME
    smartproxy - set up and look after a SmartProxy site

SYNOPSIS
    smartproxy SUBJECT ACTION [options]

DESCRIPTION
    Works on the backend's store directly, whether the daemon runs or not; with --url and a token it works on the site
    of a backend on another machine, with the same answers. Every change is a generation of the
    configuration, valid as a whole or refused; a running site follows it within seconds.

EXIT STATUS
    0 done; 1 could not be done, one line on standard error says why and what to do; 2 wrong use; 74 the answer could
    not be written.

SECURITY
    Runs as the user of the backend: the store is readable by nobody else. Takes no password and no key as an argument.
"""

import argparse
import functools
import importlib
import sys
import warnings
from collections.abc import Sequence
from typing import Final

from smartproxy import __version__
from smartproxy.backend.errors import BackendError
from smartproxy.logs.output import to_standard_output
from smartproxy.tap.commands.arguments import STORE, CommandLine, choices_of, shared
from smartproxy.tap.commands.console import FAILED, CommandFailed, Console, DryRun, WrongUse

MODULES: Final = {
    "authority": "authority",
    "licence": "licence",
    "client": "client",
    "admin-token": "admin_token",
    "user": "user",
    "partner": "partner",
    "ca": "ca",
    "crl": "crl",
    "trust-list": "trust_list",
    "identity": "identity",
    "settings": "settings",
    "events": "events",
    "event-script": "event_script",
    "ignore": "ignore",
    "mail": "mail",
    "session": "session",
    "transfers": "transfers",
    "nodes": "nodes",
    "explain": "explain",
    "history": "history",
    "export": "history",
    "import": "history",
    "audit": "audit",
    "store": "store",
    "backup": "backup",
    "restore": "backup",
    "test-partner": "trial",
    "test-station": "trial",
    "judge": "judge",
    "logrc": "logrc",
    "ctl": "ctl",
}
"""Each subject, in the order in which help lists them, and the module of :mod:`smartproxy.tap.commands` for it."""

_FIRST_STEPS = """\
first steps:
  smartproxy authority create --site "Muster GmbH" --name backend.example
  smartproxy licence issue PROXY-ID --until 2027-12-31 -o smartproxy.lic
  smartproxy client add inner
  smartproxy identity import main server.pem
  smartproxy partner add ACME --code O0013000001ACME --certificate acme.pem

Each subject and action has its own --help, with examples.
"""


@functools.cache
def parser(subject: str | None = None) -> CommandLine:
    """The command line; made once, since that takes longer than most commands.

    :param subject: the only one that is needed; without it, all are there.
    """
    found = CommandLine(
        prog="smartproxy",
        description="Set up and look after a SmartProxy site.",
        epilog=_FIRST_STEPS,
        parents=[shared()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=f"smartproxy {__version__}")
    group = found.add_argument_group("a site on another machine")
    group.add_argument(
        "--url",
        dest="api_url",
        metavar="URL",
        help="work on the site of this backend, such as https://backend.example:8443, and not on the local store",
    )
    group.add_argument(
        "--token-file", dest="api_token_file", metavar="FILE", help="the token that 'admin-token create' made"
    )
    group.add_argument(
        "--backend-ca",
        dest="api_ca",
        metavar="FILE",
        help="PEM file of the CA that signed the backend's certificate [the system's store]",
    )
    found.set_defaults(state_dir=None, database=None, json=False)
    subparsers = choices_of(found, dest="subject", title="subjects")
    for name in dict.fromkeys(MODULES.values()) if subject is None else (MODULES[subject],):
        importlib.import_module(f"smartproxy.tap.commands.{name}").register(subparsers)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Wrong use ends in ``SystemExit`` with status 2."""
    with warnings.catch_warnings():
        # What libraries warn of is for programmers; an operator is told what to do, in our words.
        warnings.simplefilter("ignore")
        return to_standard_output("smartproxy", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    command_line = parser(words[0]) if words and words[0] in MODULES else parser()
    arguments = command_line.parse_args(words)
    console = Console(arguments=arguments)
    try:
        _see_site(arguments)
        # Before anything is done: what is then made, such as a token, might be nowhere else.
        with console.reserved():
            return arguments.run(console) or 0
    except WrongUse as error:
        command_line.wrong(str(error), getattr(arguments, "command", command_line.prog))
    except DryRun as dry_run:
        from smartproxy.tap.commands.differences import tell_foreseen

        tell_foreseen(console, dry_run.foreseen, dry_run.beside)
        return 0
    except UnicodeEncodeError:
        command_line.error("an argument is not UTF-8")
    except CommandFailed as error:
        console.warn(str(error))
        return error.status
    except BackendError as error:
        console.warn(str(error))
        return FAILED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("smartproxy"):
            raise
        console.warn(
            f"this needs {error.name}, which is not installed here; run it on the backend's machine "
            "(installed there with: pip install 'smartproxy[backend]')"
        )
        return FAILED
    except KeyboardInterrupt:
        return 130


def _see_site(arguments: argparse.Namespace) -> None:
    """See that what the command line says about the site means something to the command.

    :raises WrongUse: where the command would look elsewhere than its user believes.
    """
    if arguments.api_url is None and (arguments.api_token_file is not None or arguments.api_ca is not None):
        raise WrongUse("--token-file and --backend-ca before the subject go with --url")
    if arguments.api_url is not None and arguments.database is not None:
        raise WrongUse("give --url or --database: the site of a backend, or a store of this machine")
    if getattr(arguments, "works_on", STORE) == STORE:
        return
    given = "--url" if arguments.api_url is not None else "--database"
    if arguments.api_url is not None or arguments.database is not None:
        raise WrongUse(f"{arguments.subject} takes no {given}: it works on this machine, and on no store")


if __name__ == "__main__":
    sys.exit(main())
