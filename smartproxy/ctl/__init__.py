"""The control socket: how an operator on the same machine asks a running daemon, and tells it what to do.

Layer 3; imports what lies below, and ``logs``.
"""
