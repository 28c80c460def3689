"""Whether a server keeps what PROTOCOL.md says: `python -m mcp_actors.conformance URL`.

Each requirement has an id, such as `JOIN-1`, and a check. Checks use the wire alone, so they judge any server. The
extra `client` installs what they need.
"""
