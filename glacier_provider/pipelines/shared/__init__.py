"""What the steps of every pipeline share: the lease, many things at a time, the gravest of many errors, progress."""
