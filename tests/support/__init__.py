"""Real parts for the tests and the demo: servers that start, stop and vanish with their process."""
