"""Calls to partners: how the server dials one, proves it, and runs the session."""
