/** Joins a room, and makes a SimplePeer to each other member: `onPeer` is given it and the id of the member. Returns them by id. */
export async function connect(connection, name, options, onPeer) {
  const room = await connection.join(name);
  const peers = new Map();
  const meet = (id, initiator) => {
    const peer = new SimplePeer({...options, config: {iceServers: room.iceServers}, initiator});
    peers.set(id, peer);
    peer.on("signal", (data) => room.signal(id, data).catch((error) => peer.destroy(error)));
    peer.on("close", () => peers.get(id) === peer && peers.delete(id));
    onPeer(peer, id);
    return peer;
  };
  const greet = () => {
    for (const peer of [...peers.values()]) peer.destroy();
    for (const {peerId, order} of room.peers.values()) if (order < room.order) meet(peerId, true);
  };
  room.addEventListener("signal", ({detail: {sender, data}}) =>
    (peers.get(sender) ?? (data.type === "offer" ? meet(sender, false) : null))?.signal(data));
  room.addEventListener("peer-left", ({detail}) => peers.get(detail.peerId)?.destroy());
  room.addEventListener("rejoined", greet);
  greet();
  return peers;
}
