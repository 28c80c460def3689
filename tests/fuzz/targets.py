"""Fuzz targets: functions called with arbitrary bytes, and the invariants they check."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

from mcp_actors.protocol.codec import (
    Limits,
    encode,
    error_message,
    peer_decoder,
    relayed,
    sender_stamp,
    user_decoder,
)
from mcp_actors.protocol.errors import BadMessage, MessageTooBig
from mcp_actors.protocol.messages import Authenticate, Kick, Message, Offer, RoomRequest, Targeted
from mcp_actors.ws.frames import INVALID_DATA, PROTOCOL_ERROR, TOO_BIG, FrameError, FrameReader
from tests.support.streams import (
    LIMIT,
    Recorder,
    read,
    read_by_websockets,
    websockets_counts_a_control_frame,
    websockets_waits,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Limits(message_bytes=1024, metadata_bytes=128, id_length=32)
DECODERS = (peer_decoder(LIMITS), user_decoder(LIMITS))
MOST_OF_AN_ERROR = 2048
"""Bytes of an `error` message: it quotes only a little of a wrong message."""

DEEPEST = 500
"""Nesting up to which Python's own JSON decoder can check an accepted message."""

OURS_ALONE = ("in as few bytes as it can", "at most 125 bytes")
"""Rules of RFC 6455 about lengths that the reference library does not enforce."""

SENDER = sender_stamp('mal"lory\\')


def codec(data: bytes) -> None:
    """A message is either refused with a short, valid error, or the relayed text says what was validated."""
    for decoder in DECODERS:
        try:
            message: Any = decoder.decode(data)
        except (BadMessage, MessageTooBig) as error:
            _check_refusal(error)
            continue
        if _is_utf8(data) and data.count(b"[") + data.count(b"{") < DEEPEST:
            _check(message, data)


def _check_refusal(error: BadMessage | MessageTooBig) -> None:
    told = encode(error_message(error))
    assert json.loads(told)["payload"]["code"] == error.code
    assert len(told) <= MOST_OF_AN_ERROR


def _check(message: Any, data: bytes) -> None:
    """Another JSON decoder reads the same values from an accepted message."""
    said = json.loads(data.removeprefix(BOM_UTF8))
    assert said["type"] == message.__struct_config__.tag
    assert said.get("id") == message.id
    if isinstance(message, RoomRequest):
        assert said["room"] == message.room
    if isinstance(message, Targeted):
        assert said["payload"]["target_peer_id"] == message.payload.target_peer_id
    if isinstance(message, Kick):
        whom = (message.payload.peer_id, message.payload.user_id)
        assert whom == tuple(said["payload"].get(name) for name in ("peer_id", "user_id"))
        assert whom.count(None) == 1
    if isinstance(message, Authenticate):
        assert said["payload"]["token"] == message.payload.token
        assert repr(message.payload) == "AuthenticatePayload(***)"
    if isinstance(message, Targeted | Message):
        _check_stamped(message, data, said)


def _check_stamped(message: Any, data: bytes, said: dict[str, Any]) -> None:
    """The stamp adds the sender, and to an offer its number, once each, and nothing else."""
    number, added = 0, ["sender"]
    if isinstance(message, Offer):
        number, added = 7, ["sender", "negotiation"]
    names: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names[:] = [name for name, _ in pairs]  # of the outermost object, which ends last
        return dict(pairs)

    passed_on = json.loads(relayed(SENDER, data, negotiation=number).frame, object_pairs_hook=note)
    assert names[: len(added)] == added
    assert not set(added) & set(names[len(added) :])
    assert passed_on["sender"] == 'mal"lory\\'
    assert repr({name: passed_on[name] for name in said}) == repr(said)  # repr, as NaN is not itself


def frames(data: bytes) -> None:
    """However a stream is cut, the same frames are read, and another implementation reads them too."""
    if not data:
        return
    step, stream = data[0] % 32 + 1, data[1:]
    events, code = read(stream)
    cut = [stream[at : at + step] for at in range(0, len(stream), step)]
    assert read(*cut) == (events, code)
    assert code in {None, PROTOCOL_ERROR, INVALID_DATA, TOO_BIG}
    expected, expected_code = read_by_websockets(stream)
    if expected_code == TOO_BIG and websockets_counts_a_control_frame(stream):
        assert events[: len(expected)] == expected[: len(events)]
        return
    if _is_stricter(stream) or (expected_code is None and websockets_waits(stream)):
        # the library accepts this, or has not seen enough of the frame to refuse it
        assert events == expected[: len(events)]
        return
    if {code, expected_code} != {PROTOCOL_ERROR, TOO_BIG}:  # a frame may be both out of place and too big
        assert code == expected_code
    assert events == expected[: len(events)]
    assert code is not None or events == expected


def _is_stricter(stream: bytes) -> bool:
    """Whether our reader refuses something that the library accepts or leaves to the layer above."""
    recorder = Recorder()
    reader = FrameReader(recorder, recorder, LIMIT)
    try:
        reader.receive(stream)
        while reader.paused:
            reader.resume()
    except FrameError as error:
        return error.code == INVALID_DATA or any(rule in str(error) for rule in OURS_ALONE)
    return False


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


TARGETS: dict[str, Callable[[bytes], None]] = {"codec": codec, "frames": frames}
