"""The y-webrtc gateway: the signaling server of y-webrtc, and of trystero's ws-relay, which differ in a field's name.

**Rooms.** A topic is a room, `y-webrtc:<topic>`, which native clients cannot enter. A subscriber is a user of the room,
with the id of its access token or a made one, so that moderators and tokens work as elsewhere. The rooms are `silent`:
subscribers are not told of each other.

**Names.** y-webrtc publishes each signal for one peer to all, and the others drop it: in a mesh of N peers, about N**2
signals are delivered N times. Where a publication can be read, its `from` is the name of the subscriber in the room,
and a publication with a `to` is delivered to those with that name alone (see `room.publications`). Nodes learn names
from the messages that pass; a message for an unknown name goes to all, as in the original. With a password nothing can
be read, and everything goes to all. Each subscriber has one name, so a client cannot make a node keep more.

**Publishers outside.** Clients of trystero publish to the topics of others without subscribing to them. Such a message
is an announcement in the room, which takes no membership; it passes Redis on its way. Only trystero's shape may do
that: clients of y-webrtc do not understand it, so a banned client is not heard by them.

**Sessions.** Clients number nothing, so a session ends with its connection; a client that is back subscribes again.
"""
