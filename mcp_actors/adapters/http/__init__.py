"""Plain HTTP, whichever framework moves the bytes: pages, limits of requests, and what a handshake must have."""
