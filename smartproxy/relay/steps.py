"""The steps of a call to a partner, and how one daemon tells the other at which of them it failed.

Duty: the sentence of a failed call begins with the step's word, so that the daemon inside, which is told no more than
the sentence, can answer the station in the words of the way that it came.
"""

from typing import Final

from smartproxy.policy.faults import PartnerUnreachable, Step

__all__ = ["NO_ANSWER", "NO_ROUTE", "REFUSES", "TRIAL", "Step", "step_of", "unreachable"]


REFUSES: Final = "he refuses the connection"
NO_ROUTE: Final = "there is no route to him"
NO_ANSWER: Final = "he does not answer"

TRIAL: Final = "trial"
"""The way of a call that ends with the partner's SSRM, because an operator wants to know how far it gets."""


def unreachable(step: Step, cause: str) -> PartnerUnreachable:
    """The fault of a call that failed.

    :param cause: half a sentence of our own words; goes to the station.
    """
    return PartnerUnreachable(rule=step.cause, message=f"{step.label}: {cause}", step=step, cause=step.cause)


def step_of(message: str) -> Step | None:
    """The step that a fault's sentence begins with, if it does."""
    word, colon, _ = message.partition(": ")
    return next((step for step in Step if colon and step.label == word), None)
