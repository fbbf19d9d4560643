// Small charts of the last hour: fixed elements, whose paths change.

import { period, rate } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 64];
/** Points that are kept: an hour of five seconds each. */
const KEPT = 720;
/** The shortest time that fills the width. */
const SHORTEST = 60;

const charts = {
  commands: { unit: (value) => `${rate(value)}/s`, series: [["main", "", (point) => point.commands]] },
  clients: {
    unit: period,
    series: [["faint s-dash", "p50", (point) => point.clients.p50], ["main", "p99", (point) => point.clients.p99]],
  },
  servers: {
    unit: period,
    series: [
      ["source s-dash", "source p50", (point) => point.source.p50], ["source", "p99", (point) => point.source.p99],
      ["target s-dash", "target p50", (point) => point.target.p50], ["target", "p99", (point) => point.target.p99],
    ],
  },
  reads: {
    unit: period,
    series: [
      ["source s-dash", "source p50", (point) => point.source_reads.p50], ["source", "p99", (point) => point.source_reads.p99],
      ["target s-dash", "target p50", (point) => point.target_reads.p50], ["target", "p99", (point) => point.target_reads.p99],
    ],
  },
  lag: { unit: period, series: [["main", "", (point) => point.lag]] },
};

const element = (name, attributes = {}) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

/** Keeps points and draws them into the figures of the page. */
export class Charts {
  points = [];

  constructor(figures) {
    this.drawn = [...figures].map((figure) => build(figure, charts[figure.dataset.chart]));
  }

  /** When the last point was taken, in Unix seconds. */
  get last() {
    return this.points.at(-1)?.at ?? 0;
  }

  add(points) {
    // A process that was started anew begins its hour anew.
    const fresh = points.filter((point) => point.at > this.last);
    this.points = [...this.points, ...fresh].slice(-KEPT);
    if (fresh.length > 0) this.drawn.forEach((chart) => draw(chart, this.points));
  }
}

function build(figure, { unit, series }) {
  const now = document.createElement("div");
  now.className = "now";
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  svg.append(element("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }));
  const lines = series.map(([style, name, value]) => {
    const path = element("path", { class: `s-${style}` });
    const figures = document.createElement("span");
    figures.className = `s-${style}`;
    const small = document.createElement("small");
    figures.append("", small);
    small.textContent = name;
    svg.append(path);
    now.append(figures);
    return { path, text: figures.firstChild, name, value };
  });
  const scale = document.createElement("div");
  scale.className = "scale";
  const [span, most] = [document.createElement("span"), document.createElement("span")];
  scale.append(span, most);
  figure.append(now, svg, scale);
  return { svg, lines, span, most, unit, title: figure.querySelector("figcaption").textContent };
}

function draw({ svg, lines, span, most, unit, title }, points) {
  const end = points.at(-1).at;
  const width = Math.max(SHORTEST, end - points[0].at);
  const values = lines.map(({ value }) => points.map(value));
  const top = Math.max(0, ...values.flat().filter((value) => value !== null));
  const said = lines.map((line, place) => {
    line.path.setAttribute("d", path(points, values[place], end - width, width, top));
    const now = values[place].at(-1);
    const text = now === null ? "–" : unit(now);
    line.text.data = text;
    return `${line.name} ${text}`.trim();
  });
  span.textContent = period(Math.round(width));
  most.textContent = `up to ${unit(top)}`;
  svg.setAttribute("aria-label", `${title}: now ${said.join(", ")}; up to ${unit(top)}`);
}

/** A line that is broken where nothing was measured. */
function path(points, values, begin, width, top) {
  let pen = "M";
  let text = "";
  points.forEach(({ at }, place) => {
    const value = values[place];
    if (value === null) {
      pen = "M";
      return;
    }
    const x = ((at - begin) / width) * WIDTH;
    const y = HEIGHT - (top > 0 ? value / top : 0) * (HEIGHT - 2);
    text += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  return text;
}
