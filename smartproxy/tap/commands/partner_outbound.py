"""``smartproxy partner outbound``: how the station reaches a partner."""

from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.certificates import pinned, plain_sha256
from smartproxy.tap.commands.console import Console, WrongUse, listing

if TYPE_CHECKING:
    from smartproxy.backend.schema import PartnerRow

_EXAMPLES = """\
  smartproxy partner outbound ACME --host oftp.acme.example --listener 3307
  smartproxy partner outbound ACME --verify pin                    (the certificates pinned for his own calls)
  smartproxy partner outbound ACME --verify odette --ca odette --subject-serial O0013000001ACME
  smartproxy partner outbound ACME --source 192.0.2.2 --identity second
  smartproxy partner outbound ACME --never

The station reaches him at port --listener of the client, or at the client's outbound listener (setting
client.outbound.port, 65433) with HTTP CONNECT or SOCKS5 to his host and port, or to his name."""

_PLAIN = ("host", "port", "server_name", "verify", "source", "identity", "listener")


def register(actions: Subparsers) -> None:
    """Declare the action."""
    parser = action(
        actions,
        "outbound",
        "Say how a partner is called: what is given replaces what was there, everything else stays.",
        outbound,
        _EXAMPLES,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--host", metavar="HOST", help="his name or address")
    parser.add_argument("--port", type=int, metavar="PORT", help="his port [6619]")
    parser.add_argument(
        "--server-name", metavar="HOST", help="the name that his certificate bears, if it is not the host's"
    )
    parser.add_argument(
        "--verify",
        choices=("name", "pin", "odette"),
        help="his certificate comes from a ca and bears the host's name; is pinned; comes from a ca and carries his "
        "Odette ID [name]",
    )
    parser.add_argument("--ca", metavar="NAME", help="the only ca that may certify him")
    parser.add_argument(
        "--certificate", action="append", default=[], metavar="FILE", help="for pin: this very certificate"
    )
    parser.add_argument("--pin-key", action="store_true", help="of each --certificate: any with the same key")
    parser.add_argument("--pin", action="append", default=[], metavar="SHA256", help="for pin: a certificate")
    parser.add_argument("--key", action="append", default=[], metavar="SHA256", help="for pin: a certificate's key")
    parser.add_argument(
        "--subject-serial", action="append", default=[], metavar="TEXT", help="for odette: his Odette ID; with --ca"
    )
    parser.add_argument("--source", metavar="ADDRESS", help="the server's address that he is called from [the site's]")
    parser.add_argument("--identity", metavar="NAME", help="the certificate of ours that he is shown [the first]")
    parser.add_argument("--listener", type=int, metavar="PORT", help="the client's port that stands for him [none]")
    parser.add_argument(
        "--default",
        action="append",
        default=[],
        choices=(*_PLAIN[1:], "ca", "certificates"),
        help="let this be as it is by default again",
    )
    parser.add_argument("--never", action="store_true", help="do not call him any more")


def outbound(console: Console) -> None:
    """Say how a partner is called."""
    from smartproxy.backend import outbound as store

    name = console.arguments.name
    values = _given(console)
    if console.arguments.never == bool(values):
        raise WrongUse("partner outbound: say how he is called (--host ...), or that he is not (--never)")
    with console.changing(f"partner outbound {name}") as making:
        row = store.put(making, name, values) if values else store.remove(making, name)
    console.answer({"name": row.name, "outbound": row.outbound}, listing({"partner": row.name, "called": words(row)}))


def words(row: "PartnerRow") -> list[str]:
    """How a partner is called, for people."""
    if row.outbound is None:
        return ["never"]
    said = dict(row.outbound)
    host = str(said.pop("host"))
    first = f"{f'[{host}]' if ':' in host else host}:{said.pop('port', 6619)}"
    return [first, *(f"{key.replace('_', ' ')} {value}" for key, value in said.items() if value not in (None, []))]


def _given(console: Console) -> dict[str, object]:
    """What the command line says, as the configuration document has it."""
    wanted = console.arguments
    values: dict[str, object] = {key: getattr(wanted, key) for key in _PLAIN if getattr(wanted, key) is not None}
    rules = [
        *({"by": each.by, "sha256": each.text} for each in (pinned(console, path) for path in wanted.certificate)),
        *({"by": "certificate", "sha256": plain_sha256(each)} for each in wanted.pin),
        *({"by": "key", "sha256": plain_sha256(each)} for each in wanted.key),
        *({"by": "subject", "authority": wanted.ca, "serial_number": each} for each in wanted.subject_serial),
    ]
    if wanted.subject_serial and wanted.ca is None:
        raise WrongUse("--subject-serial needs --ca: which ca certifies him?")
    if wanted.pin_key and not wanted.certificate:
        raise WrongUse("--pin-key goes with --certificate; a hash of a key is given with --key")
    if rules:
        values["certificates"] = rules
    elif wanted.ca is not None:
        values["authority"] = wanted.ca
    for key in wanted.default:
        values[{"ca": "authority"}.get(key, key)] = _DEFAULTS.get(key)
    return values


_DEFAULTS: dict[str, object] = {"port": 6619, "verify": "name", "certificates": []}
