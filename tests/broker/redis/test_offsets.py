from __future__ import annotations

import pytest

from mcp_actors.broker.redis.offsets import END_OF_ENTRY, Offset, format_offset, parse_offset
from mcp_actors.protocol.identifiers import NodeId

DEAD = NodeId("m-4f2a-dead00ad")


def test_an_offset_names_the_entry_the_frame_in_it_and_the_random_part_of_the_node() -> None:
    assert format_offset(b"1700-3", 2, DEAD) == b"1700-3.2@dead00ad"
    assert parse_offset("1700-3.2@dead00ad", DEAD) == Offset(1700, 3, 2)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "1700-3.2@other", "1700-3.2", "1700.2@dead00ad", "1700-3@dead00ad", "-3.2@dead00ad"),
        *("1700-x.2@dead00ad", "1700-3.-2@dead00ad", "1700-3.2@dead00ad ", "1700-3.²@dead00ad"),
    ],
)
def test_text_that_is_no_offset_in_the_inbox_of_the_node_is_rejected(text: str) -> None:
    assert parse_offset(text, DEAD) is None


def test_offsets_sort_like_the_frames_they_name() -> None:
    texts = ["9-9.5", "10-0.0", "10-0.2", "10-0.10", f"10-0.{END_OF_ENTRY}", "10-1.0"]
    found = [parse_offset(f"{text}@dead00ad", DEAD) for text in texts]
    assert None not in found
    assert found == sorted(found, key=lambda one: one or Offset(0, 0, 0))
