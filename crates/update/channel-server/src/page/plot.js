// How many machines ran which version over time, as a stack of areas.
"use strict";

const COLOURS = ["#1f5fa8", "#e0902f", "#2e8b57", "#a3478f", "#7a6a2e", "#c44536", "#4aa3a2", "#6c6fbf"];
const WIDTH = 400;
const HEIGHT = 140;
const LEFT = 26;
const BOTTOM = 16;

function drawn(name, attributes, words) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  return made;
}

// A point holds until the next: between them nothing changed.
function stepped(points, now) {
  const steps = [];
  for (let at = 0; at < points.length; at += 1) {
    const end = at + 1 < points.length ? points[at + 1].at : Math.max(now, points[at].at + 1);
    steps.push({ from: points[at].at, to: end, versions: points[at].versions });
  }
  return steps;
}

function plot(svg, legend, points, now) {
  const steps = stepped(points, now);
  const versions = [...new Set(points.flatMap((point) => Object.keys(point.versions)))]
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  if (!steps.length || !versions.length) {
    svg.replaceChildren();
    legend.replaceChildren();
    return;
  }
  const total = (versions) => Object.values(versions).reduce((sum, count) => sum + count, 0);
  const most = Math.max(1, ...steps.map((step) => total(step.versions)));
  const [first, last] = [steps[0].from, steps[steps.length - 1].to];
  const x = (at) => LEFT + ((at - first) / Math.max(1, last - first)) * (WIDTH - LEFT);
  const y = (count) => (HEIGHT - BOTTOM) * (1 - count / most) + 2;
  const below = steps.map(() => 0);
  const parts = versions.map((version, number) => {
    const top = [];
    const bottom = [];
    steps.forEach((step, at) => {
      const count = step.versions[version] || 0;
      top.push(`${x(step.from).toFixed(1)},${y(below[at] + count).toFixed(1)}`,
        `${x(step.to).toFixed(1)},${y(below[at] + count).toFixed(1)}`);
      bottom.unshift(`${x(step.to).toFixed(1)},${y(below[at]).toFixed(1)}`,
        `${x(step.from).toFixed(1)},${y(below[at]).toFixed(1)}`);
      below[at] += count;
    });
    const area = drawn("polygon", { points: [...top, ...bottom].join(" "), fill: COLOURS[number % COLOURS.length] });
    area.append(drawn("title", {}, version));
    return area;
  });
  const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  svg.replaceChildren(
    ...parts,
    drawn("line", { x1: LEFT, x2: WIDTH, y1: y(0), y2: y(0) }),
    drawn("text", { x: 0, y: 12 }, String(most)),
    drawn("text", { x: 0, y: y(0) }, "0"),
    drawn("text", { x: LEFT, y: HEIGHT - 2 }, clock(first)),
    drawn("text", { x: WIDTH, y: HEIGHT - 2, "text-anchor": "end" }, clock(last)),
  );
  legend.replaceChildren(...versions.map((version, number) => {
    const item = document.createElement("span");
    const colour = document.createElement("i");
    colour.style.background = COLOURS[number % COLOURS.length];
    item.append(colour, version);
    return item;
  }));
}
