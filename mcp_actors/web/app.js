/** The demo page: a call and a chat between all who have the same room in their address. */

import {Call} from "./call.js";
import {Chat} from "./chat.js";
import {ChatPanel} from "./chat-panel.js";
import {LocalMedia} from "./media.js";
import {cleanName, randomId, randomName, subjectOf} from "./names.js";
import {People} from "./people.js";
import {Signaling} from "./signaling.js";
import {Unreachable} from "./unreachable.js";

const DEFAULT_ROOM = "lobby";
const RETRY_DELAY = 1000; // milliseconds
const CONNECT_TIMEOUT = 10_000;
const TOKEN_NEEDED = new Set([4502, 4503]); // close codes

const $ = (id) => document.getElementById(id);
/** A room's name as the server accepts it, whatever keyboard or link it comes from. */
const asRoom = (text) => text.normalize().replace(/\s+/g, " ").trim();
const roomInAddress = () => asRoom(new URLSearchParams(location.search).get("room") ?? "") || DEFAULT_ROOM;
/** Relative to the page, which may be mounted below any path. */
const endpoint = (path) => new URL(path, location.href.replace(/^http/, "ws"));

/** Reads or writes session storage, which differs between tabs. Browsers may forbid it: then the result is null. */
function stored(key, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Moves the access token from the address to the session storage, so that copying the address does not share it. */
function takeToken() {
  const url = new URL(location.href);
  const token = url.searchParams.get("token");
  if (token === null) return stored("token") || undefined;
  url.searchParams.delete("token");
  history.replaceState(null, "", url);
  stored("token", token);
  return token || undefined;
}

const token = takeToken();
const subject = token && subjectOf(token);

const self = {
  id: subject ?? new URLSearchParams(location.search).get("id") ?? randomId(), // an application may say who is logged in
  name: stored("name") || cleanName(subject, randomName()),
  joinedAs: "",
  room: roomInAddress(),
  inRoom: false,
  wantsRoom: true,
  hadCamera: false,
  hadMicrophone: false,
  requestingDevices: false,
  needsToken: false,
  problem: "",
};
stored("name", self.name);

const signaling = new Signaling(endpoint("ws/signaling/"), {token});
const call = new Call(signaling);
const chat = new Chat(endpoint("ws/mcp/"), self.id, {token});
const media = new LocalMedia(self.id, self.name);
const people = new People(self.id);
const unreachable = new Unreachable(call);
const panel = new ChatPanel(chat, people, self);
globalThis.mcpActors = {signaling, call, chat, media};

/* Rendering */

function showStatus() {
  const joining = !self.inRoom && signaling.state !== "reconnecting";
  const state = !self.wantsRoom ? "closed" : joining ? "connecting" : signaling.state;
  $("status").dataset.state = state;
  $("status-text").textContent = {
    connecting: "Connecting",
    open: "Connected",
    reconnecting: call.peers.size ? "Reconnecting, the call continues" : "Reconnecting",
    closed: "Not in the room",
  }[state];
}

function showButton(id, icon, label) {
  $(id).querySelector("use").setAttribute("href", `#icon-${icon}`);
  $(id).querySelector("span").textContent = label;
}

function showControls() {
  const {audio, muted, source} = media;
  const filming = source === "camera";
  $("mute").disabled = !audio;
  $("mute").dataset.muted = String(Boolean(audio) && muted);
  showButton("mute", audio && !muted ? "mic" : "mic-off", !audio ? "No mic" : muted ? "Unmute" : "Mute");
  $("camera").disabled = self.requestingDevices || !self.wantsRoom;
  $("camera").dataset.source = source;
  showButton("camera", filming ? "picture" : "camera", filming ? "Stop camera" : "Use camera");
  $("leave").classList.toggle("danger", self.wantsRoom);
  $("leave").classList.toggle("primary", !self.wantsRoom);
  showButton("leave", self.wantsRoom ? "leave" : "join", self.wantsRoom ? "Leave" : "Join again");
  panel.enabled = self.wantsRoom;
}

function showRoom() {
  $("room-input").value = self.room;
  $("room-go").hidden = true;
  document.title = `${self.room} · mcp_actors call`;
}

const showSelf = () => people.showSelf(self.name, media, self.inRoom);
const showInvitation = () => ($("invitation").hidden = !(self.inRoom && people.size === 1));

function showAll() {
  showSelf();
  showStatus();
  showControls();
  showInvitation();
  showProblem();
}

function listNames(peers) {
  const names = peers.map(({id}) => people.nameOf(id));
  return names.slice(0, 3).join(", ") + (names.length > 3 ? " and others" : "");
}

/** Peers whose offer or answer the server refuses: no camera permission and no TURN server would help. */
function describeRefused() {
  const refused = [...call.peers.values()].filter(({problem}) => problem);
  if (!refused.length || !self.inRoom) return "";
  const {code, message} = refused[0].problem;
  const what = message === undefined ? "what the other page sends" : "what this page sends";
  return `No call with ${listNames(refused)}: the server refuses ${what} (${code}). ${message ?? ""}`.trim();
}

function describeUnreachable() {
  const others = [...unreachable.peers].filter(({problem}) => !problem);
  if (!others.length || !self.inRoom || signaling.state !== "open") return "";
  const list = listNames(others);
  const cause = "networks that hide addresses need camera permission, mDNS or a TURN server";
  return `Connected to the server, but not to ${list} yet: ${cause}.`;
}

function showProblem() {
  const text = self.problem || describeRefused() || describeUnreachable();
  if ($("problem").textContent !== text) $("problem").textContent = text; // screen readers announce each change
  $("problem").hidden = !text;
  if ($("token-form").hidden !== self.needsToken) return;
  $("token-form").hidden = !self.needsToken;
  if (self.needsToken) $("token-input").focus();
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), 4000);
}

