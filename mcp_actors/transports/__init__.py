"""Frames in, frames out: the WebSocket endpoints, and plain HTTP."""
