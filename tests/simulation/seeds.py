"""Seeds that once found a fault, replayed for ever; what they found is in the messages of the commits that fixed it."""

FIRST = (
    *(86, 6, 21, 22, 145, 150, 182, 193, 199, 240, 321, 348, 544),
    *(335, 414, 461, 513, 605, 752, 1031, 1055),
)

SECOND = (66, 145, 337, 1016, 2032, 2049, 2096)

KEPT = (*((seed, 1) for seed in FIRST), *((seed, 2) for seed in SECOND))
"""Each with its era; see `plan.ERAS`."""

OPEN = ((3149, 2),)
"""Seeds that fail, each with its era: what they find is not fixed yet.

Messages that were sent to a process before it was fenced are read again, and delivered twice.
"""

FIXED = tuple((seed, 2) for seed in (1, 2, 3))
"""Other seeds that every run of the tests repeats."""
