"""JSON text to messages and back. Client messages are validated here and nowhere else."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import ujson
from msgspec import UNSET, Raw, Struct

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import BadMessage, MessageTooBig, SignalingError
from mcp_actors.protocol.identifiers import RoomId, id_problem
from mcp_actors.protocol.messages import Message, PeerRequest, ServerMessage, Targeted, UserRequest
from mcp_actors.protocol.outgoing import Relayed
from mcp_actors.protocol.pairs import PairFailure, PairOutcome
from mcp_actors.protocol.subject import subject
from mcp_actors.protocol.surrogates import MARK, replace_lone_surrogates

if TYPE_CHECKING:
    from mcp_actors.protocol.outgoing import Encoded

T = TypeVar("T")

_WHERE = re.compile(r"^(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED = re.compile(r"^Object (?P<verb>missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)
_EXPECTED = {
    "payload": "an object",
    "payload.offer": "an object with an `sdp` string and type offer",
    "payload.offer.type": "offer",
    "payload.answer": "an object with an `sdp` string and type answer",
    "payload.answer.type": "answer or pranswer",
    "payload.candidate": 'a candidate object, or null or "" to end the candidates',
    "payload.metadata": "an object",
    "payload.milliseconds": "an integer, at least 0",
    "negotiation": "the number the server gave an offer",
    "again": "true or false",
}
_CHOICES = {"payload.pair": tuple(PairOutcome), "payload.reason": tuple(PairFailure)}
_INTEGER_AS_FLOAT = re.compile(r"Expected `int\b.*got `float`")
_QUOTE = ord('"')
_UNCHECKED = frozenset({wire.IceCandidate, wire.Signal})
"""Messages that their types describe completely; they are also the most frequent ones."""

MAX_REASON_LENGTH, MAX_MESSAGE_LENGTH = 64, 500
"""Characters of a moderator's `reason` and `message`."""

MAX_METADATA_DEPTH = 32
"""Levels of lists and objects in a peer's metadata, which the server encodes again; relayed content may be deeper."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one message: lengths of ids in characters, bans in seconds, the others in bytes of UTF-8."""

    message_bytes: int
    metadata_bytes: int
    id_length: int
    ban_seconds: int = 2_592_000


