"""The fifteen stages of the reference pipeline: plain functions that know no engine."""
