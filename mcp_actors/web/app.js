/** The demo page: a call and a chat between all who have the same room in their address. */

import {Call} from "./call.js";
import {Chat} from "./chat.js";
import {ChatPanel} from "./chat-panel.js";
import {LocalMedia} from "./media.js";
import {cleanName, randomId, randomName, subjectOf} from "./names.js";
import {People} from "./people.js";
import {Signaling} from "./signaling.js";
import {Unreached} from "./unreached.js";

const DEFAULT_ROOM = "lobby";
const RETRY_PAUSE = 1000; // milliseconds
const CONNECTING_TAKES = 10_000;
const TOKEN_NEEDED = new Set([4502, 4503]); // close codes

const $ = (id) => document.getElementById(id);
const roomInAddress = () => new URLSearchParams(location.search).get("room")?.trim() || DEFAULT_ROOM;

function endpoint(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** Session storage differs between two tabs, and may be forbidden. */
function remembered(key, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** The access token that the address brings, which it then no longer shows: who copies it must not become us. */
function takeToken() {
  const url = new URL(location.href);
  const brought = url.searchParams.get("token");
  if (brought === null) return remembered("token") || undefined;
  url.searchParams.delete("token");
  history.replaceState(null, "", url);
  remembered("token", brought);
  return brought || undefined;
}

const token = takeToken();
const subject = token && subjectOf(token);

const self = {
  id: subject ?? randomId(),
  name: remembered("name") || cleanName(subject, randomName()),
  joinedAs: "",
  room: roomInAddress(),
  inRoom: false,
  wantsRoom: true,
  hadCamera: false,
  hadMicrophone: false,
  askingForCamera: false,
  needsToken: false,
  problem: "",
};
remembered("name", self.name);

const signaling = new Signaling(endpoint("/ws/signaling/"), {token});
const call = new Call(signaling);
const chat = new Chat(endpoint("/ws/mcp/"), self.id, {token});
const media = new LocalMedia(self.id, self.name);
const people = new People(self.id);
const unreached = new Unreached(call);
const panel = new ChatPanel(chat, people, self);
globalThis.mcpActors = {signaling, call, chat, media};

/* What the page shows of all that. */

function showStatus() {
  const joining = !self.inRoom && signaling.state !== "reconnecting";
  const state = !self.wantsRoom ? "closed" : joining ? "connecting" : signaling.state;
  const words = {
    connecting: "Connecting",
    open: "Connected",
    reconnecting: call.peers.size ? "Reconnecting, the call goes on" : "Reconnecting",
    closed: "Not in the room",
  };
  $("status").dataset.state = state;
  $("status-text").textContent = words[state];
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
  $("camera").disabled = self.askingForCamera || !self.wantsRoom;
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

function showInvitation() {
  $("invitation").hidden = !(self.inRoom && people.size === 1);
}

function showAll() {
  people.showSelf(self.name, media, self.inRoom);
  showStatus();
  showControls();
  showInvitation();
  showProblem();
}

function unreachedInWords() {
  if (!unreached.peers.size || !self.inRoom || signaling.state !== "open") return "";
  const names = [...unreached.peers].map(({id}) => people.nameOf(id));
  const who = names.slice(0, 3).join(", ") + (names.length > 3 ? " and others" : "");
  const why = "networks that hide addresses need camera permission, mDNS or a TURN server";
  return `Connected to the server, but not to ${who} yet: ${why}.`;
}

function showProblem() {
  const text = self.problem || unreachedInWords();
  if ($("problem").textContent !== text) $("problem").textContent = text; // it is read out
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

/* In and out of rooms, one step after the other. */

let steps = Promise.resolve();
const nextStep = (step) => (steps = steps.then(step).catch((error) => console.warn(error.message)));

/** Does again what fails for the moment only, as when the connection is lost just now. */
async function insist(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!error.retryable) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE));
      if (!self.wantsRoom) throw error;
    }
  }
}

async function goIn() {
  if (!self.wantsRoom || self.inRoom) return;
  self.problem = "";
  self.needsToken = false;
  try {
    self.joinedAs = self.name;
    await insist(() => call.join(self.room, self.id, {name: self.name}));
    self.inRoom = true;
    showAll();
    await insist(() => chat.join(self.room));
    panel.notice(`You are in room ${self.room}.`);
  } catch (error) {
    if (error.code === "unauthorized") self.needsToken = true;
    const why = self.needsToken && !token ? "This server asks for an access token." : error.message;
    if (self.wantsRoom) giveUp(`Joining did not work: ${why}`);
  }
  showAll();
}

async function goOut() {
  self.inRoom = false;
  await Promise.all([call.leave(), chat.leave()]);
  showAll();
}

