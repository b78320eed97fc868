"""Layer 2: one relayed session as a function from events to intents.

Knows who is told what when something breaks. Knows no transport, no clock, no log: those are intents carried out above.
"""
