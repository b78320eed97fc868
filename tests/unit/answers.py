"""Answers on the control socket as the command finds them: written by the daemon's end, read by the command's."""

import json
from typing import Any, TypeVar

from smartproxy.ctl.protocol import Request, done, read_answer

A = TypeVar("A")


def on_the_wire(request: Request[A], answer: A) -> Any:
    """The document of an answer, of which the far end loses nothing."""
    line = done(request, answer)
    document = json.loads(line)["answer"]
    assert request.answer.write(read_answer(request, line)) == document, line
    return document


def as_read(request: Request[A], document: object) -> A:
    """The answer that a document is."""
    found: A = request.answer.read(document, "answer")
    return found
