"""The rules of rooms: requests and events in, effects out. Pure: no I/O, no clock, no asyncio."""
