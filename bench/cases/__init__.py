"""The cases, a module for each target; each has a tuple `CASES`."""
