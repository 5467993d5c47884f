// What is typed is sent to /preview a moment later; the answer is shown beside it.
"use strict";

const PAUSE = 250; // milliseconds without a key
const SAMPLE = `#cloud-config
hostname: core-01
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleOnlyExampleOnlyExampleOnlyExampleOnl me@example
write_files:
  - path: /etc/motd
    permissions: 0644
    contents: |
      Hello.
coreos:
  units:
    - name: hello.service
      command: start
      content: |
        [Unit]
        Description=Hello
        [Service]
        ExecStart=/usr/bin/sleep infinity
`;

const text = document.getElementById("text");
const lines = document.getElementById("lines");
const summary = document.getElementById("summary");
const findings = document.getElementById("findings");
const plan = document.getElementById("plan");
const noPlan = document.getElementById("no-plan");
const fixAll = document.getElementById("fix-all");

let timer = 0;
let asked = 0;
let shown = [];

document.getElementById("here").textContent = location.origin;

function element(name, words, className) {
  const made = document.createElement(name);
  made.textContent = words;
  if (className) made.className = className;
  return made;
}

// Offset in `whole` of a line and a column that counts characters, as the server's do.
function offset(whole, line, column) {
  let at = 0;
  for (let number = 1; number < line; number += 1) {
    const end = whole.indexOf("\n", at);
    if (end < 0) return whole.length;
    at = end + 1;
  }
  for (const character of whole.slice(at)) {
    if (column <= 1 || character === "\n") break;
    at += character.length;
    column -= 1;
  }
  return at;
}

function fixed(whole, fix) {
  const at = offset(whole, fix.line, fix.column);
  if (!whole.startsWith(fix.replaces, at)) return whole;
  return whole.slice(0, at) + fix.with + whole.slice(at + fix.replaces.length);
}

// From the end, so that no fix moves the place of another.
function apply(fixes) {
  let whole = text.value;
  for (const fix of fixes.toSorted((a, b) => b.line - a.line || b.column - a.column)) whole = fixed(whole, fix);
  text.value = whole;
  ask();
}

function select(finding) {
  const start = offset(text.value, finding.line, finding.column);
  const end = text.value.indexOf("\n", start);
  text.focus();
  text.setSelectionRange(start, end < 0 ? text.value.length : end);
  const height = text.scrollHeight / Math.max(text.value.split("\n").length, 1);
  text.scrollTop = Math.max(0, (finding.line - 5) * height);
}

function number() {
  const worst = new Map();
  for (const finding of shown) if (!worst.has(finding.line)) worst.set(finding.line, finding.kind);
  const count = text.value.split("\n").length;
  const rows = [];
  for (let line = 1; line <= count; line += 1) rows.push(element("li", String(line), worst.get(line)));
  lines.replaceChildren(...rows);
  lines.scrollTop = text.scrollTop;
}

function row(finding) {
  const item = element("li", "");
  const place = element("button", `line ${finding.line}`, `place ${finding.kind}`);
  place.type = "button";
  place.addEventListener("click", () => select(finding));
  item.append(place, element("span", `${finding.kind}: ${finding.message}`));
  if (finding.fix) {
    const fix = element("button", "Fix");
    fix.type = "button";
    fix.title = finding.fix.replaces
      ? `Replace ${finding.fix.replaces} by ${finding.fix.with}`
      : `Add ${finding.fix.with}`;
    fix.addEventListener("click", () => apply([finding.fix]));
    item.append(fix);
  }
  return item;
}

function words({ op, why, ...rest }) {
  switch (op) {
    case "hostname": return `set hostname ${rest.name}`;
    case "useradd": return `create user ${rest.name}: useradd ${rest.argv.join(" ")}`;
    case "passwd": return `set the password of ${rest.name}`;
    case "ssh-keys": return `authorize ${told(rest.keys.length, "key")} of ${rest.user}`;
    case "write": return `write ${rest.path} (${[rest.mode, rest.owner, told(rest.size, "byte")].filter(Boolean).join(", ")})`;
    case "enable": return `enable ${rest.unit}${rest.runtime ? " until the next reboot" : ""}`;
    case "daemon-reload": return "reload the units of systemd";
    case "unit": return `${rest.command} ${rest.unit}`;
    case "script": return "run the script";
    default: {
      const values = Object.entries(rest).filter(([name]) => name !== "sha256").map(([, value]) => value);
      return [op, ...values.flat()].join(" ");
    }
  }
}

function step(action) {
  const item = element("li", words(action));
  item.append(element("span", action.why, "why"));
  return item;
}

function told(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function show(answer) {
  shown = answer.findings;
  findings.replaceChildren(...shown.map(row));
  plan.replaceChildren(...(answer.plan || []).map(step));
  noPlan.hidden = Boolean(answer.plan && answer.plan.length);
  noPlan.textContent = answer.plan ? "No actions." : "The user-data would be rejected.";
  fixAll.hidden = !shown.some((finding) => finding.fix);
  const of = (kind) => shown.filter((finding) => finding.kind === kind).length;
  summary.textContent = shown.length
    ? `${answer.kind}: ${told(of("error"), "error")}, ${told(of("warning"), "warning")}, ${told(of("info"), "hint")}`
    : `${answer.kind}: valid`;
  summary.className = of("error") ? "error" : "";
  number();
}

async function ask() {
  asked += 1;
  const mine = asked;
  number();
  try {
    const answer = await fetch("/preview", { method: "POST", body: text.value });
    const body = await answer.text();
    // An answer to what was there before says nothing about what is there now.
    if (mine !== asked) return;
    if (!answer.ok) throw new Error(body.trim());
    show(JSON.parse(body));
  } catch (error) {
    if (mine !== asked) return;
    summary.textContent = `The server does not respond: ${error.message}`;
    summary.className = "error";
  }
}

text.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE);
  number();
});
text.addEventListener("scroll", () => { lines.scrollTop = text.scrollTop; });
fixAll.addEventListener("click", () => apply(shown.filter((finding) => finding.fix).map((finding) => finding.fix)));
document.getElementById("sample").addEventListener("click", () => {
  text.value = SAMPLE;
  ask();
});
number();
