"""Counts of what happens in this process: plain integers, dictionaries and buckets, which `metrics` reads."""
