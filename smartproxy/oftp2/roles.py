"""Who speaks, in which release of the protocol, and how literally the RFC is read.

The vocabulary shared by every module of the protocol core. Standards: RFC 5024 sections 1.4, 5.3.2; RFC 2204.
"""

import enum
from typing import Final


class Symbol(enum.Enum):
    """An enumeration for keys of tables: its members are found by identity, as there is one of each.

    ``enum.Enum`` would call a function of Python for each look into a table, which is many for each command.
    """

    __hash__ = object.__hash__


class Role(Symbol):
    """The two ends of a session (RFC 5024 section 4.2): who took up the connection and who answered it.

    :ivar word: the role in lower case, as events have it.
    :ivar other: the opposite end.
    """

    INITIATOR = "I"
    RESPONDER = "R"

    def __init__(self, letter: str) -> None:
        self.word = "initiator" if letter == "I" else "responder"
        self.other: Role


Role.INITIATOR.other, Role.RESPONDER.other = Role.RESPONDER, Role.INITIATOR
ROLES: Final = tuple(Role)
"""Both; going through the enumeration itself takes Python calls."""


class Level(enum.IntEnum):
    """SSIDLEV, the protocol release level that the layouts of commands depend on (RFC 5024 section 5.3.2)."""

    OFTP_1_2 = 1
    OFTP_1_3 = 2
    OFTP_1_4 = 4
    OFTP_2_0 = 5

    @property
    def label(self) -> str:
        """The release as people write it, such as ``2.0``."""
        return self.name.removeprefix("OFTP_").replace("_", ".")


class Profile(Symbol):
    """How departures from RFC 5024 that living programs are known for are treated.

    ``DEFAULT`` accepts a fixed list of them and records an anomaly; ``STRICT`` refuses each with its reason code.
    """

    DEFAULT = "default"
    STRICT = "strict"
