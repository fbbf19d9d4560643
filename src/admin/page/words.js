// Numbers and states in words. Nothing here touches the page.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (number) => whole.format(number ?? 0);

/** A number of things: `1 key`, `12,345 keys`. */
export const many = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

/** A time in the unit that suits it. */
export function period(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${short.format(seconds * 1e6)} µs`;
  if (seconds < 1) return `${short.format(seconds * 1e3)} ms`;
  if (seconds < 100) return `${short.format(seconds)} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds / 60) % 60)} min`;
}

/** So many a second, short. */
export const rate = (number) => (number >= 1e4 ? `${short.format(number / 1e3)} k` : short.format(number ?? 0));

export function size(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  let value = bytes ?? 0;
  for (; value >= 1024 && unit < 3; unit += 1) value /= 1024;
  return `${short.format(value)} ${units[unit]}`;
}

/** A moment, by the clock of whoever looks. */
export const moment = (unix) => new Date(unix * 1000).toLocaleString([], {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const spaced = (name) => name.replaceAll("_", " ");

/** How far each step has come: done, now or to come. `checked`: by this page. */
export function steps(status, checked) {
  const order = ["check", "copy", "mirror", "verify", "cutover", "finalize"];
  const clean = status.verify.state === "clean";
  const now = {
    backfilling: "copy", cutting_over: "cutover", rolling_back: "cutover",
    mirroring: clean ? "cutover" : status.verify.state === "never" ? "mirror" : "verify",
    cut_over: "finalize",
  }[status.phase];
  const here = now ? order.indexOf(now) : order.length;
  return order.map((step, place) => {
    if (step === "check" && !checked && place < here) return "past";
    return place < here ? "done" : place === here ? "now" : "later";
  });
}

/** What there is to say first, and the button that leads on. */
export function next(status) {
  const { phase, verify, backfill, source, target } = status;
  const serve = `Clients are served by the ${status.primary} and notice nothing.`;
  if (phase === "backfilling") {
    return {
      headline: backfill.state === "paused" ? "The copy has stopped" : "Existing keys are being copied",
      text: `${serve} What they write goes to both servers. When every key is copied, compare the two.`,
    };
  }
  if (phase === "cutting_over" || phase === "rolling_back") {
    return { headline: "Clients are being moved", text: "They are held for a moment while the mirror drains." };
  }
  if (phase === "cut_over") {
    return {
      headline: "The target serves",
      text: `Clients are on ${target.address}. The source follows, so a rollback loses nothing. Finalize when you are sure that you will not go back.`,
    };
  }
  if (phase === "finalized") {
    return {
      headline: "The source is let go",
      text: `Clients are served by ${target.address}. Point the applications there; then crossfade may stop, and ${source.address} too.`,
    };
  }
  if (verify.state === "running") {
    return { headline: "Both servers are being compared", text: `${many(verify.checked, "key")} so far. ${serve}` };
  }
  if (status.ready) {
    return {
      headline: "Ready to cut over", main: "cutover",
      text: "Every key is on the target, both servers were found equal, and nothing stands in the way.",
    };
  }
  if (verify.state === "clean") {
    return { headline: "Something stands in the way", text: "Both servers were found equal. Before a cut-over:" };
  }
  const why = verify.state === "different"
    ? "The last comparison found differences and had them repaired. Find out where they came from, then compare again."
    : "What is written goes to both servers. Compare every key before you cut over.";
  return { headline: "Every key is on the target", text: why, main: "verify" };
}

/** Which buttons lead anywhere now. */
export function possible({ phase, verify, backfill }) {
  const before = phase === "backfilling" || phase === "mirroring";
  const copied = phase === "mirroring" || phase === "cut_over";
  return {
    check: before,
    verify: copied && verify.state !== "running",
    cutover: before,
    rollback: phase === "cut_over",
    finalize: phase === "cut_over",
    pause: before && backfill.state !== "done",
  };
}

const verdicts = {
  never: "The servers were never compared.",
  running: "They are being compared.",
  clean: "They were found equal.",
  different: "They were found different; what differed was copied again.",
  stale: "They were compared, but that says nothing of now.",
};

export function verdict({ state, finished_at: at }) {
  return at && state !== "running" ? `${verdicts[state]} ${moment(at)}` : verdicts[state] ?? state;
}

/** What came of the reads that both servers were asked. */
export function alike({ percent, equal, different, sampled }) {
  if (sampled === 0) return percent ? "No read was compared yet." : "No read is asked of both.";
  if (equal + different === 0) return "No read has said anything yet.";
  return different === 0 ? `All of ${many(equal, "read")} were answered alike.`
    : `${many(different, "read")} of ${count(equal + different)} were answered otherwise; the keys were copied again.`;
}

/** What clients do that would fail on the target, a row each. */
export function failing({ commands = [], crossslot = [], databases = [], users = [], scripts = [] }) {
  const used = ({ count: times, last }) => [count(times), moment(last)];
  return [
    ...commands.map((one) => [one.command, one.pattern, ...used(one), one.user ? `${one.user}: ${one.why}` : one.why]),
    ...crossslot.map((one) => [one.command, one.pattern, ...used(one), "its keys lie in several slots"]),
    ...databases.map((one) => ["SELECT", String(one.db), ...used(one), "the target has no database of that number"]),
    ...scripts.map((one) => ["script", one.script, ...used(one), one.why]),
    ...users.map((one) => ["user", one.user, "", "", one.why]),
  ];
}

/** The same in a sentence. */
export function rehearsed({ primary }, failures) {
  const when = primary === "source" ? "so far" : "before the cut-over";
  return failures === 0 ? `Of what clients did ${when}, the target would have refused nothing.`
    : `Of what clients did ${when}, the target refuses:`;
}

/** What a deed asks before it is done. `force` is what it takes to do it all the same. */
export function question(deed, status, rate) {
  const { source, target, mirror, verify, clients, backfill } = status;
  const server = (side) => `${side.address} (${side.version})`;
  const behind = `the mirror is ${period(mirror.lag_seconds)} behind: ${many(mirror.queued, "command")} queued, ${many(mirror.dirty_keys, "key")} dirty`;
  const compared = `last verify: ${verify.state}, ${many(verify.checked, "key")}, ${many(verify.missing + verify.extra + verify.different, "difference")}`;
  const moved = (from, to) => `${many(clients.connected, "client")} go from ${server(from)} to ${server(to)}`;
  const hold = "new commands are held until the mirror has drained: milliseconds, 5 s at most; on a timeout nothing has changed";
  switch (deed) {
    case "check": return {
      title: "Check both servers?", verb: "Check",
      text: "Versions, rights, memory, modules and databases of both are looked at. One scratch key is set on the target and removed; clients notice nothing.",
      stakes: [server(source), server(target)],
    };
    case "verify": return {
      title: "Compare both servers?", verb: "Verify",
      text: "Every key of both is read, in small steps that give way to clients. What differs is copied again.",
      stakes: [`about ${many(backfill.total_estimate, "key")}`, compared],
    };
    case "cutover": return {
      title: "Cut over to the target?", verb: "Cut over",
      text: "Clients are handed over to the target, with their connections. You can roll back until you finalize.",
      stakes: [moved(source, target), hold, behind, compared, ...status.blockers.map((blocker) => `in the way: ${blocker}`)],
      force: status.ready ? null : "Cut over all the same. What is only about certainty is passed over; what is impossible stays so.",
    };
    case "rollback": return {
      title: "Roll back to the source?", verb: "Roll back",
      text: "Clients are handed back to the source, with every write made since the cut-over.",
      stakes: [moved(target, source), hold, behind],
      force: backfill.cause === "emptied" ? "The target has lost its keys: give up what was written there." : null,
    };
    case "finalize": return {
      title: "Let the source go?", verb: "Finalize", grave: true,
      text: "Writes are no longer carried to the source. There is no way back after this.",
      stakes: [`${server(target)} stays the only server`, `${server(source)} keeps what it holds now and grows old`, behind],
      sure: "I know that there is no way back.",
    };
    case "pause": return {
      title: "Pause the copy?", verb: "Pause",
      text: "No more keys are copied; what clients write to copied keys goes on being mirrored.",
      stakes: [`${count(backfill.scanned)} of about ${many(backfill.total_estimate, "key")} so far`],
    };
    case "resume": return { title: "Resume the copy?", verb: "Resume", text: "Keys are copied again where it stopped.", stakes: [] };
    case "shadow": return {
      title: rate ? `Ask both servers ${rate} % of the reads?` : "Ask both servers no more?", verb: "Set",
      text: "The one that follows is asked off the clients' path. What it answers otherwise is copied again.",
      stakes: [`now: ${status.shadow.percent} % of the reads`],
    };
    default: return {
      title: rate ? `Copy ${many(rate, "key")} a second at most?` : "Copy without a limit?", verb: "Set",
      text: "It takes effect at once and lasts until it is changed.",
      stakes: [`now: ${backfill.rate ? `${many(backfill.rate, "key")} a second at most` : "no limit"}, ${count(Math.round(backfill.keys_per_second))} a second`],
    };
  }
}
