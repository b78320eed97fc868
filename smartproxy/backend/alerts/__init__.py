"""What the backend does so that somebody hears of an event: it silences what is known, and starts script and mail."""
