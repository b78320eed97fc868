"""The Virtual Files of a session, as its observer tells of them.

Duty: turn the commands that the monitor judged into the events ``file.started``, ``file.ended`` and ``file.response``.
Says only what the two entities said to each other; judges nothing and invents nothing.
Standards: RFC 5024 sections 5.3.3 to 5.3.10 and 5.3.13, 5.3.14.
"""

from collections.abc import Iterator

from smartproxy.oftp2.commands import EERP, EFID, EFNA, EFPA, NERP, SFID, SFNA, SFPA
from smartproxy.oftp2.monitor import Observation, Transfer
from smartproxy.oftp2.roles import Role
from smartproxy.relay.intents import Report


class FileLedger:
    """Follows the one Virtual File that can be under way, and the end responses."""

    def __init__(self, partner: Role) -> None:
        self._partner = partner
        self._offer: SFID | None = None
        self._sender = Role.INITIATOR
        self._octets = 0
        self._records: int | None = None

    def observe(self, observation: Observation) -> Iterator[Report]:
        """Take note of a command; yield what is to be told of it."""
        if observation.transfer is not None:
            self._octets = observation.transfer.octets
        match observation.value:
            case SFID() as offer:
                self._offer, self._sender, self._records = offer, observation.sender, None
            case SFPA() as accepted if self._offer is not None:
                offer = self._offer
                facts = {"size": offer.fsiz, "position": accepted.acnt, "restart": offer.rest > 0}
                yield Report("file.started", {**self._named(offer), **facts})
            case EFID() as end:
                self._records = end.rcnt
            case EFPA():
                yield from self._ended("completed")
            case (SFNA() | EFNA()) as refused:
                yield from self._ended("refused", answer=refused.reas, reason_text=refused.reast)
            case (EERP() | NERP()) as response:
                yield Report("file.response", self._response(response, observation.sender))

    def break_off(self, transfer: Transfer | None) -> Iterator[Report]:
        """The session ended: tell of the file that was under way, if one was, with what was sent of it."""
        if transfer is not None:
            self._octets = transfer.octets
        yield from self._ended("lost")

    def _ended(self, outcome: str, **answer: object) -> Iterator[Report]:
        if self._offer is None:
            return
        sent = {"size": self._offer.fsiz, "octets": self._octets, "records": self._records}
        yield Report("file.ended", {"outcome": outcome, **self._named(self._offer), **sent, **answer})
        self._offer, self._octets = None, 0

    def _named(self, offer: SFID) -> dict[str, object]:
        return {
            "link": self._link(self._sender),
            "sender": self._sender.name.lower(),
            "dataset": offer.dsn,
            "stamp": stamp(offer.date, offer.time),
            "originator": offer.orig,
            "destination": offer.dest,
            "format": offer.fmt,
        }

    def _response(self, response: EERP | NERP, sender: Role) -> dict[str, object]:
        fields: dict[str, object] = {
            "command": response.NAME,
            "link": self._link(sender),
            "sender": sender.name.lower(),
            "dataset": response.dsn,
            "stamp": stamp(response.date, response.time),
            "originator": response.orig,
            "destination": response.dest,
        }
        if isinstance(response, NERP):
            fields |= {"answer": response.reas, "reason_text": response.reast}
        return fields

    def _link(self, sender: Role) -> str:
        return "in" if sender is self._partner else "out"


def stamp(date: int, time: int) -> str:
    """A Virtual File's date and time stamp with its leading zeros: ``YYYYMMDD HHMMSScccc``, at old levels shorter."""
    return f"{date:08d} {time:010d}" if date > 999_999 else f"{date:06d} {time:06d}"
