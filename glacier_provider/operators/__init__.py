"""Thin operators: parse, open, one call of a pipeline, a small answer."""
