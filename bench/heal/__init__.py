"""Proves that pairs heal: a mesh of browsers in networks of their own, whose frames a switch cuts, loses and delays."""
