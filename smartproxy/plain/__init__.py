"""Layer 4: the plain pair, which carries any TCP protocol through the same tunnel and inspects nothing."""
