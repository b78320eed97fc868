"""Seeded mutation of sessions against the protocol core: ``python -m tests.fuzz --executions N --seed S``."""
