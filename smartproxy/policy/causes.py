"""Why something happened: every cause that an event, a fault or the other daemon can name, each a stable code.

The one place for causes. A code is ``subject.what`` in lower case; it never changes its meaning, and is what detection
rules, scripts and the other daemon rely on. The sentence beside it, an event's ``message``, is for people and may
change. Rules of RFC 5024 that a peer breaks are not listed here: they stand with the code that judges them
(:mod:`smartproxy.oftp2`). Decides nothing.
"""

import enum
from typing import Self


class Cause(enum.StrEnum):
    """A cause; the value is its code.

    :ivar meaning: what the code says, in one sentence, for the documents.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Self:
        """Keep the meaning beside the code."""
        made = str.__new__(cls, code)
        made._value_ = code
        made.meaning = meaning
        return made

    # sessions and their legs

    LEG_LOST = "leg.lost", "The connection to one side was lost."

    # the tunnel

    TUNNEL_LOST = "tunnel.lost", "The tunnel between server and client was lost."

    # partners, the door and limits

    # certificates and revocation

    # calls to partners and what programs inside ask for

    # the station

    # the configuration, licence and identity

    # the daemons, their log and control socket

    CTL_SOCKET = "ctl.socket", "The control socket could not be opened."
    CTL_USER = "ctl.user", "Only root and the daemon's own user may use the control socket."
    LOG_FILE = "log.file", "A file of the log, or standard output, could not be written."
    LOG_OVERFLOW = "log.overflow", "Messages for a syslog are made faster than they are taken."
    LOG_RECEIVER = "log.receiver", "The syslog that receives messages cannot be reached."
    OPERATOR_COMMAND = "operator.command", "An operator asked for it with smartproxy ctl."
    OPERATOR_SIGNAL = "operator.signal", "The process got a signal."

    # the backend, its interface and store

    # the plain pair
