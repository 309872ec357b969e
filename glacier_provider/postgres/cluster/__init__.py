"""What a database needs of its server and does not hold itself: tablespaces, its own properties, roles."""
