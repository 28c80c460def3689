// One peer of the mesh: it sends a numbered message each 100 ms to every other peer, over `Call`, and to some of them over
// a plain RTCPeerConnection that nothing heals. It notes when messages arrive, and what the pairs say about themselves.

const EVERY = 100;
const QUIET = 0.6; // seconds
const CHANNEL = {negotiated: true, id: 7, ordered: false, maxRetransmits: 0};
const STATES = ["pair-added", "pair-changed", "pair-failed", "pair-healed"];

const bench = {arrivals: [], states: [], last: new Map(), said: new Map(), plain: new Map(), number: 0};
globalThis.bench = bench;

// Seconds since 1970, on the clock of the machine, which all pages share.
const now = () => (performance.timeOrigin + performance.now()) / 1000;
const arrived = (mesh, peer) => {
  const at = now();
  bench.arrivals.push([mesh, peer, at]);
  bench.last.set(mesh + peer, at);
};
const noteState = ({peerId, state, reason}) => {
  const said = `${state} ${reason ?? ""}`;
  if (bench.said.get(peerId) === said) return;
  bench.said.set(peerId, said);
  bench.states.push([peerId, state, reason ?? "", now()]);
};

/** What was noted since the last call. */
bench.drain = () => {
  const {arrivals, states} = bench;
  Object.assign(bench, {arrivals: [], states: []});
  return {arrivals, states};
};

/** The indexes of those peers from which nothing has arrived lately. */
bench.quiet = (mesh, peers) =>
  [...peers.keys()].filter((index) => !(bench.last.get(mesh + peers[index]) > now() - QUIET));

/** What the page knows of its pair with a peer. */
bench.describe = (peer) => {
  const pair = bench.call.pairs.get(peer);
  if (!pair) return "no pair";
  const {state, reason, pc} = pair;
  return [state, reason, pc.connectionState, pc.iceConnectionState, pc.iceGatheringState, pc.signalingState].join(" ");
};

bench.join = async ({room, peer, relayed}) => {
  const {Connection} = await import("/client/index.js");
  const {Call} = await import("/client/call.js");
  const configuration = relayed ? {iceTransportPolicy: "relay"} : {};
  bench.room = await new Connection(location.origin).join(room, {peerId: peer, presence: true});
  bench.call = new Call(bench.room, {channels: {bench: CHANNEL}, rtcConfiguration: configuration});
  for (const type of STATES) bench.call.addEventListener(type, ({detail}) => noteState(detail.pair ?? detail));
  bench.call.addEventListener("message", ({detail}) => arrived("call", detail.pair.peerId));
  bench.room.addEventListener("signal", ({detail: {sender, data}}) => data?.plain && receive(sender, data.plain));
  for (const pair of bench.call.pairs.values()) noteState(pair);
  bench.configuration = configuration;
  setInterval(send, EVERY);
};

const send = () => {
  const text = String(++bench.number);
  bench.call.send("bench", text);
  for (const {channel} of bench.plain.values()) if (channel.readyState === "open") channel.send(text);
};

// The plain pairs: one offer, one answer, candidates, and nothing when they break.

const say = (peer, plain) => bench.room.signal(peer, {plain}).catch(() => {});

const begin = (peer, session) => {
  bench.plain.get(peer)?.pc.close();
  const pc = new RTCPeerConnection({iceServers: bench.room.iceServers, ...bench.configuration});
  const channel = pc.createDataChannel("bench", CHANNEL);
  channel.onmessage = () => arrived("plain", peer);
  pc.onicecandidate = ({candidate}) => candidate && say(peer, {session, candidate});
  const pair = {pc, channel, session};
  bench.plain.set(peer, pair);
  return pair;
};

/** Starts a plain pair anew. */
bench.dial = async (peer) => {
  const session = Math.random();
  const {pc} = begin(peer, session);
  await pc.setLocalDescription();
  say(peer, {session, description: pc.localDescription});
};

const receive = async (peer, {session, description, candidate}) => {
  if (description?.type === "offer") begin(peer, session);
  const pair = bench.plain.get(peer);
  if (pair?.session !== session) return;
  try {
    if (candidate) await pair.pc.addIceCandidate(candidate);
    if (description) await pair.pc.setRemoteDescription(description);
    if (description?.type !== "offer") return;
    await pair.pc.setLocalDescription();
    say(peer, {session, description: pair.pc.localDescription});
  } catch {
    // closed meanwhile
  }
};
