"""What is said: ids, messages, events, errors and their encoding; PROTOCOL.md specifies it. Pure: no I/O, no clock."""
