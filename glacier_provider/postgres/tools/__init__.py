"""PostgreSQL's client tools: `server` says where a database is, `find` which tools fit it, `options` what is asked of
them, `commands` how they are called, and `run` calls them.
"""