class Decoder(Generic[T]):
    """Decodes and validates the messages of one endpoint."""

    def __init__(self, requests: Any, limits: Limits) -> None:
        self._decode = msgspec.json.Decoder(requests).decode
        self._decode_lax = msgspec.json.Decoder(requests, strict=False).decode
        self._types = sorted(member.__struct_config__.tag for member in requests.__args__)
        self._limits = limits

    def decode(self, frame: bytes) -> T:
        """Decode one message. The caller checks that it is UTF-8: parts that are not decoded are not checked here.

        Raises `BadMessage` or `MessageTooBig` with the room and `id` of the request, where they could be read.
        """
        problem: SignalingError | None
        try:
            if len(frame) > self._limits.message_bytes:
                problem = self._too_big(len(frame))
            else:
                message = self._decode(frame)
                problem = None if type(message) in _UNCHECKED else self._check(message)
        except msgspec.DecodeError as error:
            message, problem = self._decode_unusual(frame, error)
        except UnicodeDecodeError as error:
            problem = BadMessage(f"The message is not UTF-8: {error.reason} at byte {error.start}.")
        except RecursionError:
            problem = BadMessage("The message is nested too deeply.")
        if problem is None:
            return message  # type: ignore[no-any-return]
        try:
            raise problem.about(*subject(frame, self._limits.id_length))
        finally:
            del problem  # the error, its traceback and this frame would keep each other and the message alive

    def _decode_unusual(
        self, frame: bytes, error: msgspec.DecodeError
    ) -> tuple[PeerRequest | UserRequest | None, SignalingError | None]:
        """Decode what serializers of other languages write: byte order marks, lone surrogates, and integers as 1.0."""
        text = replace_lone_surrogates(frame.removeprefix(BOM_UTF8))
        if text != frame or _INTEGER_AS_FLOAT.match(str(error)):
            try:
                message = self._decode_lax(text)
                return message, _surrogate_problem(text) or self._check(message)
            except msgspec.DecodeError as second:
                error = second
        if isinstance(error, msgspec.ValidationError):
            return None, self._explain(str(error))
        return None, BadMessage(f"The message is not JSON: {error}.")

    def _check(self, message: PeerRequest | UserRequest) -> SignalingError | None:  # noqa: C901 - a case for each type
        """Check the rest. Ids in relayed messages need no check: only ids of members are ever found."""
        match message:
            case wire.Offer():
                return _text_problem("payload.offer.sdp", message.payload.offer.sdp)
            case wire.Answer():
                return _text_problem("payload.answer.sdp", message.payload.answer.sdp)
            case wire.Message():
                if bytes(message.payload.content) == b"null":
                    return BadMessage("`payload.content` must not be null.", field="payload.content")
            case wire.Join():
                return (
                    self._id_problem("room", message.room)
                    or self._id_problem("payload.peer_id", message.given.peer_id)
                    or self._metadata_problem(message.given.metadata)
                )
            case wire.Connect():
                return self._id_problem("payload.user_id", message.given.user_id)
            case wire.JoinRoom():
                return self._id_problem("room", message.room)
            case wire.Update():
                return self._metadata_problem(message.payload.metadata)
            case wire.Report():
                return _reason_problem(message.payload)
            case wire.Kick() | wire.Unban() | wire.CloseRoom():
                return self._moderation_problem(message.payload)
        return None

    def _moderation_problem(
        self, payload: wire.KickPayload | wire.UnbanPayload | wire.NoticePayload | None
    ) -> BadMessage | None:
        if payload is None:
            return None
        if isinstance(payload, wire.NoticePayload):
            problem = self._notice_problem(payload)
            if problem is not None or not isinstance(payload, wire.KickPayload):
                return problem
        if (payload.peer_id is None) is (payload.user_id is None):
            return BadMessage("`payload` must have either `peer_id` or `user_id`.", field="payload")
        return self._ban_problem(payload) if isinstance(payload, wire.KickPayload) else None

    def _notice_problem(self, payload: wire.NoticePayload) -> BadMessage | None:
        field, reason, message = "payload.reason", payload.reason, payload.message
        problem = None if reason is None else id_problem(reason, MAX_REASON_LENGTH)
        if problem is None and message is not None and len(message) > MAX_MESSAGE_LENGTH:
            field = "payload.message"
            problem = f"must have at most {MAX_MESSAGE_LENGTH} characters, not {len(message)}"
        return BadMessage(f"`{field}` {problem}.", field=field) if problem else None

    def _ban_problem(self, payload: wire.KickPayload) -> BadMessage | None:
        seconds, most = payload.ban_seconds, self._limits.ban_seconds
        if seconds is None:
            return None
        if not 1 <= seconds <= most:
            field = "payload.ban_seconds"
            return BadMessage(f"`{field}` must be 1 to {most}, not {seconds}.", field=field)
        return self._id_problem("payload.peer_id", payload.peer_id) or self._id_problem(
            "payload.user_id", payload.user_id
        )

    def _id_problem(self, field: str, value: str | None) -> BadMessage | None:
        problem = None if value is None else id_problem(value, self._limits.id_length)
        return BadMessage(f"`{field}` {problem}.", field=field) if problem else None

    def _metadata_problem(self, metadata: dict[str, Any] | None) -> SignalingError | None:
        if not metadata:
            return None
        field, limit = "payload.metadata", self._limits.metadata_bytes
        if _deeper(metadata, MAX_METADATA_DEPTH):
            return BadMessage(f"`{field}` is nested more than {MAX_METADATA_DEPTH} levels deep.", field=field)
        size = len(_dumps(metadata))
        if size <= limit:
            return None
        text = f"`{field}` has {size} bytes as JSON; {limit} are allowed. Send what is large to the peers themselves."
        return MessageTooBig(text, field=field, limit=limit)

    def _too_big(self, size: int) -> MessageTooBig:
        limit = self._limits.message_bytes
        return MessageTooBig(f"The message has {size} bytes; {limit} are allowed.", limit=limit)

    def _explain(self, text: str) -> BadMessage:
        """Translate an error of msgspec into the words of the protocol."""
        match = _WHERE.match(text)
        problem, path = (match["problem"], match["path"] or "") if match else (text, "")
        named = _NAMED.match(problem)
        if named:
            field = f"{path}.{named['name']}" if path else named["name"]
            if named["verb"] == "missing required":
                return BadMessage(f"`{_short(field)}` is missing.", field=_short(field))
            text = f"`{_short(field)}` is not a field of this message; put your own data into its `payload`."
            return BadMessage(text, field=_short(field))
        if path == "type":
            kinds = ", ".join(self._types)
            return BadMessage(f"`type` is not one this endpoint knows: {kinds}.", field="type")
        if not path:
            return BadMessage("The message must be a JSON object.")
        if path in _CHOICES and problem.startswith("Invalid enum value"):
            return BadMessage(f"`{path}` must be one of: {', '.join(_CHOICES[path])}.", field=path)
        if path in _EXPECTED:
            return BadMessage(f"`{path}` must be {_EXPECTED[path]}.", field=path)
        return BadMessage(f"`{_short(path)}` is wrong: {_short(problem, 120)}.", field=_short(path))


