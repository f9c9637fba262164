// The live page: asks /api/status every second and draws what happened between two answers. No library, no network but this server.
"use strict";

const INTERVAL_MS = 1000, POINTS = 3600, LOG_CHARACTERS = 200000;
const $ = (id) => document.getElementById(id);

// --- figures: the same rules as graph/control/run_rates.c ---

const grown = (before, now, key) => {
  const b = before?.[key] ?? 0, n = now[key] ?? 0;
  return n >= b ? n - b : n; // smaller: it was started again
};

const quantile = (before, now, share) => {
  const old = new Map(before?.op_ns ?? []);
  const counts = (now.op_ns ?? []).map(([bound, n]) => [bound, n >= (old.get(bound) ?? 0) ? n - (old.get(bound) ?? 0) : n]);
  const all = counts.reduce((sum, [, n]) => sum + n, 0);
  let sum = 0;
  for (const [bound, n] of counts) {
    sum += n;
    if (sum > 0 && sum >= share * all) return bound / 1e9;
  }
  return null;
};

const shares = (before, p) => {
  const busy = grown(before, p, "busy_s"), starved = grown(before, p, "starved_s"), blocked = grown(before, p, "blocked_s");
  const all = busy + starved + blocked;
  if (all > 0) return {busy: busy / all, starved: starved / all, blocked: blocked / all};
  const all_of = (what) => (p.state === "running" && p.doing === what ? 1 : 0); // in one long op, or one long wait
  return {busy: all_of("busy"), starved: all_of("starved"), blocked: all_of("blocked")};
};

const rates = (before, now) => {
  const seconds = before ? (now.now_ns - before.now_ns) / 1e9 : now.up_s;
  const per = (a, b, key) => (seconds > 0 ? grown(a, b, key) / seconds : 0);
  const named = (list, name) => list?.find((x) => x.name === name);
  const processes = now.processes.map((p) => {
    const b = named(before?.processes, p.name);
    const links = now.links.filter((l) => l.to === p.name);
    const sum = (key) => links.reduce((total, l) => total + l[key], 0);
    return {
      ...p, ...shares(b, p), source: p.source,
      frames_per_s: per(b, p, p.source ? "frames_out" : "frames_in"), tokens_per_s: per(b, p, "tokens"),
      queue: sum("queue"), in_flight: sum("in_flight"), window: sum("window"), link_copied: sum("copied_bytes"),
      p50: quantile(b, p, 0.5), p99: quantile(b, p, 0.99),
    };
  });
  const most = Math.max(...processes.map((p) => p.busy), 0);
  const bottleneck = most > 0 ? processes.find((p) => p.busy === most) : undefined;
  if (bottleneck) bottleneck.bottleneck = true;
  const links = now.links.map((l) => ({...l, frames_per_s: per(before?.links.find((b) => b.number === l.number), l, "frames")}));
  return {processes, links, tokens_per_s: per(before, now, "tokens"), documents_per_s: per(before, now, "documents")};
};

// --- numbers as people read them ---

const count = (n) => Math.round(n).toLocaleString("en");
const rate = (n) => {
  const units = ["", "k", "M", "G"];
  let u = 0;
  for (; n >= 999.5 && u < 3; u++) n /= 1000;
  return (u === 0 && n >= 10) || n >= 100 || n === Math.floor(n) ? n.toFixed(0) + units[u] : n.toFixed(1) + units[u];
};
const bytes = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let u = 0;
  for (; n >= 1023.95 && u < 4; u++) n /= 1024;
  return (u > 0 && n < 10 ? n.toFixed(1) : n.toFixed(0)) + " " + units[u];
};
const duration = (s) => (s === null ? "–" : s < 1e-3 ? (s * 1e6).toFixed(0) + " µs" : s < 1 ? (s * 1e3).toFixed(s < 0.00995 ? 1 : 0) + " ms" : s.toFixed(1) + " s");
const percent = (x) => (x * 100).toFixed(0) + " %";
const clock = (s) => {
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  return s < 3600 ? Math.floor(s / 60) + ":" + two(s % 60) : Math.floor(s / 3600) + ":" + two((s / 60) % 60) + ":" + two(s % 60);
};

// --- the graph ---

const svg = (name, attributes, ...children) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
};

const WIDTH = 118, HEIGHT = 58, GAP_X = 68, GAP_Y = 26;

// Column of a process: one more than the furthest of those it reads; edges back do not count.
const layout = (processes, links) => {
  const column = new Map(processes.map((p) => [p.name, 0]));
  const forward = links.filter((l) => !l.feedback);
  for (let i = 0; i < processes.length; i++)
    for (const l of forward) {
      const next = (column.get(l.from) ?? 0) + 1;
      if (next > column.get(l.to) && next < processes.length) column.set(l.to, next);
    }
  const rows = new Map();
  const places = new Map();
  for (const p of processes) {
    const c = column.get(p.name), row = rows.get(c) ?? 0;
    rows.set(c, row + 1);
    places.set(p.name, {x: 10 + c * (WIDTH + GAP_X), row, c});
  }
  const most = Math.max(...rows.values(), 1);
  for (const place of places.values())
    place.y = 24 + (place.row + (most - rows.get(place.c)) / 2) * (HEIGHT + GAP_Y);
  const columns = Math.max(...column.values(), 0) + 1;
  const below = links.some((l) => l.feedback) ? 34 : 0; // edges that lead back
  return {places, width: columns * (WIDTH + GAP_X) - GAP_X + 20, height: 24 + most * (HEIGHT + GAP_Y) + below};
};

