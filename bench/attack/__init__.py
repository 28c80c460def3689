"""What hostile clients do, and whether others notice: `python -m bench attack`."""
