"""`python -m mcp_actors`."""

import sys

from mcp_actors.cli import main

if __name__ == "__main__":
    sys.exit(main())
