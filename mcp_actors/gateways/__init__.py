"""Gateways: other wire protocols on the same rooms, sessions and broker."""