const drawProcess = (p, place) => {
  const g = svg("g", {class: "process" + (p.bottleneck ? " bottleneck" : "") + (p.state === "failed" ? " failed" : "")});
  const y = place.y + HEIGHT * (1 - p.busy);
  g.append(
    svg("rect", {class: "frame", x: place.x, y: place.y, width: WIDTH, height: HEIGHT, rx: 4}),
    svg("rect", {class: "busy", x: place.x + 1, y, width: WIDTH - 2, height: HEIGHT * p.busy}),
    svg("text", {x: place.x + 8, y: place.y + 18}, p.name),
    svg("text", {class: "faint", x: place.x + 8, y: place.y + 34}, p.state === "running" ? percent(p.busy) + " busy" : p.state),
    svg("text", {class: "faint", x: place.x + 8, y: place.y + 50}, rate(p.tokens_per_s > 0 ? p.tokens_per_s : p.frames_per_s) + (p.tokens_per_s > 0 ? " tok/s" : " frames/s")),
    svg("title", {}, p.work || p.name));
  return g;
};

const drawLink = (l, from, to, bottom) => {
  const full = l.window > 0 && l.in_flight >= l.window;
  const x1 = from.x + WIDTH, y1 = from.y + HEIGHT / 2, x2 = to.x, y2 = to.y + HEIGHT / 2;
  const back = x2 <= x1;
  const path = back
    ? `M${from.x + WIDTH / 2},${from.y + HEIGHT} C${from.x + WIDTH / 2},${bottom} ${to.x + WIDTH / 2},${bottom} ${to.x + WIDTH / 2},${to.y + HEIGHT + 3}`
    : `M${x1},${y1} C${x1 + GAP_X / 2},${y1} ${x2 - GAP_X / 2},${y2} ${x2 - 3},${y2}`;
  const tx = back ? (from.x + to.x + WIDTH) / 2 : (x1 + x2) / 2, ty = back ? bottom - 8 : (y1 + y2) / 2;
  return svg("g", {class: "edge" + (full ? " full" : "")},
    svg("path", {d: path, "marker-end": "url(#arrow)"}),
    svg("text", {x: tx, y: ty - 6}, rate(l.frames_per_s) + "/s"),
    svg("text", {class: "faint", x: tx, y: ty + 14}, l.in_flight + "/" + l.window),
    svg("title", {}, `${l.from}.${l.from_port} to ${l.to}.${l.to_port}: ${count(l.frames)} frames, ${bytes(l.bytes)}, ${bytes(l.copied_bytes)} copied`));
};

