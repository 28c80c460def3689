"""Whether a client keeps what PROTOCOL.md says: `python -m mcp_actors.conformance client -- COMMAND`.

COMMAND starts an adapter, which carries out commands with the client; docs/reference/client-conformance.md describes
it. Each check is a server that does what clients must expect: it cuts connections, refuses them, is silent, or sends
messages of a later version. The extra `client` installs what it needs.
"""
