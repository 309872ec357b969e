"""PostgreSQL's client tools: `server` says where, `find` which, `commands` how they are called, `run` calls them."""
