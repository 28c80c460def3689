"""Seeds that once found a fault, replayed for ever; what they found is in the messages of the commits that fixed it."""

KEPT = (86, 6, 21, 22, 145, 150, 182, 193, 199, 240, 321, 348, 544)

FIXED = (1, 2, 3)
"""Other seeds that every run of the tests repeats."""
