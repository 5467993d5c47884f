// What happens comes as a stream; what an operator does goes to the API. The token stays in this window.
"use strict";

const TOKEN = "keelson-token";
const PAGE = 50; // machines at once
const AGAIN = 2000; // milliseconds until a lost connection is tried again
const QUIET = 400; // milliseconds from news until machines and plots are asked for

const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem(TOKEN) || "";
let stream = null;
let picture = null;
let chosen = "";
let page = 1;
let timer = 0;
const plots = new Map();

function element(name, words, className) {
  const made = document.createElement(name);
  if (words !== undefined && words !== null) made.textContent = words;
  if (className) made.className = className;
  return made;
}

function button(words, act, id) {
  const made = element("button", words);
  made.type = "button";
  if (id) made.id = id;
  made.addEventListener("click", act);
  return made;
}

function choice(options, value, id) {
  const made = element("select");
  if (id) made.id = id;
  for (const option of options) made.append(new Option(option, option, false, option === value));
  return made;
}

const time = (at) => (at ? new Date(at * 1000).toLocaleString() : "never");
const size = (bytes) => (bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`);
const app = () => picture.apps.find((one) => one.key === chosen) || picture.apps[0];
const path = (...words) => `/api/apps/${[app().key, ...words].map(encodeURIComponent).join("/")}`;

async function call(method, where, body) {
  const headers = { Authorization: `Bearer ${token}` };
  const answer = await fetch(where, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error || answer.statusText);
  return value;
}

// One thing that an operator does; why it was refused is shown.
async function act(method, where, body) {
  try {
    await call(method, where, body);
    $("told").textContent = "";
  } catch (error) {
    $("told").textContent = error.message;
  }
}

function channelRow(channel, packages, channels) {
  const name = channel.track;
  const row = element("tr");
  row.id = `channel-${name}`;
  const change = element("td", null, "change");
  const buttons = element("div", null, "buttons");
  const versions = packages.filter((one) => name.includes("@") ? name.endsWith(`@${one.arch}`) : one.arch === "amd64")
    .map((one) => one.version);
  const version = choice(versions, channel.package, `version-${name}`);
  const target = choice(channels.filter((other) => other !== name), "", `target-${name}`);
  buttons.append(
    version, button("Set", () => act("PUT", path("channels", name), { version: version.value }), `set-${name}`),
    target, button("Promote", () => act("POST", path("channels", target.value, "promote"), { from: name }), `promote-${name}`),
  );
  change.append(buttons);
  row.append(element("td", name), element("td", channel.package || "none", "version"),
    element("td", time(channel.changed)), element("td", channel.floors.join(", ")), change);
  return row;
}

// The same for as long as the page is open: it is not empty until the next points come.
function drawing(name) {
  if (!plots.has(name)) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Versions of ${name} over time`);
    plots.set(name, { svg, legend: element("div", null, "legend") });
  }
  return plots.get(name);
}

function groupCard(group) {
  const name = group.track;
  const card = element("div", null, "group");
  card.id = `group-${name}`;
  const rollout = group.rollout;
  const there = rollout ? group.versions[rollout.version] || 0 : 0;
  const head = element("h3", name);
  head.append(element("span", ` channel ${group.channel}`, "soft"));
  const state = element("p", "", "state");
  if (group.paused) {
    state.textContent = `Paused: ${group.paused.why}`;
    state.classList.add(group.paused.by === "operator" ? "warning" : "error");
  } else if (rollout) {
    state.textContent = `${there} of ${group.machines} on ${rollout.version}, ${group.in_progress} updating, ${rollout.failed} failed`;
  } else {
    state.textContent = `${group.machines} machines, no version`;
  }
  const bar = element("div", null, "bar");
  const done = element("div");
  done.style.width = `${group.machines ? (100 * there) / group.machines : 0}%`;
  bar.append(done);
  const words = Object.entries(group.statuses).map(([status, count]) => `${count} ${status}`).join(", ");
  const { svg, legend } = drawing(name);
  const change = element("div", null, "buttons change");
  const percent = element("input");
  Object.assign(percent, { type: "number", min: 0, max: 100, value: group.policy.percent, id: `percent-${name}` });
  change.append(
    group.paused
      ? button("Resume", () => act("POST", path("groups", name, "resume")), `resume-${name}`)
      : button("Pause", () => act("POST", path("groups", name, "pause"), { why: "from the web page" }), `pause-${name}`),
    percent,
    button("Percent", () => act("PUT", path("groups", name, "policy"), { ...group.policy, percent: Number(percent.value) }), `apply-${name}`),
  );
  card.append(head, state, bar, element("p", `${words || "no machines"}; rollout to ${group.share} %`, "soft"), change, svg, legend);
  return card;
}

// A link for each file that its channel serves.
function imageLinks(images) {
  const cell = element("td", null, "images");
  for (const image of images) {
    const link = element(image.url ? "a" : "span", `${image.channel} ${image.format}`, image.url ? "" : "soft");
    if (image.url) link.href = image.url;
    link.title = `${image.name}, ${size(image.size)}`;
    cell.append(link, " ");
  }
  return cell;
}

