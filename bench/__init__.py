"""Measurements: `make bench`. bench/README.md says how to read them, harness.py how they are taken."""
