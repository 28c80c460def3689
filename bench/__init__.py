"""The bench suite: measures mcp_actors, alone or compared with other servers. Start it with `python -m bench`."""
