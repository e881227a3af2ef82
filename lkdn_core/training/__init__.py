"""Training, never imported when a network only runs."""