function packageRow(one) {
  const row = element("tr");
  const name = one.arch === "amd64" ? one.version : `${one.version}@${one.arch}`;
  row.id = `package-${name}`;
  const version = element("td", one.version, "version");
  if (one.banned !== null) version.append(element("span", ` banned: ${one.banned}`, "error"));
  const change = element("td", null, "change");
  change.append(one.banned === null
    ? button("Ban", () => act("POST", path("packages", name, "ban"), { why: "from the web page" }))
    : button("Unban", () => act("DELETE", path("packages", name, "ban"))));
  row.append(version, element("td", one.board), element("td", size(one.size)),
    element("td", one.channels.join(", ") || "all"), imageLinks(one.images), element("td", time(one.created)), change);
  return row;
}

function machineRow(machine) {
  const row = element("tr");
  const id = element("td", machine.alias || machine.id, "id");
  id.title = `${machine.id} ${machine.ip} ${machine.oem}`;
  const status = element("td", machine.status, machine.status === "error" ? "error" : "");
  if (machine.grant) status.append(element("span", ` to ${machine.grant.version}`, "soft"));
  const change = element("td", null, "change");
  change.append(button("Reset", () => act("POST", path("instances", machine.id, "reset"))));
  row.append(id, element("td", machine.track), element("td", machine.version, "version"), status,
    element("td", time(machine.last_seen)), element("td", machine.error || machine.why || "", "soft"), change);
  return row;
}

function entryRow(entry) {
  const row = element("li");
  row.append(element("time", time(entry.at)), element("span", entry.text, entry.severity));
  return row;
}

// A field that somebody is at, or a button that is held down, is not taken from under the hands.
function replace(parent, rows) {
  const active = document.activeElement;
  if (parent.querySelector(":active")) return;
  if (parent.contains(active) && ["SELECT", "INPUT"].includes(active.tagName)) return;
  parent.replaceChildren(...rows);
}

function show() {
  const one = app();
  $("app").hidden = picture.apps.length < 2;
  if ($("app").options.length !== picture.apps.length) {
    $("app").replaceChildren(...picture.apps.map((other) => new Option(other.name, other.key)));
  }
  $("root").textContent = one.root?.warning ?? "";
  const names = one.channels.map((channel) => channel.track);
  replace($("channels"), one.channels.map((channel) => channelRow(channel, one.packages, names)));
  replace($("groups"), one.groups.map(groupCard));
  replace($("packages"), one.packages.map(packageRow));
  $("no-packages").hidden = one.packages.length > 0;
  $("machine-count").textContent = one.machines;
  $("activity").replaceChildren(...picture.activity.filter((entry) => entry.app === one.key).map(entryRow));
  if ($("group").options.length !== one.groups.length + 1) {
    $("group").replaceChildren(new Option("any group", ""), ...one.groups.map((group) => new Option(group.track, group.track)));
  }
  // Not put off by the next picture: where much happens there is always one.
  timer = timer || setTimeout(details, QUIET);
}

// Machines and plots, which are not in every picture.
async function details() {
  clearTimeout(timer);
  timer = 0;
  const one = app();
  const query = new URLSearchParams({ sort: "seen", page, perpage: PAGE });
  for (const name of ["search", "status", "group"]) if ($(name).value) query.set(name, $(name).value);
  try {
    const found = await call("GET", `${path("instances")}?${query}`);
    replace($("machines"), found.instances.map(machineRow));
    $("machine-count").textContent = `${found.total} of ${one.machines}`;
    $("earlier").disabled = page === 1;
    $("later").disabled = page * PAGE >= found.total;
    for (const group of one.groups) {
      const points = await call("GET", path("groups", group.track, "timeline"));
      const { svg, legend } = drawing(group.track);
      plot(svg, legend, points, picture.now);
    }
  } catch (error) {
    $("told").textContent = error.message;
  }
}

function take(block) {
  const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
  if (!data) return;
  picture = JSON.parse(data);
  show();
}

// Server-Sent Events by hand: the browser's own reader cannot send a token.
async function follow() {
  const mine = new AbortController();
  stream = mine;
  try {
    const answer = await fetch("/api/events", { headers: { Authorization: `Bearer ${token}` }, signal: mine.signal });
    if (!answer.ok) throw new Error((await answer.json()).error);
    $("live").textContent = "Live.";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(take);
    }
  } catch (error) {
    if (stream !== mine) return;
    $("told").textContent = "";
  }
  if (stream !== mine) return;
  $("live").textContent = "Connection lost, reconnecting.";
  setTimeout(() => { if (stream === mine) follow(); }, AGAIN);
}

async function enter() {
  try {
    const { role } = await call("GET", "/api/role");
    sessionStorage.setItem(TOKEN, token);
    document.body.classList.toggle("viewer", role !== "admin");
    $("refused").textContent = "";
    $("login").hidden = true;
    $("main").hidden = false;
    $("logout").hidden = false;
    follow();
  } catch (error) {
    sessionStorage.removeItem(TOKEN);
    $("refused").textContent = error.message;
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  enter();
});
$("logout").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
});
$("app").addEventListener("change", () => { chosen = $("app").value; page = 1; show(); });
for (const name of ["status", "group"]) $(name).addEventListener("change", () => { page = 1; details(); });
$("search").addEventListener("input", () => { page = 1; timer = timer || setTimeout(details, QUIET); });
$("earlier").addEventListener("click", () => { page = Math.max(1, page - 1); details(); });
$("later").addEventListener("click", () => { page += 1; details(); });
for (const status of ["undefined", "granted", "error", "complete", "installed", "downloaded", "downloading", "onhold"]) {
  $("status").append(new Option(status, status));
}
if (token) enter();
