"""PostgreSQL's own regression database, dumped and restored in every way that there is: ``make corpus``."""
