"""Access tokens, keys and grants."""
