"""Layer 3: the event catalogue and what writes events down."""
