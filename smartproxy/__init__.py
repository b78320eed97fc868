"""SmartProxy: a security proxy for OFTP2 (RFC 5024) on Twisted."""

from smartproxy._version import __version__

__all__ = ["__version__"]
