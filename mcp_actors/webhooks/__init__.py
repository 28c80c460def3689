"""Webhooks: the application is told by signed HTTP requests who joins and leaves, and which rooms there are."""
