/** The console: reads the server's state while the page is visible, and shows the page that the address names. */

import {Api, Refused, Unreachable} from "./api.js";
import {Breakdown} from "./breakdown.js";
import {byId, setText} from "./element.js";
import {Figures} from "./figures.js";
import {counted, duration} from "./format.js";
import {NodeList} from "./node-list.js";
import {Notices} from "./notices.js";
import {Poll} from "./poll.js";
import {RoomActions} from "./room-actions.js";
import {RoomList} from "./room-list.js";
import {RoomPage} from "./room-page.js";
import {Scrape} from "./scrape.js";
import {SignIn} from "./sign-in.js";
import {TokenStore} from "./token.js";

const INTERVAL = 2000; // milliseconds
const TITLE = "mcp_actors console";

const token = new TokenStore();
/** Counts the changes of the access: what was asked for before the last one says nothing about it. */
let access = 0;
/** Why something cannot be read now, by what it is. @type {Map<string, string>} */
const problems = new Map();
/** What is known of the server: its `version`, its number of `processes`, its `uptime` in seconds and so on. @type {Record<string, any>} */
const server = {};
const api = new Api(new URL("../", location.href), token);
const notices = new Notices();
const signIn = new SignIn(token);
const figures = new Figures(byId("tiles"));
const breakdown = new Breakdown(byId("breakdown-body"), byId("breakdown-empty"));
const nodes = new NodeList();
const rooms = new RoomList();
const actions = new RoomActions(api, (what) => {
  notices.tell(what);
  polls.room.now();
  polls.rooms.now();
});
const room = new RoomPage(api, actions, attempt);

/** @type {Record<"metrics" | "server" | "rooms" | "room", Poll>} */
const polls = {
  metrics: new Poll(() => reading("metrics", readMetrics), INTERVAL),
  server: new Poll(() => reading("server", readServer), INTERVAL),
  rooms: new Poll(() => reading("rooms", readRooms), INTERVAL),
  room: new Poll(() => reading("room", () => room.read()), INTERVAL),
};

/* Reading */

async function readMetrics() {
  const text = await api.metrics();
  byId("no-metrics").hidden = text !== null;
  byId("figures").hidden = text === null;
  byId("breakdown").hidden = text === null;
  if (text === null) return polls.metrics.stop();
  const scrape = new Scrape(text, performance.now());
  figures.add(scrape);
  if (figures.interval) breakdown.add(figures.interval);
  Object.assign(server, describe(scrape));
  showServer();
}

/** What the metrics say of all processes of the server. @param {Scrape} scrape */
function describe(scrape) {
  const started = scrape.min("process_start_time_seconds");
  return {
    processes: scrape.processes.length,
    missing: scrape.sum("mcp_actors_scrape_missing_processes"),
    ...(Number.isFinite(started) && {uptime: Date.now() / 1000 - started}),
  };
}

async function readServer() {
  const [found, {version, problem, uptime_seconds}] = await Promise.all([api.nodes(), api.server()]);
  nodes.show(found);
  Object.assign(server, {version, problem, uptime: server.processes ? server.uptime : uptime_seconds});
  showServer();
}

function showServer() {
  const {version, processes, missing, uptime, problem} = server;
  const parts = [
    version && `version ${version}`,
    processes && counted(processes, "process", "processes"),
    missing > 0 && `${missing} did not answer`,
    uptime !== undefined && `up ${duration(uptime)}`,
  ];
  setText(byId("server"), parts.filter(Boolean).join(" · "));
  setText(byId("server-problem"), problem ? `The server takes no joins: ${problem}.` : "");
  byId("server-problem").hidden = !problem;
}

async function readRooms() {
  const {query} = rooms;
  const page = await api.rooms(query);
  if (JSON.stringify(query) === JSON.stringify(rooms.query)) rooms.show(page);
}

/** Reads something, and shows whether that is possible. @param {string} what @param {() => Promise<void>} read */
async function reading(what, read) {
  const asked = access;
  try {
    await read();
    if (asked !== access) return;
    problems.delete(what);
    notices.state = "live";
  } catch (error) {
    if (asked !== access) return;
    failed(what, error);
  }
  notices.problem = [...problems.values()][0] ?? "";
}

/** @param {string} what @param {unknown} error */
function failed(what, error) {
  if (error instanceof Refused) {
    if (!error.isDenied) problems.set(what, error.message);
    else if (error.token === token.value) denied(error);
  } else {
    notices.state = "away";
    problems.set(what, "The server cannot be reached. Trying again.");
    if (!(error instanceof Unreachable)) console.error(error);
  }
}

/** @param {Refused} error */
function denied(error) {
  access += 1;
  stop();
  problems.clear();
  problems.set("access", error.message);
  notices.state = "denied";
  signIn.denied(error);
}

/** Does something that the operator asked for, and shows why if it fails. @param {() => Promise<void>} action */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    notices.tell(error instanceof Error ? error.message : String(error));
    if (error instanceof Refused && error.isDenied) signIn.denied(error);
  }
}

/* Pages */

const roomInAddress = () => {
  const encoded = /^#\/rooms\/(.+)$/.exec(location.hash)?.[1];
  try {
    return encoded ? decodeURIComponent(encoded) : "";
  } catch {
    return "";
  }
};

function start() {
  const name = roomInAddress();
  polls.metrics.start();
  for (const poll of name ? [polls.room] : [polls.server, polls.rooms]) poll.start();
  for (const poll of name ? [polls.server, polls.rooms] : [polls.room]) poll.stop();
}

function stop() {
  for (const poll of Object.values(polls)) poll.stop();
}

function show() {
  const name = roomInAddress();
  byId("overview").hidden = Boolean(name);
  byId("room").hidden = !name;
  document.title = name ? `${name} · ${TITLE}` : TITLE;
  room.open(name);
  problems.clear();
  start();
}

/** @param {HashChangeEvent} event */
function navigated(event) {
  show();
  if (roomInAddress()) byId("room-name").focus();
  else byId("search").focus({preventScroll: event.oldURL === ""});
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "/" && !target.matches("input, textarea, select")) {
    event.preventDefault();
    byId(roomInAddress() ? "member-filter" : "search").focus();
  } else if (event.key === "Escape" && roomInAddress()) {
    location.hash = "#/";
  }
}

addEventListener("hashchange", navigated);
addEventListener("keydown", pressed);
document.addEventListener("visibilitychange", () => document.hidden && (notices.state = "paused"));
rooms.addEventListener("change", () => polls.rooms.now());
signIn.addEventListener("token", () => {
  access += 1;
  problems.clear();
  notices.problem = "";
  notices.state = "connecting";
  start();
});
show();
