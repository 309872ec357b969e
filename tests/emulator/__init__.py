"""Test equipment: servers that behave as AWS does, with a clock that moves and faults on demand."""
