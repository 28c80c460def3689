"""All faults of `bench chaos` in turn, for ten minutes or longer, while memory is watched."""
