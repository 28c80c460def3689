"""What is read from descriptions and written into them."""

from __future__ import annotations

from mcp_actors.client.aiortc.session_description import (
    announces_heartbeat,
    candidate_types,
    described,
    has_data_channels,
    new_session,
    session_of,
)

SDP = "v=0\r\no=- 17 17 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


def test_a_description_has_the_session_of_its_connection_and_announces_the_heartbeat() -> None:
    session = new_session()
    text = described(SDP, session, with_heartbeat=True)
    assert session_of(text) == str(session)
    assert announces_heartbeat(text)
    assert "t=0 0\r\na=mcp-actors-heartbeat:255 no-restart\r\nm=" in text
    assert not announces_heartbeat(described(SDP, session, with_heartbeat=False))
    assert new_session() != session


def test_announcements_of_others_are_read() -> None:
    for line, announces in (("255", True), ("255 no-restart", True), ("256", False), ("2555", False)):
        assert announces_heartbeat(SDP + f"a=mcp-actors-heartbeat:{line}\r\n") is announces


def test_sections_and_candidates_are_found() -> None:
    assert has_data_channels(SDP)
    assert not has_data_channels(SDP.replace("m=application 9", "m=application 0"))
    assert session_of("nothing") is None
    line = "candidate:1 1 udp 1 192.0.2.1 9 typ {} raddr 0.0.0.0 rport 9\r\n"
    assert candidate_types(f"{SDP}a={line.format('host')}a={line.format('relay')}") == {"host", "relay"}
