"""The token by which the backend knows the client: read at the start, and again when the backend refuses it.

Duty: hold the token, and read its file anew, seldom enough that a backend that refuses every call costs nothing. Trusts
nobody with the token: it is in no message and in no event.
"""

from collections.abc import Callable

import attrs

AGAIN_SECONDS = 5.0
"""The file is read again no sooner than so long after the last time."""


@attrs.define(eq=False)
class TokenInForce:
    """What the client proves itself by at the backend; a new one in its file comes into force without a restart.

    :ivar text: the token itself.
    :param read: reads its file again; ``None`` where it is in no file that changes while the client runs. Raises
        ``ValueError`` where the file holds none.
    """

    text: str = attrs.field(repr=False)
    _read: Callable[[], str] | None = attrs.field(default=None, repr=False)
    _followers: list[Callable[[], None]] = attrs.field(factory=list, init=False, repr=False)
    _looked: float | None = attrs.field(default=None, init=False)

    def follow(self, changed: Callable[[], None]) -> None:
        """Call this whenever there is another token."""
        self._followers.append(changed)

    def renewed(self, refused: str, seconds: float) -> bool:
        """Whether there is another token than the one that the backend refused.

        :param refused: the token that was refused.
        :param seconds: the time, on a clock that only goes on.
        """
        if self.text != refused:
            return True
        if self._read is None or (self._looked is not None and seconds - self._looked < AGAIN_SECONDS):
            return False
        self._looked = seconds
        try:
            found = self._read()
        except ValueError:
            # It is being written, perhaps; the refusal itself is told.
            return False
        if found == refused:
            return False
        self.text = found
        for changed in self._followers:
            changed()
        return True
