"""What the steps of every pipeline share: step and lease, parallel work, group commits, errors, progress, staging."""
