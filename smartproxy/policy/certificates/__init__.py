"""Certificates judged from facts: which peer is let in, which is called, and the exact cause of each refusal."""
