"""The version, alone in its module so that the build reads it without importing anything else."""

__version__ = "0.1.0"
RELEASED = "2026-11-01"
"""The day before which this version was not made, in UTC: no clock is right that shows an earlier one."""
