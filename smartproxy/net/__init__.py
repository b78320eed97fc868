"""Layer 3: Twisted meets the wire.

TLS towards partners, certificate verification, legs (connections as a session sees them), back-pressure, admission.
"""