const drawGraph = (figures) => {
  const {places, width, height} = layout(figures.processes, figures.links);
  const arrow = svg("defs", {}, svg("marker", {id: "arrow", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto"}, svg("path", {d: "M0,0 6,3 0,6z"})));
  const graph = $("graph");
  graph.setAttribute("width", width);
  graph.setAttribute("viewBox", `0 0 ${width} ${height}`);
  graph.replaceChildren(arrow,
    ...figures.links.filter((l) => places.has(l.from) && places.has(l.to)).map((l) => drawLink(l, places.get(l.from), places.get(l.to), height - 4)),
    ...figures.processes.map((p) => drawProcess(p, places.get(p.name))));
};

// --- charts ---

const history = []; // {t: seconds since the run's start, tokens, documents, queue, rss}

// What was before this page was opened: the server keeps the newest half hour, as counters.
const recall = async () => {
  const answer = await fetch("/api/history");
  if (!answer.ok) return;
  const samples = await answer.json();
  for (let i = 1; i < samples.length; i++) {
    const [t0, tokens0, documents0] = samples[i - 1], [t, tokens, documents, queue, rss] = samples[i];
    history.push({t, tokens: Math.max(tokens - tokens0, 0) / (t - t0), documents: Math.max(documents - documents0, 0) / (t - t0), queue, rss});
  }
};

const charts = [
  {key: "tokens", title: "tokens a second", format: rate},
  {key: "documents", title: "documents a second", format: rate},
  {key: "queue", title: "frames waiting in all queues", format: count},
  {key: "rss", title: "memory of all processes", format: bytes},
];

const remember = (now, figures) => {
  const sum = (key) => figures.processes.reduce((total, p) => total + p[key], 0);
  history.push({t: now.up_s, tokens: figures.tokens_per_s, documents: figures.documents_per_s, queue: sum("queue"), rss: sum("rss_bytes") + now.rss_bytes});
  if (history.length > POINTS) history.shift();
};

const drawChart = ({key, title, format}) => {
  const most = Math.max(...history.map((h) => h[key]), 1e-9), begin = history[0].t;
  const span = Math.max(history.at(-1).t - begin, 1);
  const points = history.map((h) => `${((h.t - begin) / span) * 100},${40 - (h[key] / most) * 38}`).join(" ");
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  const name = document.createElement("span"), value = document.createElement("strong");
  name.textContent = `${title} (top ${format(most)}, ${clock(span)})`;
  value.textContent = format(history.at(-1)[key]);
  caption.append(name, value);
  figure.dataset.chart = key;
  figure.append(caption, svg("svg", {viewBox: "0 0 100 40", preserveAspectRatio: "none"}, svg("polyline", {points})));
  return figure;
};

// --- table ---

const columns = [
  ["process", (p) => p.name], ["pid", (p) => (p.pid > 0 ? p.pid : "–")], ["frames/s", (p) => rate(p.frames_per_s)], ["tok/s", (p) => rate(p.tokens_per_s)],
  ["busy", (p) => percent(p.busy)], ["starved", (p) => percent(p.starved)], ["blocked", (p) => percent(p.blocked)],
  ["queue", (p) => (p.source ? "–" : p.queue)], ["window", (p) => (p.source ? "–" : p.in_flight + "/" + p.window)], ["copied", (p) => (p.source ? "–" : bytes(p.link_copied))],
  ["memory", (p) => bytes(p.rss_bytes)], ["p50", (p) => duration(p.p50)], ["p99", (p) => duration(p.p99)], ["restarts", (p) => p.restarts ?? 0],
  ["state", (p) => p.state + (p.bottleneck ? ", the bottleneck" : "")],
];

const row = (cell, texts) => {
  const tr = document.createElement("tr");
  for (const text of texts) {
    const td = document.createElement(cell);
    td.textContent = text;
    tr.append(td);
  }
  return tr;
};

const drawTable = (figures) => {
  $("table").tHead.replaceChildren(row("th", columns.map(([title]) => title)));
  $("table").tBodies[0].replaceChildren(...figures.processes.map((p) => row("td", columns.map(([, text]) => text(p)))));
};

// --- logs ---

const offsets = new Map(); // bytes read of each process's log
const logs = new Map(); // its text

const readLog = async (process) => {
  const from = offsets.get(process) ?? -1; // -1: the newest lines
  const answer = await fetch(`/api/logs?process=${encodeURIComponent(process)}&from=${from}`);
  if (!answer.ok) return false;
  const part = await answer.json();
  offsets.set(process, part.next);
  if (part.text === "") return false;
  logs.set(process, ((logs.get(process) ?? "") + part.text).slice(-LOG_CHARACTERS));
  return true;
};

const drawLogs = async (processes) => {
  const select = $("log-process"), names = processes.map((p) => p.name);
  for (const name of names)
    if (![...select.options].some((o) => o.value === name)) select.append(new Option(name, name));
  const changed = await Promise.all(names.map(readLog));
  if (changed.some((x) => x) || select.dataset.shown !== select.value) showLogs();
};

const showLogs = () => {
  const select = $("log-process"), pre = $("log");
  const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4;
  const lines = [...logs].filter(([name]) => select.value === "" || select.value === name)
    .flatMap(([name, text]) => text.split("\n").filter((line) => line !== "").map((line) => (select.value === "" ? name + " | " + line : line)));
  pre.textContent = lines.length > 0 ? lines.join("\n") : "nothing was said";
  select.dataset.shown = select.value;
  if (atEnd) pre.scrollTop = pre.scrollHeight;
};

// --- once a second ---

const drawHead = (now, figures) => {
  document.title = `${now.name}: ${now.state}`;
  $("name").textContent = now.name;
  const docs = now.expected > 0 ? `${count(now.documents)} of ${count(now.expected)}` : count(now.documents);
  $("headline").textContent = `${now.state} ${clock(now.up_s)} · ${docs} documents, ${count(now.open)} open, ${count(now.failed)} failed · ${rate(figures.tokens_per_s)} tokens/s`;
};

let before = null, failures = 0;

const trouble = (text) => {
  $("trouble").textContent = text;
  $("trouble").hidden = text === "";
};

const tick = async () => {
  try {
    const answer = await fetch("/api/status");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const now = await answer.json(), figures = rates(before, now);
    drawHead(now, figures);
    drawGraph(figures);
    drawTable(figures);
    if (before) remember(now, figures);
    if (history.length > 0) $("charts").replaceChildren(...charts.map(drawChart));
    before = now;
    failures = 0;
    trouble("");
    await drawLogs(now.processes);
  } catch (error) {
    if (++failures >= 2) trouble("The run does not answer: it has ended, or is stopped. What you see is from before.");
    console.warn(error);
  }
  setTimeout(tick, INTERVAL_MS);
};

$("log-process").addEventListener("change", showLogs);
recall().catch(console.warn).finally(tick);
