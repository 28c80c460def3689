/** Joins a room, and makes a SimplePeer to each other member: `onPeer` is given it and the id of the member. Returns them by id. */
export async function connect(signaling, room, options, onPeer) {
  const peers = new Map();
  const meet = (id, initiator) => {
    const peer = new SimplePeer({...options, initiator});
    peers.set(id, peer);
    peer.on("signal", (data) => signaling.signal(id, data).catch((error) => peer.destroy(error)));
    peer.on("close", () => peers.get(id) === peer && peers.delete(id));
    onPeer(peer, id);
    return peer;
  };
  const greet = ({peers: members, order, ice_servers}) => {
    options = {...options, config: {iceServers: ice_servers}};
    for (const peer of [...peers.values()]) peer.destroy();
    for (const member of members) if (member.order < order) meet(member.peer_id, true);
  };
  signaling.addEventListener("signal", ({detail: {sender, data}}) =>
    (peers.get(sender) ?? (data.type === "offer" ? meet(sender, false) : null))?.signal(data));
  signaling.addEventListener("peer-left", ({detail}) => peers.get(detail.peer_id)?.destroy());
  signaling.addEventListener("rejoined", ({detail}) => greet(detail));
  greet(await signaling.join(room, crypto.randomUUID()));
  return peers;
}
