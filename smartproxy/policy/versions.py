"""Which versions of SmartProxy's parts work together: one rule for all pairs, and its words.

Two parts work together if there is a protocol that both speak. A protocol is a number for all that parts say to each
other: the tunnel of either pair, the backend's API, and the documents that travel through both. Each part says its
version and which protocols it speaks; the newest one in common is used. If there is none, the part that speaks the
older ones has to be updated, and whoever finds out says so, with both versions. Versions themselves decide nothing.

The number rises with each change after which a part of before would misunderstand, or refuse, what it is told. How a
part says all this (the tunnel's Hello, the API's headers) never changes.
"""

import re
from typing import Final

import attrs

BACKEND: Final = "smartproxy-backend"
OLDEST: Final = 3
NEWEST: Final = 3
BEFORE: Final = 2
"""What parts spoke that do not say so to the backend."""
_SPOKEN: Final = re.compile("([0-9]{1,4})(?:-([0-9]{1,4}))?")


@attrs.frozen(kw_only=True)
class Part:
    """What a part says about itself.

    :ivar program: its name, such as ``smartproxy-client``.
    :ivar version: its version.
    :ivar oldest: the oldest protocol that it speaks.
    :ivar newest: the newest protocol that it speaks.
    """

    program: str
    version: str
    oldest: int = OLDEST
    newest: int = NEWEST

    @property
    def spoken(self) -> str:
        """The protocols, as in the header ``SmartProxy-Protocol``."""
        return f"{self.oldest}" if self.oldest == self.newest else f"{self.oldest}-{self.newest}"

    @property
    def headers(self) -> dict[str, str]:
        """What it says of itself in a call of the API, and in an answer."""
        return {"SmartProxy-Version": self.version, "SmartProxy-Protocol": self.spoken}

    @classmethod
    def told(cls, program: str, version: str, spoken: str | None) -> "Part":
        """A part of which *spoken* is told; of one that says nothing, the protocol of before.

        :raises ValueError: if this is not in the form of :attr:`spoken`.
        """
        if spoken is None:
            return cls(program=program, version=version, oldest=BEFORE, newest=BEFORE)
        match = _SPOKEN.fullmatch(spoken)
        if match is None:
            raise ValueError("not a protocol's number")
        return cls(program=program, version=version, oldest=int(match[1]), newest=int(match[2] or match[1]))

    def __str__(self) -> str:
        return f"{self.program} {self.version} (protocol {self.spoken.replace('-', ' to ')})"


class PartsApart(Exception):
    """Two parts speak no protocol in common.

    :ivar message: which two.
    :ivar advice: which one to update.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(f"{message}: {advice}")
        self.message = message
        self.advice = advice


def agree(one: Part, other: Part) -> int:
    """The protocol that both use.

    :raises PartsApart: if they have none in common; the words are the same whoever asks.
    """
    newest = min(one.newest, other.newest)
    if newest >= max(one.oldest, other.oldest):
        return newest
    older, newer = sorted((one, other), key=lambda part: part.newest)
    raise PartsApart(
        f"{older} and {newer} cannot work together",
        f"update {older.program} to a version that speaks protocol {newer.oldest}, such as {newer.version}",
    )
