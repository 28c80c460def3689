"""Adapters move bytes between a web framework and connections."""
