"""The API servers of the reference pipeline's world."""
