"""RFC 6455 frames: our reader against that of the `websockets` library, and each rule by itself."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.protocol import OPEN, Protocol

from mcp_actors.adapters.tornado.upgrade import frame_loops
from mcp_actors.ws import frames
from mcp_actors.ws.frames import FrameError, FrameReader, frame_header, unmask_in_python, write_close, write_frame
from tests.support.streams import LIMIT, Recorder, read, read_by_websockets, websockets_counts_a_control_frame


class Raw(NamedTuple):
    """One frame of a client, valid or not."""

    first: int
    payload: bytes
    mask: bytes | None = b"\x01\x02\x03\x04"

    def encode(self) -> bytes:
        masked = 0x80 if self.mask is not None else 0
        size = len(self.payload)
        if size < 126:
            head = bytes((self.first, masked | size))
        elif size < 65_536:
            head = bytes((self.first, masked | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((self.first, masked | 127)) + size.to_bytes(8, "big")
        if self.mask is None:
            return head + self.payload
        return head + self.mask + bytes(byte ^ self.mask[index % 4] for index, byte in enumerate(self.payload))


def text(payload: bytes) -> bytes:
    return Raw(0x81, payload).encode()


masks = st.binary(min_size=4, max_size=4)
texts = st.text(max_size=90).map(str.encode)
controls = st.builds(Raw, st.sampled_from([0x89, 0x8A]), st.binary(max_size=125), masks)
closes = st.builds(
    Raw,
    st.just(0x88),
    st.one_of(
        st.just(b""),
        st.builds(
            lambda code, reason: code.to_bytes(2, "big") + reason.encode()[:120].decode(errors="ignore").encode(),
            st.sampled_from(sorted(frames.SENDABLE_CODES)),
            st.text(max_size=40),
        ),
    ),
    masks,
)
broken = st.one_of(
    st.builds(Raw, st.integers(0, 255), st.binary(max_size=130), st.one_of(st.none(), masks)).filter(
        lambda raw: raw.first & 0x7F != 1
    ),
    st.builds(Raw, st.just(0x81), texts, st.none()),
    st.builds(Raw, st.just(0x88), st.binary(max_size=4), masks),
    st.builds(Raw, st.sampled_from([0x82, 0x02]), st.binary(min_size=LIMIT + 1, max_size=LIMIT + 9), masks),
)


@st.composite
def messages(draw: st.DrawFn) -> list[Raw]:
    """One message in one or more fragments, with control frames between them."""
    opcode, payload = draw(st.one_of(st.tuples(st.just(1), texts), st.tuples(st.just(2), st.binary(max_size=LIMIT))))
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    pieces = [payload[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    found = []
    for index, piece in enumerate(pieces):
        first = (opcode if index == 0 else 0) | (0x80 if index == len(pieces) - 1 else 0)
        found += [*draw(st.lists(controls, max_size=1)), Raw(first, piece, draw(masks))]
    return found


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Messages, perhaps a broken frame somewhere, perhaps a close frame; cut anywhere."""
    sequence = [frame for message in draw(st.lists(messages(), max_size=5)) for frame in message]
    if draw(st.booleans()):
        sequence.insert(draw(st.integers(0, len(sequence))), draw(broken))
    if draw(st.booleans()):
        sequence.append(draw(closes))
    data = b"".join(frame.encode() for frame in sequence)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@settings(max_examples=300)
@given(streams())
def test_our_reader_and_the_library_agree_on_every_stream(chunks: list[bytes]) -> None:
    events, code = read(*chunks)
    if code == frames.INVALID_DATA and not (events and events[-1][0] == "close"):
        return  # a broken frame may make text of other bytes; the library leaves UTF-8 to the layer above
    expected, expected_code = read_by_websockets(*chunks)
    if expected_code == frames.TOO_BIG and websockets_counts_a_control_frame(b"".join(chunks)):
        assert events[: len(expected)] == expected[: len(events)]
        return
    if {code, expected_code} != {1002, 1009}:  # one frame may be both out of place and too big
        assert code == expected_code
    assert events == expected[: len(events)]
    assert code is not None or events == expected


