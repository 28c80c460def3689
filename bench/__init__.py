"""The bench suite: what mcp_actors costs, beside other servers that do the same. Start it with `python -m bench`."""
