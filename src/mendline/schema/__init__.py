"""Schema change: what is different, what a new name replaces, and the view that gives a stage what it expects."""
