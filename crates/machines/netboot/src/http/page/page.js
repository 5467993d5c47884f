"use strict";

const INTERVAL = 2000; // milliseconds

const summary = document.getElementById("summary");
const machines = document.getElementById("machines");
const images = document.getElementById("images");
const ignored = document.getElementById("ignored");

document.getElementById("here").textContent = location.origin;

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function time(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString();
}

function stages(entries) {
  const list = element("ol", "", "stages");
  for (const entry of entries) {
    const item = element("li", `${entry.stage} `);
    item.title = entry.detail;
    item.append(element("span", time(entry.time)));
    list.append(item);
  }
  return list;
}

function row(machine) {
  const made = document.createElement("tr");
  made.append(element("td", machine.mac, "mono"), element("td", machine.address || "", "mono"));
  for (const text of [machine.hostname, machine.serial, machine.boots]) made.append(element("td", text ?? ""));
  const last = document.createElement("td");
  last.append(stages(machine.stages));
  made.append(last);
  return made;
}

function show(status) {
  const count = status.machines.length;
  summary.textContent = `${status.url}, ${count} machine${count === 1 ? "" : "s"}`;
  summary.className = "";
  machines.tBodies[0].replaceChildren(...status.machines.map(row));
  machines.hidden = count === 0;
  document.getElementById("no-machines").hidden = count > 0;
  const names = status.images.toReversed().map(({ version, channel, uki }) =>
    element("li", `${version} ${channel}${uki ? "" : ", without a UKI"}`));
  images.replaceChildren(...names);
  document.getElementById("no-images").hidden = names.length > 0;
  const reasons = Object.entries(status.ignored).map(([name, number]) => `${name}: ${number}`);
  ignored.textContent = reasons.join(", ") || "None.";
}

async function update() {
  try {
    const response = await fetch("/status.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.json());
  } catch (error) {
    summary.textContent = `The server does not respond: ${error.message}`;
    summary.className = "error";
  }
  setTimeout(update, INTERVAL);
}

update();
