"""Mutations of the protections: each has to make a test fail."""
