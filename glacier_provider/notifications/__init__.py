"""Notifiers, for callbacks of anybody's DAGs."""
