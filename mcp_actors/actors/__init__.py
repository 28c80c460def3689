"""One mailbox per room: rooms are Pykka actors on the asyncio loop, without a thread each."""
