"""Store and forward: in rooms that have it, a message for an absent peer waits until the peer is there, or it expires.

A peer is absent if it is not in the room, or if its node is lost. A message to a peer of another node is kept until its
receipt arrives: if that node is lost, or the peer has left it, the message waits like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.errors import PeerNotFound, SignalingError
from mcp_actors.protocol.identifiers import shown
from mcp_actors.room.effects import ExpireLater, Reject
from mcp_actors.room.mailbox import Letter, Mailbox

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Member, Receipt
    from mcp_actors.protocol.identifiers import Incarnation, PeerId
    from mcp_actors.protocol.messages import Targeted
    from mcp_actors.room.delivery import Delivery
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.roster import Roster
    from mcp_actors.room.rules import RoomRules


class Forwarding:
    """The waiting messages of one room, and when they are passed on."""

    __slots__ = ("_delivery", "_patience", "_roster", "mailbox")

    def __init__(self, roster: Roster, delivery: Delivery, rules: RoomRules) -> None:
        self._roster = roster
        self._delivery = delivery
        self._patience = rules.patience
        self.mailbox = delivery.mailbox = Mailbox(rules.max_waiting_messages, rules.max_waiting_bytes)

    def undelivered(self, sender: Incarnation, request: Targeted, frame: bytes) -> list[Effect]:
        """Keep a message whose target is not there now."""
        member = self._roster.member(sender)
        if member is None:
            return []
        return self._keep(Letter(member.id, request.payload.target_peer_id, request, frame))  # type: ignore[arg-type]

    def joined(self, member: Member) -> list[Effect]:
        """Pass on what waits for a peer that is in the room now."""
        return [effect for letter in self.mailbox.collect(member.id) for effect in self._pass_on(letter)]  # type: ignore[arg-type]

    def absent(self, incarnation: Incarnation) -> list[Effect]:
        """Let what was on its way to a member wait, as the member has left or its node is lost."""
        return [effect for letter in self.mailbox.lost(incarnation) for effect in self._pass_on(letter)]

    def receipt(self, receipt: Receipt) -> list[Effect]:
        """Note that a message has arrived at another node, or let it wait if its target was gone."""
        letter = self.mailbox.arrived(receipt.sender, receipt.target, receipt.delivery_id)
        if letter is None or receipt.delivered:
            return []
        return self._keep(letter)

    def expired(self, sender: PeerId, target: PeerId, batch: int) -> list[Effect]:
        """Drop what one peer has sent to another that has not come, and tell the sender."""
        return self._refuse(sender, target) if self.mailbox.expire(sender, target, batch) else []

    def _pass_on(self, letter: Letter) -> list[Effect]:
        """Send a message to its target; what its sender left behind reaches only targets at this node."""
        sender = self._roster.peer(letter.sender)
        if sender is None or not self._roster.local.get(sender.incarnation):
            return self._delivery.relay_for(letter.sender, letter.request, letter.frame)
        try:
            effect = self._delivery.relay(sender.incarnation, letter.request, letter.frame)
        except PeerNotFound:
            return self._keep(letter)
        except SignalingError:
            return self._refuse(letter.sender, letter.target)
        return [] if effect is None else [effect]

    def _keep(self, letter: Letter) -> list[Effect]:
        batch = self.mailbox.put(letter)
        if batch is None:
            return self._refuse(letter.sender, letter.target)
        return [ExpireLater(letter.sender, letter.target, batch, self._patience)] if batch else []

    def _refuse(self, sender: PeerId, target: PeerId) -> list[Effect]:
        member = self._roster.peer(sender)
        if member is None or member.incarnation not in self._roster.local:
            return []
        text = f"Peer {shown(target)} did not come in time for your messages."
        return [Reject(member.incarnation, PeerNotFound(text, peer_id=sender, target_peer_id=target))]
