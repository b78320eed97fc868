"""Hello: whether two daemons can work together.

Each side says its program version and the range of tunnel protocols that it speaks. The newest that both speak is
used; when there is none, both refuse with the same sentence, which names both versions and what to update. The Hello
command itself never changes.
"""

from typing import Final

import attrs

from smartproxy.tunnel.errors import VersionsIncompatible

OLDEST: Final = 1
NEWEST: Final = 1


@attrs.frozen(kw_only=True)
class Greeting:
    """What a daemon says about itself.

    :ivar program: ``smartproxy-server`` or ``smartproxy-client``.
    :ivar version: the program's version.
    :ivar oldest: the oldest tunnel protocol that it speaks.
    :ivar newest: the newest tunnel protocol that it speaks.
    """

    program: str
    version: str
    oldest: int = OLDEST
    newest: int = NEWEST

    def __str__(self) -> str:
        spoken = f"{self.oldest}" if self.oldest == self.newest else f"{self.oldest} to {self.newest}"
        return f"{self.program} {self.version} (tunnel protocol {spoken})"


def agree(one: Greeting, other: Greeting) -> int:
    """The tunnel protocol that both use.

    :raises VersionsIncompatible: when there is none.
    """
    newest = min(one.newest, other.newest)
    if newest >= max(one.oldest, other.oldest):
        return newest
    older, newer = sorted((one, other), key=lambda greeting: greeting.newest)
    raise VersionsIncompatible(
        f"{older} and {newer} cannot work together: "
        f"update {older.program} to a version that speaks tunnel protocol {newer.oldest}, such as {newer.version}"
    )
