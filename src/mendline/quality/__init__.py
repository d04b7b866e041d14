"""Is the data as it must be: checks, one-pass counts, the quarantine."""
