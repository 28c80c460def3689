"""Seeds that once found a fault, replayed for ever; what they found is in the messages of the commits that fixed it."""

FIRST = (
    *(86, 6, 21, 22, 145, 150, 182, 193, 199, 240, 321, 348, 544),
    *(335, 414, 461, 513, 605, 752, 1031, 1055, 23106),
)

SECOND = (66, 145, 337, 1016, 2032, 2049, 2096, 3149, 699938330)

THIRD = (13, 44, 23001, 23017, 23101, 23113)

KEPT = (*((seed, 1) for seed in FIRST), *((seed, 2) for seed in SECOND), *((seed, 3) for seed in THIRD))
"""Each with its era; see `plan.ERAS`."""

REPORTED = ((151, 2), (20016, 2), (23010, 3), (23109, 3))
"""Those that once failed with a receiver of webhooks, which changes the course of a run."""

OPEN = (
    (500002, 3),  # outages with lost data: a member that moves is told twice that a peer has left
    (600025, 3),  # nodes are fenced: four acknowledged messages of a user are lost
    *((600053, 3), (600121, 3), (600150, 3), (700013, 3)),  # a member joins again although it had left
    *((600170, 3), (700067, 3)),  # false leaves
)
"""Seeds that fail, each with its era: what they find is not fixed yet."""

FIXED = tuple((seed, 3) for seed in (1, 7, 12, 22))
"""Other seeds that every run of the tests repeats."""
