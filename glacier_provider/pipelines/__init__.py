"""What a person can ask for, a folder or a module each, top to bottom.

`backup` and `restore` are folders with a module a task. `delete`, `reconcile` and `rebuild` are each one module that
reads from its first function on; `costs` answers what all of it costs. What they share is in `shared`.
"""
