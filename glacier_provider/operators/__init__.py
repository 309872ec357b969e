"""Thin operators: parse, open, one call into `backup` or `restore`, a small answer."""