def test_a_control_frame_between_fragments_is_no_part_of_their_message() -> None:
    """The library counts it, and refuses the message."""
    begin, ping, end = Raw(0x01, b"a" * (LIMIT - 1)), Raw(0x89, b"ping"), Raw(0x80, b"b")
    stream = b"".join(frame.encode() for frame in (begin, ping, end))
    assert read(stream) == ([("ping", b"ping"), ("text", b"a" * (LIMIT - 1) + b"b")], None)
    assert websockets_counts_a_control_frame(stream)
    assert not websockets_counts_a_control_frame(begin.encode() + Raw(0x80, b"bc").encode())


@given(st.text(min_size=1, max_size=60), st.data())
def test_utf8_is_checked_over_the_whole_message_wherever_it_is_cut(value: str, data: st.DataObject) -> None:
    payload = value.encode()
    at = data.draw(st.integers(0, len(payload)))
    halves = Raw(0x01, payload[:at]).encode() + Raw(0x80, payload[at:]).encode()
    assert read(*(bytes((byte,)) for byte in halves)) == ([("text", payload)], None)
    spoiled = payload[:at] + b"\xff" + payload[at:]
    assert read(text(spoiled)) == ([], 1007)


CLOSING = {
    "reserved bit 1": (Raw(0xC1, b"x").encode(), 1002),
    "reserved bit 2": (Raw(0xA1, b"x").encode(), 1002),
    "reserved bit 3": (Raw(0x91, b"x").encode(), 1002),
    "an unknown data opcode": (Raw(0x83, b"x").encode(), 1002),
    "an unknown control opcode": (Raw(0x8B, b"x").encode(), 1002),
    "no mask": (Raw(0x81, b"x", None).encode(), 1002),
    "a fragmented ping": (Raw(0x09, b"x").encode(), 1002),
    "a ping of 126 bytes": (Raw(0x89, b"x" * 126).encode(), 1002),
    "a continuation of nothing": (Raw(0x80, b"x").encode(), 1002),
    "text within a fragmented message": (Raw(0x01, b"x").encode() + text(b"x"), 1002),
    "a close of one byte": (Raw(0x88, b"x").encode(), 1002),
    "a close reason that is not UTF-8": (Raw(0x88, b"\x03\xe8\xff").encode(), 1007),
    "text that is not UTF-8": (text(b"\xc3("), 1007),
    "an overlong encoding": (text(b"\xc0\xaf"), 1007),
    "a surrogate": (text(b"\xed\xa0\x80"), 1007),
    "text cut in a character": (text("é".encode()[:1]), 1007),
    "a message one byte too long": (text(b"x" * (LIMIT + 1)), 1009),
    "fragments that add up to too much": (Raw(0x01, b"x" * 200).encode() + Raw(0x00, b"x" * 101).encode(), 1009),
    "the head alone of a huge frame": (b"\x81\xff" + (2**62).to_bytes(8, "big"), 1009),
    "a length beyond 63 bits": (b"\x81\xff" + (2**63).to_bytes(8, "big"), 1009),
    "a 16-bit length that fits in 7": (b"\x81\xfe\x00\x01" + b"\0\0\0\0x", 1002),
    "a 64-bit length that fits in 16": (b"\x81\xff" + (300).to_bytes(8, "big") + bytes(304), 1002),
}


