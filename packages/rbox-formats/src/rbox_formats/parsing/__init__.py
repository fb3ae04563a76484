"""Parse files from outside: lines, JSON values and XML elements, with errors that name their place."""
