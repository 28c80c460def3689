"""Whether a room that spans processes keeps its promises while things break, judged from outside.

Peers talk over real WebSockets to several nodes on one engine, while a fault strikes: connections to the engine are
cut, the engine restarts, a node is killed or frozen. An observer counts what every peer was promised and what it got.
"""
