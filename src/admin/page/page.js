// The page of a running migration. What comes is put in as text, never as markup; elements are made
// once and filled again, so that a page that is left open does not grow.

import { Charts } from "./charts.js";
import * as words from "./words.js";

const at = (id) => document.getElementById(id);
const { count, many, period, size, spaced } = words;
/** Lines of the audit that are shown. */
const DEEDS = 50;

let status = null;
let checked = false;
let token = null;
let name = "";
/** Which phase the open question was asked in. */
let asked = null;

/** Writes a text where it is another one, so that nothing is announced twice. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes a list have these items, reusing what is there. */
function fill(list, items, make, write) {
  while (list.childElementCount > items.length) list.lastElementChild.remove();
  while (list.childElementCount < items.length) list.append(make());
  items.forEach((item, place) => write(list.children[place], item));
}

const row = (columns) => () => {
  const made = document.createElement("tr");
  for (let column = 0; column < columns; column += 1) made.append(document.createElement("td"));
  return made;
};
const cells = (made, texts) => texts.forEach((text, place) => put(made.children[place], String(text)));

function define(list, pairs) {
  const texts = pairs.flat();
  fill(list, texts, () => document.createElement(list.childElementCount % 2 ? "dd" : "dt"), put);
}

function show() {
  const can = words.possible(status);
  const { headline, text, main } = words.next(status);
  put(at("headline"), headline);
  put(at("explanation"), text);
  document.title = `${spaced(status.phase)} · crossfade`;
  words.steps(status, checked).forEach((state, place) => {
    const step = at("steps").children[place];
    step.className = state;
    if (state === "now") step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
  for (const deed of ["check", "verify", "cutover", "rollback", "finalize"]) {
    at(deed).disabled = !can[deed];
    at(deed).classList.toggle("main", deed === main);
  }
  at("findings").hidden ||= !can.check;
  showBlockers();
  showServers();
  showBackfill(can.pause);
  showVerify();
  showReads();
  showMirror();
  showRehearsal();
  define(at("clients"), [
    ["connected", count(status.clients.connected)],
    ["commands", count(status.clients.commands)],
    ["hold of the last flip", status.cutover.hold_ms === null ? "none yet" : `${count(status.cutover.hold_ms)} ms`],
    ...(status.phase === "finalized" ? [] : [
      ["a crash would leave in doubt", status.record.kept ? `${count(status.record.groups)} of 65,536 groups` : "everything"],
    ]),
  ]);
  put(at("version"), `crossfade ${status.version}, up ${period(Math.floor(status.uptime_seconds))}`);
  if (at("confirm").open && asked !== status.phase) {
    at("confirm").close("no");
    tell("Nothing was done: the phase has changed meanwhile.", true);
  }
}

function showBlockers() {
  const before = status.phase === "mirroring" || status.phase === "backfilling";
  const advice = before ? status.advice ?? [] : [];
  const make = () => {
    const item = document.createElement("li");
    item.append(document.createElement("span"), document.createElement("small"));
    return item;
  };
  fill(at("blockers"), advice, make, (item, { blocker, todo }) => cells(item, [blocker, todo]));
}

function showServers() {
  for (const side of ["source", "target"]) {
    const [card, server] = [at(side), status[side]];
    const gone = side === "source" && status.phase === "finalized";
    const serves = status.primary === side;
    card.dataset.primary = serves ? "yes" : "no";
    put(card.querySelector(".role"), gone ? "let go" : serves ? "serves clients" : "follows");
    put(card.querySelector(".address"), server.address);
    const state = card.querySelector(".state");
    put(state, `version ${server.version || "unknown"} · ${gone ? "not looked at" : server.connected ? "reached" : "not reached"}`);
    state.classList.toggle("bad", !gone && !server.connected);
  }
  const { lag_seconds: lag, queued, queued_bytes: bytes, dirty_keys: dirty } = status.mirror;
  const mirrors = status.phase !== "finalized";
  at("flow").dataset.to = !mirrors ? "none" : status.primary === "source" ? "target" : "source";
  put(at("lag"), mirrors ? `lag ${period(lag)}` : "");
  put(at("queue"), mirrors && queued + dirty > 0 ? `${count(queued)} queued (${size(bytes)}), ${count(dirty)} dirty` : "");
}

function showBackfill(pausable) {
  const { backfill } = status;
  at("progress").value = backfill.percent;
  const left = backfill.eta_seconds === null ? "" : `, about ${period(Math.ceil(backfill.eta_seconds))} left`;
  put(at("copied"), backfill.state === "done"
    ? "Every key is copied."
    : `${backfill.percent.toFixed(1)} % of about ${many(backfill.total_estimate, "key")}, ${count(Math.round(backfill.keys_per_second))} a second${left}`);
  put(at("held"), backfill.state !== "done" && backfill.held_by ? `Held back: ${backfill.held_by}` : "");
  define(at("backfill"), [
    ...(status.primary === "source" ? [["copied", count(backfill.copied)]] : []),
    ["copied again", count(backfill.recopied)],
    ["failed, tried again", count(backfill.failed)],
    ["left out", count(backfill.left_out)],
    ["as they are · rewritten · by commands", Object.values(backfill.ways).map(count).join(" · ")],
    ...(backfill.cause ? [["why again", backfill.cause]] : []),
  ]);
  at("pause").disabled = !pausable;
  at("set").disabled = status.phase === "finalized";
  put(at("pause"), backfill.state === "paused" ? "Resume" : "Pause");
  at("rate").placeholder = backfill.rate ? count(backfill.rate) : "no limit";
}

function showVerify() {
  const { verify } = status;
  put(at("verdict"), words.verdict(verify));
  define(at("verified"), ["checked", "missing", "extra", "different", "repaired"].map((field) => [field, count(verify[field])]));
  const patterns = verify.patterns ?? [];
  at("patterns").hidden = patterns.length === 0;
  const [byPattern, samples] = at("patterns").querySelectorAll("tbody");
  fill(byPattern, patterns, row(4), (made, one) => cells(made, [one.pattern, count(one.missing), count(one.extra), count(one.different)]));
  fill(samples, verify.samples ?? [], row(3), (made, one) => cells(made, [one.key, one.db, one.difference]));
}

/** Reads that both servers were asked: whether the target is right, and how fast it will be. */
function showReads() {
  const { shadow } = status;
  const took = ({ p50, p99 }) => `${period(p50)} · ${period(p99)}`;
  put(at("alike"), words.alike(shadow));
  define(at("reads"), [
    ["equal", count(shadow.equal)], ["different", count(shadow.different)],
    ["refused", count(shadow.refused)], ["nothing to learn", count(shadow.discarded)],
    ["source takes p50 · p99", took(shadow.source)], ["target takes p50 · p99", took(shadow.target)],
    ...shadow.unlike.map(({ command, db, key }) => [`${command} in database ${db}`, key]),
  ]);
  at("ask").disabled = status.phase === "finalized";
  at("percent").placeholder = String(shadow.percent);
}

function showMirror() {
  const { mirror } = status;
  const wrong = mirror.mismatched + mirror.failed;
  const all = mirror.applied + wrong;
  put(at("fidelity"), all === 0 ? "Nothing was mirrored yet."
    : wrong === 0 ? `All of ${many(all, "answer")} were as expected.`
      : `${count(mirror.applied)} of ${many(all, "answer")} were as expected; the keys of the others were copied again.`);
  const causes = Object.entries(mirror.recopies ?? {}).filter(([, number]) => number > 0);
  define(at("mirror"), [
    ["as expected", count(mirror.applied)], ["another answer", count(mirror.mismatched)], ["refused", count(mirror.failed)],
    ...causes.map(([cause, number]) => [`copied again: ${spaced(cause)}`, count(number)]),
    ...(mirror.degraded ? [["degraded", "writes do not wait for both"]] : []),
  ]);
}

function showRehearsal() {
  const failing = words.failing(status.rehearsal ?? {});
  put(at("rehearsed"), words.rehearsed(status, failing.length));
  at("failing").hidden = failing.length === 0;
  fill(at("failing").querySelector("tbody"), failing, row(5), cells);
}

function tell(text, bad = false) {
  at("outcome").hidden = false;
  at("outcome").classList.toggle("bad", bad);
  put(at("outcome"), text);
}

/** Opens a dialog and waits for its answer. */
function ask(dialog) {
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Repeats what is at stake; whether to go on, and by force. */
async function confirm(deed, limit) {
  const { title, text, stakes, verb, grave, force, sure } = words.question(deed, status, limit);
  put(at("confirm-title"), title);
  put(at("confirm-text"), text);
  fill(at("stakes"), stakes, () => document.createElement("li"), put);
  const [box, button] = [at("sure").querySelector("input"), at("do")];
  const condition = force ?? sure;
  at("sure").hidden = !condition;
  put(at("sure").querySelector("span"), condition ?? "");
  box.checked = false;
  button.disabled = Boolean(condition);
  box.onchange = () => { button.disabled = !box.checked; };
  put(button, verb);
  button.className = grave || force ? "grave" : "main";
  asked = status.phase;
  return (await ask(at("confirm"))) ? { force: Boolean(force) } : null;
}

/** Asks for the token, once; what was refused is forgotten. */
async function login(refused) {
  put(at("login-text"), refused
    ? "That token was refused."
    : "Whoever changes something bears the admin token. It stays in the memory of this page.");
  at("token").value = "";
  const given = await ask(at("login"));
  token = given ? at("token").value : null;
  name = at("name").value.trim();
  at("token").value = "";
  return given;
}

async function post(path, body) {
  for (;;) {
    const actor = (name ? `${name} (page)` : "page").replace(/[^ -~]/g, "?");
    const headers = { "content-type": "application/json", "x-crossfade-actor": actor };
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    if (answer.status !== 401) return { ok: answer.ok, said: await answer.json() };
    const refused = token !== null;
    token = null;
    if (!(await login(refused))) return null;
  }
}

const done = {
  check: (said) => (said.ready ? "Nothing stands in the way of a migration." : "The check found what stands in the way."),
  verify: () => "Both servers are being compared.",
  cutover: (said) => `The target serves. Clients were held for ${count(said.hold_ms)} ms.`,
  rollback: (said) => `The source serves again. Clients were held for ${count(said.hold_ms)} ms.`,
  finalize: () => "The source is let go.",
};

async function act(deed, path, body, limit) {
  const answer = await confirm(deed, limit);
  if (!answer) return;
  const wish = answer.force ? { ...body, force: true } : body;
  try {
    const result = await post(path, wish);
    if (!result) return tell("Nothing was done: no token was given.", true);
    const { ok, said } = result;
    if (!ok) return tell(`Not done: ${said.error}`, true);
    if (deed === "check") showFindings(said);
    tell(done[deed]?.(said) ?? "Done.");
  } catch (error) {
    tell(`No answer: ${error.message}. What came of it stands in the audit below.`, true);
  }
  refresh();
}

function showFindings({ ready, findings }) {
  checked = true;
  const fine = findings.filter(({ level }) => level === "ok").length;
  const others = findings.length - fine;
  at("findings").hidden = false;
  at("findings").open = others > 0;
  put(at("findings").querySelector("summary"), `The check: ${ready ? "ready" : "not ready"}; ${fine} as they should be, ${others} to look at`);
  // What wants to be looked at comes first.
  findings.sort((a, b) => (a.level === "ok") - (b.level === "ok"));
  const make = () => {
    const item = document.createElement("li");
    for (let part = 0; part < 3; part += 1) item.append(document.createElement("span"));
    return item;
  };
  fill(at("findings").querySelector("ul"), findings, make, (item, { level, topic, text }) => {
    item.dataset.level = level;
    cells(item, [level, topic, text]);
  });
  show();
}

for (const [deed, body] of [["check", {}], ["verify", {}], ["cutover", { timeout_ms: 5000 }], ["rollback", { timeout_ms: 5000 }], ["finalize", {}]]) {
  at(deed).addEventListener("click", () => act(deed, `v1/${deed}`, body));
}
at("pause").addEventListener("click", () => {
  const paused = status.backfill.state !== "paused";
  act(paused ? "pause" : "resume", "v1/backfill", { paused });
});
at("pace").addEventListener("submit", (event) => {
  event.preventDefault();
  const limit = Math.floor(Number(at("rate").value)) || null;
  act("rate", "v1/backfill", { rate: limit }, limit);
});

at("shadow").addEventListener("submit", (event) => {
  event.preventDefault();
  const percent = Math.min(100, Math.max(0, Number(at("percent").value) || 0));
  act("shadow", "v1/shadow", { percent }, percent);
});

const charts = new Charts(document.querySelectorAll("[data-chart]"));

/** What is not told by events: the points of the charts, and what was done. */
async function refresh() {
  try {
    const [history, audit] = await Promise.all(
      [`v1/history?after=${charts.last}`, `v1/audit?last=${DEEDS}`].map(async (path) => (await fetch(path, { cache: "no-store" })).json()),
    );
    charts.add(history.points);
    fill(at("audit").tBodies[0], audit.reverse(), row(4), (made, deed) => {
      cells(made, [words.moment(deed.at), deed.actor, deed.action, deed.outcome]);
    });
  } catch {
    // The line at the top says that nobody answers.
  }
}

function link(state, text) {
  at("link").dataset.state = state;
  put(at("link"), text);
}

function listen() {
  const events = new EventSource("v1/events");
  events.onmessage = ({ data }) => {
    const before = status;
    status = JSON.parse(data);
    link("live", "live");
    show();
    const compared = before?.verify.state === "running" && status.verify.state !== "running";
    if (compared) tell(words.verdict(status.verify), status.verify.state !== "clean");
    if (before?.phase !== status.phase || compared) refresh();
  };
  events.onerror = () => {
    link("lost", "no answer from crossfade; trying again");
    // The browser tries by itself, unless it was told off.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

listen();
refresh();
setInterval(refresh, 5000);
