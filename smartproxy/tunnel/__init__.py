"""Layer 3: the connection between server and client.

Control over bounded AMP, tickets, and data connections that are used again; both ends pinned, TLS 1.3 only.
"""
