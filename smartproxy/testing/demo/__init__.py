"""The demonstration: a whole site, its partners, files through it, and attacks on it.

Everything runs on this machine, on loopback: the three daemons, a station and the partners as processes of their own,
set up with the project's own commands. All files are in one folder; no process outlives it.
"""
