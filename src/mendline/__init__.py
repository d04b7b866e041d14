"""Mendline: the on-call engineer for data pipelines."""

__version__ = "0.1.0"
