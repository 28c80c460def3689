"""Hostile clients, and whether other clients notice them: `python -m bench attack`."""
