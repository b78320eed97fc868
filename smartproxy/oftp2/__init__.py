"""Layer 0: OFTP2 (RFC 5024) without sockets, clocks or configuration.

Fields, commands, their codec, the Stream Transmission Buffer, subrecords, negotiation, the witness table and the
session monitor. Depends on attrs alone; trusts no octet; never opens anything, never logs, never reads a clock.
"""