/* Joining and leaving, one step at a time */

let steps = Promise.resolve();
const enqueue = (step) => (steps = steps.then(step).catch((error) => console.warn(error.message)));

/** Repeats an action while its error is retryable, for example because the server is full, and says so meanwhile. */
async function retry(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!error.retryable || error.code === "peer-id-taken") throw error; // the client itself has retried an id of its own
      self.problem = `You are not in the room yet: ${error.message}`;
      showProblem();
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
      if (!self.wantsRoom) throw error;
    }
  }
}

async function joinRoom() {
  if (!self.wantsRoom || self.inRoom) return;
  self.problem = "";
  self.needsToken = false;
  try {
    self.joinedAs = self.name;
    await retry(() => call.join(self.room, self.id, {name: self.name}));
    self.inRoom = true;
    self.problem = "";
    showAll();
    const {users} = await retry(() => chat.join(self.room));
    self.problem = "";
    panel.showNotice(`You are in room ${self.room}.`);
    panel.showAgents(users);
  } catch (error) {
    if (error.code === "unauthorized") self.needsToken = true;
    const cause = self.needsToken && !token ? "This server asks for an access token." : error.message;
    if (self.wantsRoom) giveUp(`You could not join: ${cause}`);
  }
  showAll();
}

async function leaveRoom() {
  self.inRoom = false;
  await Promise.all([call.leave(), chat.leave()]);
  showAll();
}

function enter() {
  self.wantsRoom = true;
  if (self.hadCamera || self.hadMicrophone) useDevices(false, self.hadCamera);
  self.hadCamera = self.hadMicrophone = false;
  showAll();
  enqueue(joinRoom);
}

function leave() {
  self.wantsRoom = false;
  self.hadCamera = media.source === "camera";
  self.hadMicrophone = media.audio !== null;
  media.release();
  for (const connection of [signaling, chat]) if (connection.state !== "open") connection.close(); // do not wait to connect
  enqueue(async () => {
    await leaveRoom();
    if (self.wantsRoom) return;
    signaling.close();
    chat.close();
    showAll();
  });
  showAll();
}

/** Leaves after a permanent error; the person can join again with the button. */
function giveUp(text) {
  self.problem = text;
  leave();
}

function changeRoom(room) {
  if (room === self.room && self.wantsRoom) return;
  enqueue(leaveRoom);
  enqueue(() => {
    self.room = room;
    showRoom();
  });
  enter();
}

/* Events of the server and of other people */

for (const type of ["peer-added", "peer-changed"]) {
  call.addEventListener(type, ({detail: peer}) => {
    people.show(peer);
    showInvitation();
    showProblem();
  });
}
call.addEventListener("peer-removed", ({detail: peer}) => {
  people.remove(peer.id);
  showInvitation();
  showProblem();
});
unreachable.addEventListener("changed", showProblem);
people.addEventListener("named", showProblem);

