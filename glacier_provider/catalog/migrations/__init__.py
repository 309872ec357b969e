"""How the schema got to where it is: one numbered step each, never changed once released."""
