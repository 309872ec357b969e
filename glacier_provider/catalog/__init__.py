"""What was backed up, where it lies, what was asked back. Start with `catalog.py`; the SQL is in ``sql/``."""
