"""Whole daemons over real sockets."""
