"""The ASGI adapter: the same site and endpoints under uvicorn, hypercorn and granian."""
