"""The HTTP API for operators: what it shows and changes, one module per noun."""
