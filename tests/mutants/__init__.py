"""Mutations of the product, each of which a test has to notice: `python -m tests.mutants`, `make mutants`."""
