"""The steps of a call to a partner, and how one daemon tells the other at which of them it failed.

Duty: the sentence of a failed call begins with the step's word, so that the daemon inside, which is told no more than
the sentence, can answer the station in the words of the way that it came.
"""

import enum
from typing import Final

from smartproxy.policy.faults import PartnerUnreachable


class Step(enum.StrEnum):
    """Where a call can fail, in the order in which it goes."""

    POLICY = "policy"
    """Whether this partner may be called now."""
    SOURCE = "source"
    """The address of ours that he is called from."""
    NAME = "name"
    """His address."""
    CONNECT = "connect"
    """The connection."""
    TLS = "TLS"
    """The handshake, and whether he is who he should be."""
    SSRM = "SSRM"
    """His greeting."""
    SSID = "SSID"
    """Who he says he is."""
    ESID = "ESID"
    """The end of a call that only looks whether all this works."""


REFUSES: Final = "he refuses the connection"
NO_ROUTE: Final = "there is no route to him"
NO_ANSWER: Final = "he does not answer"

TRIAL: Final = "trial"
"""The way of a call that ends with the partner's SSRM, because an operator wants to know how far it gets."""


def unreachable(step: Step, cause: str) -> PartnerUnreachable:
    """The fault of a call that failed.

    :param cause: half a sentence of our own words; goes to the station.
    """
    return PartnerUnreachable(rule=f"call.{step.name.lower()}", message=f"{step.value}: {cause}")


def step_of(message: str) -> Step | None:
    """The step that a fault's sentence begins with, if it does."""
    word, colon, _ = message.partition(": ")
    return next((step for step in Step if colon and step.value == word), None)
