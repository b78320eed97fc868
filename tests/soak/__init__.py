"""Longer runs of whole daemons, under ``make soak``: bounded in count and time, and not part of ``make test``."""
