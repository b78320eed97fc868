"""Twisted protocols on in-memory transports and fake clocks."""
