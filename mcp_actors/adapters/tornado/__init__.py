"""The Tornado adapter: HTTP server, WebSocket handshake and the fast frame loop."""
