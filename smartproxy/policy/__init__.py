"""Layer 1: decisions on plain facts.

The configuration document, who a partner is, certificates and revocation, limits, penalties, the licence. Everything
needed for a decision, the time included, is an argument; nothing here opens a socket or a file, or reads a clock.
"""
