"""The relayed messages: an ICE candidate and an offer as browsers write them."""

from __future__ import annotations

from typing import Any, NamedTuple

STAMP = "~"
"""Precedes the time of sending in a message; occurs nowhere else in it."""

TIME_DIGITS = 19
INDEX_DIGITS = 4

CANDIDATE: dict[str, Any] = {
    "candidate": "candidate:842163049 1 udp 2122260223 192.0.2.1 9321 typ host generation 0 ufrag EsAw network-id 1",
    "sdpMLineIndex": 0,
    "sdpMid": "0",
}

_SESSION = """\
v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS 7d0a1c3e-2f7c-4d0f-9a0b-1f2e3d4c5b6a
"""
_MEDIA = """\
m={media} 9 UDP/TLS/RTP/SAVPF {numbers}
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F
a=setup:actpass
a=mid:{mid}
a=extmap:1 urn:ietf:params:rtp-hdrext:toffset
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:7d0a1c3e-2f7c-4d0f-9a0b-1f2e3d4c5b6a 0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9
a=rtcp-mux
a=rtcp-rsize
"""
_AUDIO = {111: "opus/48000/2", 63: "red/48000/2", 9: "G722/8000", 0: "PCMU/8000", 8: "PCMA/8000"}
_VIDEO = {
    96: "VP8/90000",
    97: "rtx/90000",
    102: "H264/90000",
    103: "rtx/90000",
    98: "VP9/90000",
    99: "rtx/90000",
    45: "AV1/90000",
}


def _media(media: str, mid: int, codecs: dict[int, str]) -> str:
    lines = _MEDIA.format(media=media, mid=mid, numbers=" ".join(map(str, codecs)))
    for number, codec in codecs.items():
        lines += f"a=rtpmap:{number} {codec}\n"
        if codec.startswith("rtx"):
            lines += f"a=fmtp:{number} apt={number - 1}\n"
        if codec.startswith(("VP", "H264", "AV1")):
            lines += "".join(
                f"a=rtcp-fb:{number} {kind}\n" for kind in ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
            )
    return lines + "a=ssrc:1001 cname:4TOk42mSjXCkVIa6\n"


SDP = (_SESSION + _media("audio", 0, _AUDIO) + _media("video", 1, _VIDEO)).replace("\n", "\r\n")

PAYLOADS: dict[str, dict[str, Any]] = {
    "candidate": {"candidate": CANDIDATE},
    "offer": {"offer": {"type": "offer", "sdp": SDP}},
    "answer": {"answer": {"type": "answer", "sdp": SDP}},
}


class Stamp(NamedTuple):
    """The mark that a message carries: the time of sending in ns, the kind, and the index of the sender."""

    time: int
    kind: str
    sender: int


def blank_stamp(kind: str, sender: int) -> str:
    """Return a stamp with a time of 0."""
    return f"{STAMP}{0:0{TIME_DIGITS}d}{kind[0]}{sender:0{INDEX_DIGITS}d}"


def read_stamp(frame: bytes, at: int) -> Stamp:
    """Read the stamp that begins at an offset in a frame."""
    kind = at + 1 + TIME_DIGITS
    return Stamp(int(frame[at + 1 : kind]), chr(frame[kind]), int(frame[kind + 1 : kind + 1 + INDEX_DIGITS]))


class Template:
    """A frame to be sent repeatedly, with a new time in it each time."""

    __slots__ = ("_head", "_tail")

    def __init__(self, text: str) -> None:
        head, mark, rest = text.partition(STAMP)
        self._head = (head + mark).encode()
        self._tail = rest[TIME_DIGITS:].encode()

    def at(self, now: int) -> bytes:
        """Return the frame as sent at `now` ns."""
        return b"%b%019d%b" % (self._head, now, self._tail)
