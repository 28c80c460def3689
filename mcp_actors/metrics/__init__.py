"""Metrics for Prometheus. Other layers only count; here their counts get names, and are read when somebody asks."""