function enter() {
  self.wantsRoom = true;
  if (self.hadCamera || self.hadMicrophone) useCamera(false, self.hadCamera);
  self.hadCamera = self.hadMicrophone = false;
  showAll();
  nextStep(goIn);
}

function leave() {
  self.wantsRoom = false;
  self.hadCamera = media.source === "camera";
  self.hadMicrophone = media.audio !== null;
  media.release();
  if (signaling.state !== "open") signaling.close(); // do not wait for a connection only to leave
  if (chat.state !== "open") chat.close();
  nextStep(async () => {
    await goOut();
    if (self.wantsRoom) return;
    signaling.close();
    chat.close();
    showAll();
  });
  showAll();
}

/** Leaves because something is wrong for good, and says what; the button to join starts anew. */
function giveUp(text) {
  self.problem = text;
  leave();
}

function changeRoom(room) {
  if (room === self.room && self.wantsRoom) return;
  nextStep(goOut);
  nextStep(() => {
    self.room = room;
    showRoom();
  });
  enter();
}

/* What the server and the others do. */

for (const type of ["peer-added", "peer-changed"]) {
  call.addEventListener(type, ({detail: peer}) => {
    people.show(peer);
    showInvitation();
  });
}
call.addEventListener("peer-removed", ({detail: peer}) => {
  people.remove(peer.id);
  showInvitation();
});

unreached.addEventListener("changed", showProblem);
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

// A name changed after joining is told by `signal`; who comes later knows only the one we joined with.
const tellName = (id) => signaling.signal(id, {profile: {name: self.name}}).catch(() => {});
signaling.addEventListener("peer-joined", ({detail}) => self.name !== self.joinedAs && tellName(detail.peer_id));
signaling.addEventListener("signal", ({detail: {sender, data}}) => {
  const peer = call.peers.get(sender);
  if (!peer || typeof data?.profile?.name !== "string") return;
  peer.metadata = {...peer.metadata, name: data.profile.name};
  people.show(peer);
});

media.addEventListener("changed", () => {
  call.send("audio", media.audio);
  call.send("video", media.video);
  showAll();
});

/* What the person does. */

async function useCamera(asked, filming = true) {
  self.askingForCamera = true;
  showControls();
  try {
    await media.useCamera(filming);
    if (!self.wantsRoom) media.release(); // left while the browser was asking
    setTimeout(() => call.retry(), CONNECTING_TAKES); // the permission shows the browser addresses it had to hide
  } catch (error) {
    const why = error.name === "NotAllowedError" ? "The camera was not allowed." : `No camera: ${error.message}`;
    if (asked) toast(`${why} The generated picture stays.`);
  } finally {
    self.askingForCamera = false;
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
    toast(link.href); // no clipboard outside secure contexts: show it
  }
}

$("camera").addEventListener("click", () => (media.source === "camera" ? media.useGenerated() : useCamera(true)));
$("mute").addEventListener("click", () => media.mute(!media.muted));
$("copy").addEventListener("click", copyLink);
$("invite").addEventListener("click", copyLink);
$("leave").addEventListener("click", ({detail: clicks}) => {
  if (clicks > 1) return; // a double click does not leave and come back
  if (self.wantsRoom) leave();
  else enter();
});
addEventListener("keydown", (event) => {
  if (event.repeat && event.target.closest?.("button")) event.preventDefault(); // nor does a key held down
});
$("room-input").addEventListener("input", () => ($("room-go").hidden = $("room-input").value.trim() === self.room));
$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = $("room-input").value.trim();
  if (!room) return;
  if (room !== self.room) history.pushState(null, "", `?${new URLSearchParams({room})}`);
  $("room-input").blur();
  changeRoom(room);
});
$("name").addEventListener("change", () => {
  self.name = cleanName($("name").value, self.name);
  $("name").value = media.name = self.name;
  remembered("name", self.name);
  signaling.metadata = {name: self.name};
  for (const id of call.peers.keys()) tellName(id);
  people.showSelf(self.name, media, self.inRoom);
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (remembered("token", $("token-input").value.trim()) !== null) location.reload(); // with an id, it is another person's page
  else toast("This browser remembers nothing for this page; without that it cannot take a token here.");
});
addEventListener("popstate", () => changeRoom(roomInAddress()));
addEventListener("pagehide", () => {
  call.leave(); // says so at once: nobody has to find out
  chat.leave();
});
addEventListener("pageshow", (event) => event.persisted && location.reload());

$("name").value = self.name;
showRoom();
call.send("video", media.video);

// A video without a picture yet holds the page's "load" back, for ever where its peer cannot be reached: let that come first.
function start() {
  if (self.wantsRoom) enter();
  if (self.wantsRoom) useCamera(false);
}
if (document.readyState === "complete") start();
else addEventListener("load", start, {once: true});