@pytest.mark.parametrize("name", CLOSING)
def test_a_protocol_error_is_refused_with_its_code(name: str) -> None:
    data, code = CLOSING[name]
    before = text(b"before")
    assert read(before + data) == ([("text", b"before")], code)
    assert read(before, *(bytes((byte,)) for byte in data)) == ([("text", b"before")], code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_a_close_code_that_must_not_be_sent_is_refused(code: int) -> None:
    assert read(Raw(0x88, code.to_bytes(2, "big")).encode()) == ([], 1002)


def test_nothing_is_read_after_a_close_frame_or_a_failure() -> None:
    end = Raw(0x88, b"\x03\xe8bye").encode()
    assert read(end + text(b"x"), text(b"y")) == ([("close", 1000)], None)
    recorder = Recorder()
    reader = FrameReader(recorder, recorder, LIMIT)
    with pytest.raises(FrameError):
        reader.receive(Raw(0x81, b"x", None).encode() + text(b"x"))
    reader.receive(text(b"y"))
    assert recorder.events == []


def test_a_batch_is_bounded_and_the_rest_waits() -> None:
    recorder = Recorder()
    reader = FrameReader(recorder, recorder, LIMIT)
    reader.receive(text(b"x") * (frames.BATCH + 10))
    assert (len(recorder.events), recorder.batches, reader.paused) == (frames.BATCH, 1, True)
    reader.receive(text(b"y"))
    assert len(recorder.events) == frames.BATCH
    while reader.paused:
        reader.resume()
    assert recorder.events[-1] == ("text", b"y")
    assert len(recorder.events) == frames.BATCH + 11


def test_a_pause_in_the_middle_of_a_read_keeps_the_rest() -> None:
    class Pausing(Recorder):
        def frame_received(self, frame: bytes) -> None:
            super().frame_received(frame)
            reader.paused = True

    recorder = Pausing()
    reader = FrameReader(recorder, recorder, LIMIT)
    reader.receive(text(b"1") + text(b"2") + text(b"3")[:3])
    assert len(recorder.events) == 1
    reader.receive(text(b"3")[3:])
    reader.resume()
    reader.resume()
    assert [event[1] for event in recorder.events] == [b"1", b"2", b"3"]


@given(st.binary(max_size=200) | st.integers(65_000, 66_000).map(bytes))
def test_the_library_reads_what_we_write(payload: bytes) -> None:
    from websockets.protocol import CLIENT  # noqa: PLC0415 - the other side, here alone

    client = Protocol(CLIENT, state=OPEN)
    client.receive_data(write_frame(frames.BINARY, payload) + write_close(1000, "é" * 100))
    message, end = client.events_received()
    assert message.data == payload  # type: ignore[union-attr]
    assert len(end.data) <= 125  # type: ignore[union-attr]
    assert client.close_rcvd is not None
    assert client.close_rcvd.reason == "é" * 61


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
def test_a_mask_is_applied_as_tornado_applies_it(mask: bytes, payload: bytes) -> None:
    assert unmask_in_python(mask, payload) == frame_loops().unmask(mask, payload)


@given(st.binary(max_size=200) | st.integers(65_000, 66_000).map(bytes))
def test_a_header_and_its_payload_are_a_frame(payload: bytes) -> None:
    assert frame_header(frames.TEXT, len(payload)) + payload == write_frame(frames.TEXT, payload)


def test_a_sink_may_resume_the_reader_while_it_is_called() -> None:
    class Resuming(Recorder):
        def frame_received(self, frame: bytes) -> None:
            super().frame_received(frame)
            reader.paused = True
            reader.resume()

        def batch_ended(self) -> None:
            super().batch_ended()
            reader.resume()

    recorder = Resuming()
    reader = FrameReader(recorder, recorder, LIMIT)
    stream = b"".join(text(b"%d" % number) for number in range(3 * frames.BATCH))
    reader.receive(stream[:-2])
    reader.receive(stream[-2:])
    assert [event[1] for event in recorder.events] == [b"%d" % number for number in range(3 * frames.BATCH)]
    assert recorder.batches == 2


def test_control_frames_and_fragments_are_counted() -> None:
    recorder = Recorder()
    stream = Raw(0x01, b"a"), Raw(0x89, b"x"), Raw(0x8A, b""), Raw(0x00, b"b"), Raw(0x80, b"c"), Raw(0x81, b"d")
    FrameReader(recorder, recorder, LIMIT).receive(b"".join(frame.encode() for frame in stream))
    assert recorder.counted == 4


def test_a_closing_reader_drops_messages_and_waits_for_the_close_frame() -> None:
    recorder = Recorder()
    reader = FrameReader(recorder, recorder, LIMIT)
    reader.closing = True
    reader.receive(text(b"x") + Raw(0x82, b"y").encode() + Raw(0x01, b"z").encode() + Raw(0x88, b"").encode())
    assert (recorder.events, recorder.counted) == ([("close", None)], 0)


def test_a_reader_tells_how_many_bytes_it_keeps() -> None:
    recorder = Recorder()
    reader = FrameReader(recorder, recorder, 1000)
    whole, part = Raw(0x81, b"x" * 100).encode(), Raw(0x01, b"y" * 70).encode()
    reader.receive(whole)
    assert reader.kept == 0
    reader.receive(whole[:50])
    assert reader.kept == 50
    reader.receive(whole[50:] + part)
    assert reader.kept == 70
    reader.paused = True
    reader.receive(whole)
    assert reader.kept == 70 + len(whole)
    reader.end()
    assert reader.kept == 0
