"""Certificates judged from facts: who is let in, who is called, and the exact cause of each refusal."""
