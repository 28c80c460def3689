"""A signaling server for WebRTC: peers find each other in rooms and exchange offers, answers and ICE candidates."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("mcp_actors")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
