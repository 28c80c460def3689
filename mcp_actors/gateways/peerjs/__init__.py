"""The PeerJS gateway: serves clients of PeerJS 1.5 in place of the npm package `peer`.

**Room.** All clients of one key are peers of one room, `peerjs:<key>`, which native clients cannot enter. Its
`RoomRules` make it `silent`: nobody is told of others, no roster is sent, so a join costs the same in a room of ten and
of ten thousand, and a relayed message is one lookup. A node with clients of the key keeps its replica of the room, as
of every room: it knows at which node each id is, without asking Redis. The alternatives cost more: a room for each id,
which its callers join, takes a round trip to Redis before each call and a membership for each pair of peers; a lookup
of the target in Redis takes one for each message.

**Absent peers.** The room has `patience` (see `room.forwarding`): a message for an id that is not there waits at the
node of its sender, in order with others, and its sender is told once by EXPIRE if nobody comes. A message to another
node is kept until that node has confirmed it. If the target's process is killed meanwhile, the message waits for the
target to come back, at whichever process.

**Sessions.** PeerJS clients number nothing and acknowledge nothing, so there is nothing to resume: sending again what
may have arrived would break their connections. A session of the gateway therefore ends with its connection, and what is
sent to the client until it is back waits in the room. Its id is derived from key, id and token of the client. A client
that comes back, at any process and though its old connection still looks alive, is recognized by that: a session
replaces itself (`Member.yields_to`), the old connection is closed, and the new one gets OPEN.
"""
