"""Ids, messages, events, errors and their encoding, as PROTOCOL.md specifies them. Pure: no I/O, no clock."""
