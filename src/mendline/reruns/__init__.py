"""What must be known before a stage is run again, with what configuration, and what is kept of it afterwards."""
