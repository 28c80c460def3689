"""What follows from what is said: who is in a room and who hears what. Pure: no I/O, no clock, no asyncio."""
