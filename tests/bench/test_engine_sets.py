from __future__ import annotations

from bench.engine import AOF_EVERYSEC
from bench.engine_sets import ClusterSet, SentinelSet, ask


def test_a_replica_takes_over_from_a_killed_primary() -> None:
    with SentinelSet(options=AOF_EVERYSEC) as engines:
        assert engines.url.startswith("redis+sentinel://127.0.0.1:")
        assert engines.url.endswith("/mymaster")
        ask(engines.primary(), "SET", "key", "value")
        ask(engines.primary(), "WAIT", 1, 1000)
        killed = engines.kill_primary()
        engines.wait_for_failover()
        assert engines.primary() is not killed
        assert ask(engines.primary(), "GET", "key") == "value"


def test_a_cluster_survives_one_of_its_primaries() -> None:
    with ClusterSet() as engines:
        assert engines.url.count("127.0.0.1:") == 6
        assert len(engines.primaries()) == 3
        killed = engines.kill_primary()
        engines.wait_for_failover()
        assert len(engines.primaries()) == 3
        assert killed not in engines.primaries()
