"""What a failed exchange of HTTP is told as: the words for what Twisted's client meets, and wraps.

Duty: look into the errors that the client wraps, and name what happened in words for operators. Never tells the octets
that the far end sent in the place of an answer.
"""

from collections.abc import Iterator
from typing import Any, Final

from twisted.internet.error import ConnectionClosed
from twisted.web._newclient import BadHeaders, BadResponseVersion, ParseError
from twisted.web.http import PotentialDataLoss, _DataLoss, _MalformedChunkedDataError

from smartproxy.net.transport.error_words import connection_words

NO_HTTP: Final = "what answers there does not speak HTTP"
CUT_OFF: Final = "its answer was cut off"
_FOREIGN: Final = (ParseError, BadHeaders, BadResponseVersion, _MalformedChunkedDataError, ValueError)
"""Of octets that are no answer; Twisted's reader of headers raises plain ValueErrors, too."""


def innermost(error: BaseException) -> Iterator[BaseException]:
    """The errors that an error of Twisted's HTTP client wraps; the error itself if it wraps none."""
    reasons: list[Any] = getattr(error, "reasons", None) or []
    if not reasons:
        yield error
    for each in reasons:
        yield from innermost(each.value)


def exchange_words(error: BaseException) -> str:
    """Why an exchange failed."""
    met = list(innermost(error))
    if any(isinstance(each, _FOREIGN) for each in met):
        return NO_HTTP
    if any(isinstance(each, _DataLoss | PotentialDataLoss) for each in met):
        return CUT_OFF
    # What happened to the connection afterwards is a consequence.
    causes = [each for each in met if not isinstance(each, ConnectionClosed)] or met
    return "; ".join(dict.fromkeys(map(connection_words, causes)))
