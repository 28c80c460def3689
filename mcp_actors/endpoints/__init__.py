"""The meaning of requests, for each path of the server."""
