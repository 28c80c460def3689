"""A folder for PYTHONPATH, with which aioice uses the loopback in other processes."""
