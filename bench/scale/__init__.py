"""How one process fares with very many connections, very many rooms, and one very large room."""