for (const type of ["open", "reconnecting", "rejoined", "close"]) {
  signaling.addEventListener(type, showStatus);
  signaling.addEventListener(type, showProblem);
  chat.addEventListener(type, () => panel.refresh());
}
for (const connection of [signaling, chat]) {
  connection.addEventListener("close", ({detail: {code, reason}}) => {
    if (TOKEN_NEEDED.has(code)) self.needsToken = true;
    if (self.wantsRoom && self.inRoom) giveUp(`The server closed the connection: ${reason || `code ${code}`}.`);
  });
}

// A name that changed after joining is sent by `signal`: the roster has the one this page joined with.
const sendName = (id) => signaling.signal(id, {profile: {name: self.name}}).catch(() => {});
signaling.addEventListener("peer-joined", ({detail}) => self.name !== self.joinedAs && sendName(detail.peer_id));
signaling.addEventListener("signal", ({detail: {sender, data}}) => {
  const peer = call.peers.get(sender);
  if (!peer || typeof data?.profile?.name !== "string") return;
  peer.metadata = {...peer.metadata, name: data.profile.name};
  people.show(peer);
});

media.addEventListener("changed", () => {
  call.replaceTrack("audio", media.audio);
  call.replaceTrack("video", media.video);
  showAll();
});

/* Actions of the person */

async function useDevices(requested, camera = true) {
  self.requestingDevices = true;
  showControls();
  try {
    await media.useDevices(camera);
    if (!self.wantsRoom) media.release(); // the person left while the browser was asking
    setTimeout(() => call.retry(), CONNECT_TIMEOUT); // with the permission the browser no longer hides its addresses
  } catch (error) {
    const cause = error.name === "NotAllowedError" ? "The camera was not allowed." : `There is no camera: ${error.message}.`;
    if (requested) toast(`${cause} The generated picture stays.`);
  } finally {
    self.requestingDevices = false;
    showControls();
  }
}

async function copyLink() {
  const link = new URL(location.pathname, location.href);
  if (self.room !== DEFAULT_ROOM) link.searchParams.set("room", self.room);
  try {
    await navigator.clipboard.writeText(link.href);
    toast("The link is copied.");
  } catch {
    toast(link.href); // outside of secure contexts there is no clipboard
  }
}

$("camera").addEventListener("click", () => (media.source === "camera" ? media.useGenerated() : useDevices(true)));
$("mute").addEventListener("click", () => media.mute(!media.muted));
for (const id of ["copy", "invite"]) $(id).addEventListener("click", copyLink);
$("leave").addEventListener("click", ({detail: clicks}) => {
  if (clicks > 1) return; // the second half of a double click
  if (self.wantsRoom) leave();
  else enter();
});
addEventListener("keydown", (event) => {
  if (event.repeat && event.target.closest?.("button")) event.preventDefault(); // a key held down presses once
});
$("room-input").addEventListener("input", () => ($("room-go").hidden = asRoom($("room-input").value) === self.room));
$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = asRoom($("room-input").value);
  if (!room) return;
  if (room !== self.room) history.pushState(null, "", `?${new URLSearchParams({room})}`);
  $("room-input").blur();
  changeRoom(room);
});
$("name").addEventListener("change", () => {
  self.name = cleanName($("name").value, self.name);
  $("name").value = media.name = self.name;
  stored("name", self.name);
  signaling.metadata = {name: self.name};
  for (const id of call.peers.keys()) sendName(id);
  showSelf();
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (stored("token", $("token-input").value.trim()) !== null) location.reload(); // the token may change the id
  else toast("This browser stores nothing for this page, so the page cannot keep a token. Add it to the address.");
});
addEventListener("popstate", () => changeRoom(roomInAddress()));
addEventListener("pagehide", () => {
  call.leave(); // tells the others at once
  chat.leave();
});
addEventListener("pageshow", (event) => event.persisted && location.reload());

$("name").value = self.name;
showRoom();
call.replaceTrack("video", media.video);

// A video without a picture delays the page's "load" event, for ever if its peer cannot be reached: join after it.
function start() {
  if (self.wantsRoom) enter();
  if (self.wantsRoom) useDevices(false);
}
if (document.readyState === "complete") start();
else addEventListener("load", start, {once: true});
