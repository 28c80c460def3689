"""Imported by Python at its start: aioice leaves the loopback out, which may be the only network of a machine."""

import aioice.ice

aioice.ice.get_host_addresses = lambda *_args, **_kwargs: ["127.0.0.1"]
