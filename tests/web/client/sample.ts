// An application in strict TypeScript: it joins, hears typed events, and leaves. tests/web/client/test_package.py runs it.
import {Connection, SignalingError, UserConnection} from "mcp-actors";
import type {Ended, Peer, Room, RoomEvents, Token} from "mcp-actors";
import {Call} from "mcp-actors/call";
import type {Pair, Reason} from "mcp-actors/call";

const [url = ""] = (globalThis as unknown as {process: {argv: string[]}}).process.argv.slice(2);
const token: Token = async () => "unused";
new Connection(url, {token, connectTimeout: 1000}).close();

/** The `detail` of the next event of a type. */
const next = <Type extends keyof RoomEvents & string>(room: Room, type: Type): Promise<RoomEvents[Type]> =>
  new Promise((resolve) => room.addEventListener(type, ({detail}) => resolve(detail), {once: true}));

const ada = new Connection(url);
const grace = new Connection(url);
const states: string[] = [ada.state];
ada.addEventListener("open", () => states.push(ada.state));
ada.addEventListener("reconnecting", ({detail: {attempt, delay, code}}) => console.log(attempt + delay + code));

const adas: Room = await ada.join("r", {peerId: "ada", metadata: {name: "Ada"}});
const joined = next(adas, "peer-joined");
const graces = await grace.join("r", {peerId: "grace", signal: AbortSignal.timeout(60_000)});
const peer: Peer = await joined;

const offered = next(adas, "offer");
const delivery = await graces.offer("ada", {type: "offer", sdp: "v=0"});
const {sender, offer, negotiation} = await offered;
const candidate = next(graces, "ice-candidate");
await adas.candidate(sender, null);

const refused = await adas.signal("nobody", {any: ["thing"]}).catch((error: unknown) => {
  if (!(error instanceof SignalingError)) throw error;
  return {code: error.code, retryable: error.retryable};
});

const user = new UserConnection(url, {userId: "u"});
const users = await user.join("r");
users.addEventListener("message", ({detail: {sender, content, verified}}) => console.log(sender, content, verified));

const ended: Promise<Ended> = next(adas, "ended");
ada.close();
grace.close();
user.close();
states.push(ada.state);

/** Not called, as Node has no WebRTC. */
export function begin(room: Room, camera: MediaStreamTrack): Call {
  const call = new Call(room, {video: camera, audio: null, channels: {chat: {ordered: false}}});
  const why: Partial<Record<Reason, string>> = {"no-turn": "There is no relay."};
  call.addEventListener("pair-added", ({detail: pair}) => console.log(pair.peerId, pair.stream, pair.screen?.id));
  call.addEventListener("pair-failed", ({detail: {pair, reason}}) => console.log(pair.member?.metadata, why[reason]));
  call.addEventListener("pair-healed", ({detail: {milliseconds}}) => console.log(milliseconds / 1000));
  call.addEventListener("message", ({detail: {label, data}}) => console.log(label, typeof data === "string" ? data : data.byteLength));
  const others: Pair[] = [...call.pairs.values()];
  // @ts-expect-error: of the package itself
  others[0]?.close();
  // @ts-expect-error: there is no such kind
  call.replaceTrack("camera", null);
  console.log(call.send("chat", new Uint8Array(1), "ada"));
  return call;
}

// @ts-expect-error: there is no such event
adas.addEventListener("peer-jioned", () => {});
// @ts-expect-error: a name of the wire, not of the API
adas.addEventListener("peer-joined", ({detail}) => detail.peer_id);
// @ts-expect-error: read only
(() => (adas.order = 1));

console.log(
  JSON.stringify({
    peer,
    delivery,
    offer: {sender, type: offer.type, negotiation},
    candidate: (await candidate).candidate,
    refused,
    users: [...users.users.keys()],
    peers: [...users.peers.keys()],
    states,
    ended: (await ended).code,
  }),
);
