"""Notifications through SQS: `setup` makes queue and rules, `receive` takes the messages."""
