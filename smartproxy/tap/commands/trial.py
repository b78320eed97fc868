"""``smartproxy test-partner`` and ``test-station``: whether they can be reached, with nothing transferred."""

from typing import TYPE_CHECKING

from smartproxy.policy.faults import Step
from smartproxy.tap.commands.arguments import Subparsers, action, number
from smartproxy.tap.commands.console import Console, listing

if TYPE_CHECKING:
    from smartproxy.backend.journal import StoredEvent

_RESULT_LOOK_SECONDS = 0.25
"""How often the store is asked for the result."""
_TELL_SECONDS = 5
"""How often somebody who waits is told that nothing has come."""
_TOLD = (
    "host", "port", "peer", "tls", "cipher", "by", "ca", "subject", "issuer", "not_after", "certificate_sha256",
    "alert", "duration",
)  # fmt: skip


def register(subparsers: Subparsers) -> None:
    """Declare both commands."""
    partner = action(
        subparsers,
        "test-partner",
        "Call a partner from the DMZ up to its greeting, and report each step; nothing is transferred.",
        test_partner,
        "  smartproxy test-partner ACME",
    )
    partner.add_argument("name", metavar="NAME")
    station = action(
        subparsers,
        "test-station",
        "Connect from the client to the station up to its greeting, and report it; nothing is transferred.",
        test_station,
    )
    for parser in (partner, station):
        parser.add_argument(
            "--wait", type=number, default=45, metavar="SECONDS", help="how long to wait for the result [45]"
        )


def test_partner(console: Console) -> int:
    """Try a partner."""
    found = _tried(console, console.arguments.name)
    if found is None:
        return _unknown(console)
    good = found.name == "outbound.answered"
    failed = _failed(found)
    every = tuple(Step)
    steps = {step.label: "ok" for step in (every if good else every[: every.index(failed)])}
    if not good:
        steps[failed.label] = failed.worded(_why(found))
    _tell(console, found, {"partner": console.arguments.name, **steps}, good=good)
    return 0 if good else 1


def test_station(console: Console) -> int:
    """Try the station."""
    found = _tried(console, None)
    if found is None:
        return _unknown(console)
    good = found.name == "station.answered"
    result = {"connect": "ok", "SSRM": "ok"} if good else {"station": _why(found)}
    _tell(console, found, result, good=good)
    return 0 if good else 1


def _tried(console: Console, partner: str | None) -> "StoredEvent | None":
    """What came of a trial; nothing if that did not become known in time."""
    from smartproxy.backend.operations import trial as operations

    trial = console.call(operations.start, operations.TrialWanted(partner=partner))
    for look in range(round(console.arguments.wait / _RESULT_LOOK_SECONDS)):
        waited = look * _RESULT_LOOK_SECONDS
        if waited and waited % _TELL_SECONDS == 0:
            console.warn(f"no client has reported a result yet; {waited:g} of {console.arguments.wait} s are over")
        found = console.call(operations.result, trial).event
        if found is not None:
            return found.stored()
        console.sleep(_RESULT_LOOK_SECONDS)
    return None


def _failed(found: "StoredEvent") -> Step:
    """The step at which a trial failed; the first one if the event names none."""
    said = str(found.fields.get("step", ""))
    return next((step for step in Step if step == said), Step.POLICY)


def _why(found: "StoredEvent") -> str:
    """Why a trial failed, for people."""
    return str(found.fields.get("message", found.fields.get("cause", "")))


def _unknown(console: Console) -> int:
    console.warn(
        f"no client reported a result within {console.arguments.wait} s; does a client run, with its tunnel up? "
        "'smartproxy client list' and 'smartproxy events' say more"
    )
    return 1


def _tell(console: Console, found: "StoredEvent", result: dict[str, str], *, good: bool) -> None:
    more = {name: str(found.fields[name]) for name in (*_TOLD, "advice") if name in found.fields}
    document = {"good": good, "event": found.name, "session": found.fields.get("session"), **result, **more}
    console.answer(document, listing({**result, **more}))