class _PayloadIds(Struct):
    peer_id: Raw = Raw()
    user_id: Raw = Raw()
    target_peer_id: Raw = Raw()


class _Ids(Struct):
    id: Raw = Raw()
    room: Raw = Raw()
    payload: _PayloadIds | None = None


_decode_ids = msgspec.json.Decoder(_Ids).decode


def _surrogate_problem(text: bytes) -> BadMessage | None:
    """Refuse halves of surrogate pairs in ids, which members and requests are found by."""
    ids = _decode_ids(text)
    for path, struct in (("", ids), ("payload.", ids.payload)):
        for name in () if struct is None else struct.__struct_fields__:
            value = getattr(struct, name)
            if isinstance(value, Raw) and MARK in bytes(value):
                field = path + name
                return BadMessage(f"`{field}` has half of a surrogate pair; send whole characters.", field=field)
    return None


def _text_problem(field: str, raw: Raw) -> BadMessage | None:
    if memoryview(raw)[0] == _QUOTE:
        return None
    return BadMessage(f"`{field}` must be a string.", field=field)


def _reason_problem(report: wire.ReportPayload) -> BadMessage | None:
    field, failed = "payload.reason", report.pair is PairOutcome.FAILED
    if failed is (report.reason is not None):
        return None
    if failed:
        text = f"`{field}` is missing: a failed pair has one of {', '.join(PairFailure)}."
    else:
        text = f"`{field}` is only for failed pairs; leave it out of one that is {report.pair}."
    return BadMessage(text, field=field)


def _deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested deeper than some levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inner) and (not levels or any(_deeper(part, levels - 1) for part in inner))


def _short(text: str, length: int = 64) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def peer_decoder(limits: Limits) -> Decoder[PeerRequest]:
    """The decoder of /ws/signaling/."""
    return Decoder(PeerRequest, limits)


def user_decoder(limits: Limits) -> Decoder[UserRequest]:
    """The decoder of /ws/mcp/."""
    return Decoder(UserRequest, limits)


def encode(message: ServerMessage) -> bytes:
    """Encode a message of the server as one UTF-8 JSON text."""
    return _dumps(msgspec.to_builtins(message))


def error_message(error: SignalingError) -> wire.Error:
    """The `error` that answers the request that an error is about."""
    payload = wire.ErrorPayload(error.code, str(error), error.retryable, dict(error.details) or UNSET)
    return wire.Error(payload=payload, id=UNSET if error.id is None else error.id, room=error.room or UNSET)


class JsonDialect:
    """The native dialect: a message is a JSON object; head and body are its fields, without the opening brace."""

    def encode(self, message: ServerMessage, offset: bytes) -> Encoded:
        """See `Dialect`."""
        return _offset_field(offset), encode(message)[1:]

    def relay(self, message: Relayed) -> Encoded:
        """See `Dialect`."""
        return message.head, message.body

    def prefix(self, head: bytes, number: int | None) -> bytes:
        """See `Dialect`."""
        return b"{" + head if number is None else b'{"delivery":%d,%b' % (number, head)


JSON = JsonDialect()


def sender_stamp(sender: str, *, verified: bool = False) -> bytes:
    """The `sender` of a member's messages, and whether it is `verified`.

    It is made once per member, which saves a third of stamping.
    """
    return b'"sender":%b,%b' % (_dumps(sender), b'"verified":true,' if verified else b"")


def relayed(stamp: bytes, frame: bytes, request: Targeted | Message | None = None, negotiation: int = 0) -> Relayed:
    """A client's own text with its `sender_stamp` in front, and the number of an offer.

    `frame` is a decoded message: an object with at least one field, and none named `sender` or, in an offer,
    `negotiation`. It costs 0.3 us for a 2.4 kB offer; encoding it again would cost 4.3 us.
    """
    head = b'%b"negotiation":%d,' % (stamp, negotiation) if negotiation else stamp
    return Relayed(head, frame[frame.index(b"{") + 1 :], request, None if request is None else request.room)


def received(frame: bytes, offset: bytes, room: RoomId) -> Relayed:
    """A message that another node has stamped, with the stream offset at which it arrived in a room."""
    return Relayed(_offset_field(offset), frame[1:], room=room)


def _offset_field(offset: bytes) -> bytes:
    return b'"at":"%b",' % offset if offset else b""


def _dumps(value: Any) -> bytes:
    return ujson.dumps(value, ensure_ascii=False, escape_forward_slashes=False).encode()
