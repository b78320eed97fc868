"""Ports that stay a test's or a benchmark's own, also while nothing listens at them."""

import socket

__all__ = ["held_port"]

_HELD: list[socket.socket] = []


def held_port(host: str = "127.0.0.1") -> int:
    """A port at which nobody answers until a program of this test or benchmark is told to listen there.

    A socket that does not listen holds it as long as this process lives. Linux lets programs listen beside it
    that set SO_REUSEADDR, as servers do, and gives the port to nobody who asks for any: a port that was only free a
    moment ago, or is free between two daemons, may be another test's by then.
    """
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    _HELD.append(holder)
    port: int = holder.getsockname()[1]
    return port
