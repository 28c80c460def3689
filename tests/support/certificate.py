"""A self-signed certificate for TLS tests."""

from bench.certificate import make_certificate

__all__ = ["make_certificate"]
