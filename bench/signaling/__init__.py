"""The same signaling scenarios against servers that are used for it: `python -m bench signaling`."""
