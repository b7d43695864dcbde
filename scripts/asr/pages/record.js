// Recording prompts: one at a time; each recording is kept, or said again. What is kept is on the server's disk.
const byId = (id) => document.getElementById(id), recordData = JSON.parse(byId("data").textContent);
const QUIET_PEAK = 0.02, CLIPPED_PEAK = 0.999, SHORT_SECONDS = 0.6; // TAIL_MS is within these
const REST_RECORDED = 5 * 60, REST_ELAPSED = 30 * 60, PAUSE = 5 * 60; // seconds; who pauses so long has rested
const phrase = (name, values = {}) =>
  recordData.words[name].map((text, language) =>
    text.replace(/{(\w+)}/g, (_, key) => (Array.isArray(values[key]) ? values[key][language] : values[key])));
const tell = (id, name, values) => say(byId(id), ...(name ? phrase(name, values) : ["", ""]));
const stored = {
  read(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`asr ${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  write(name, value) {
    try {
      localStorage.setItem(`asr ${name}`, JSON.stringify(value));
    } catch {} // a private window: it holds until the page is closed
  },
};
const settings = { mode: "twice", key: " ", ...stored.read("settings", {}) }; // as on the page to speak to
const recording = { aloud: false, skipped: [], ...stored.read("recording", {}) };
let state = "idle", // idle, opening, recording, review, saving
  all = null, // what the server says: {prompts: [{text, clips}], clips, seconds, last}
  prompt = null, clip = null, level = 0, begun = 0, ended = 0, thrownAway = false;
const rest = { recorded: 0, since: null, last: 0 }; // seconds recorded, since when, the last recording
const microphone = new Microphone((peak) => (level = Math.max(level, peak)));
const player = new Audio();

const isHeld = () => settings.mode === "hold";
function draw() {
  const reviewing = ["review", "saving"].includes(state);
  byId("talk").className = state;
  byId("talking").hidden = reviewing;
  byId("review").hidden = !reviewing;
  byId("discard").hidden = state !== "recording";
  byId("skip").hidden = !["idle", "review"].includes(state);
  byId("undo").hidden = state !== "idle" || !all?.last;
  byId("talk").disabled = !prompt;
  for (const id of ["keep", "listen", "again"]) byId(id).disabled = state === "saving";
  const names = { opening: "opening", recording: isHeld() ? "end_hold" : "end_twice" };
  tell("talk-words", names[state] || (isHeld() ? "talk_hold" : "talk_twice"));
  if (state !== "recording") byId("clock").textContent = "";
  for (const mode of ["twice", "hold"]) byId(`mode-${mode}`).checked = settings.mode === mode;
  byId("aloud").checked = recording.aloud;
}
function problem(name, values) {
  byId("problem").hidden = !name;
  tell("problem", name, values);
}

// --- which prompt ------------------------------------------------------------------------------------------------------
// The first of those that were read least often; what was skipped comes after all others.
function choose() {
  const least = Math.min(...all.prompts.map((one) => one.clips));
  const open = all.prompts.filter((one) => one.clips === least);
  const rank = (one) => recording.skipped.lastIndexOf(one.text);
  return open.reduce((best, one) => (rank(one) < rank(best) ? one : best));
}
function show(answer) {
  if (answer) all = answer;
  prompt = choose();
  const count = all.prompts.length, number = all.prompts.indexOf(prompt) + 1;
  byId("prompt").textContent = prompt.text;
  tell("where", prompt.clips ? "where_again" : "where", { number, count });
  const read = all.prompts.filter((one) => one.clips).length;
  byId("progress").max = count;
  byId("progress").value = read;
  tell("done", "done", { read, count, clips: all.clips, minutes: (all.seconds / 60).toFixed(1) });
  tell("next", all.clips < 20 ? "too_few" : "enough");
  if (all.last) tell("undo", "undo", { text: all.last.text });
}
function remember(values) {
  Object.assign(recording, values);
  stored.write("recording", recording);
}

// --- recording ---------------------------------------------------------------------------------------------------------
function tick() {
  if (state !== "recording") return;
  const seconds = (performance.now() - begun) / 1000;
  byId("clock").textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  byId("level").firstElementChild.style.width = `${Math.min(100, 100 * Math.sqrt(level))}%`;
  level *= 0.8;
  if (seconds < recordData.seconds - 1) return setTimeout(tick, 60); // a second for what is recorded after the end
  tell("status", "longest", { seconds: recordData.seconds });
  talking.end();
}
async function begin() {
  problem("");
  tell("status", "");
  thrownAway = false;
  state = "opening";
  draw();
  try {
    await microphone.start();
  } catch (error) {
    state = "idle";
    draw();
    problem(error.name in recordData.words ? error.name : "failed", { why: error.message });
    throw error;
  }
  state = "recording";
  begun = performance.now();
  level = 0;
  draw();
  tick();
}
async function end() {
  try {
    clip = await microphone.stop();
  } catch {
    return; // it was never opened, which begin() has said
  }
  byId("level").firstElementChild.style.width = "0";
  if (thrownAway || !clip.seconds) {
    back();
    return thrownAway ? tell("status", "discarded") : problem("no_sound");
  }
  state = "review";
  ended = performance.now();
  const doubt = clip.peak < QUIET_PEAK ? "too_quiet" : clip.peak >= CLIPPED_PEAK ? "clipped" : clip.seconds < SHORT_SECONDS ? "short" : "";
  byId("hint").className = doubt && "doubt";
  tell("hint", doubt || "good");
  player.src = URL.createObjectURL(clip.wav);
  draw();
  byId("keep").focus();
  tired(clip.seconds);
  if (recording.aloud) player.play();
}
function back() {
  player.pause();
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  clip = null;
  state = "idle";
  draw();
  byId("talk").focus({ preventScroll: true });
}
function throwAway() {
  if (state !== "recording") return;
  thrownAway = true;
  talking.end();
}

// --- to the server -------------------------------------------------------------------------------------------------------
async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw phrase("unreachable");
  }
  if (response.status === 401) throw phrase("token_again");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Array(2).fill(answer.error?.message || answer.detail || `HTTP ${response.status}`);
  return answer;
}
async function keep() {
  if (state !== "review" || performance.now() - ended < SHORT_PRESS_MS) return; // too soon: a tremor's second press
  const form = new FormData(), read = prompt;
  form.append("file", clip.wav, "clip.wav");
  form.append("text", prompt.text);
  form.append("prompt", String(all.prompts.indexOf(prompt)));
  state = "saving";
  draw();
  problem("");
  tell("status", "keeping");
  try {
    show(await ask("/record/clips", { method: "POST", body: form }));
  } catch (why) {
    state = "review";
    draw();
    tell("status", "");
    byId("keep").focus();
    return problem("not_kept", { why });
  }
  remember({ skipped: recording.skipped.filter((text) => text !== read.text) });
  back();
  tell("status", prompt.clips > read.clips ? "round" : "kept");
}
async function undo() {
  try {
    show(await ask(`/record/clips/${all.last.id}`, { method: "DELETE" }));
    problem("");
    tell("status", "taken_back");
  } catch (why) {
    problem("not_done", { why });
  }
  draw();
}

// --- rest ------------------------------------------------------------------------------------------------------------------
function tired(seconds) {
  const now = performance.now() / 1000;
  if (rest.since === null || now - rest.last > PAUSE) Object.assign(rest, { recorded: 0, since: now });
  rest.recorded += seconds;
  rest.last = now;
  byId("rest").hidden = rest.recorded < REST_RECORDED && now - rest.since < REST_ELAPSED;
  if (!byId("rest").hidden) tell("rest-words", "rest");
}
byId("rested").addEventListener("click", () => {
  rest.since = null;
  byId("rest").hidden = true;
  byId(state === "review" ? "keep" : "talk").focus();
});

// --- buttons ---------------------------------------------------------------------------------------------------------------
byId("keep").addEventListener("click", keep);
byId("again").addEventListener("click", () => {
  tell("status", "");
  back();
});
byId("listen").addEventListener("click", () => {
  if (!player.paused) return player.pause();
  player.currentTime = 0;
  player.play();
});
for (const event of ["play", "pause", "ended"])
  player.addEventListener(event, () => tell("listen", player.paused ? "listen" : "listen_stop"));
byId("skip").addEventListener("click", () => {
  remember({ skipped: [...recording.skipped.filter((text) => text !== prompt.text), prompt.text] });
  show();
  back();
  tell("status", "skipped");
});
byId("undo").addEventListener("click", undo);
byId("discard").addEventListener("click", throwAway);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") throwAway();
  // Who speaks by a key or switch of their own needs no other: it keeps, too (as the space bar does, for the button has the focus).
  if (event.key !== settings.key || event.key === " " || event.repeat || state !== "review") return;
  event.preventDefault();
  keep();
});
for (const mode of ["twice", "hold"])
  byId(`mode-${mode}`).addEventListener("change", () => {
    settings.mode = mode;
    stored.write("settings", { ...stored.read("settings", {}), mode });
    draw();
  });
byId("aloud").addEventListener("change", () => remember({ aloud: byId("aloud").checked }));
addEventListener("beforeunload", (event) => {
  if (clip || state === "recording") event.preventDefault(); // it is not kept yet
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden && !["opening", "recording"].includes(state)) microphone.close(); // nothing listens unseen
});
const talking = pressToTalk(byId("talk"), { start: begin, stop: end, once: () => !isHeld(), key: () => settings.key });
tell("listen", "listen");
if (!navigator.mediaDevices) problem("insecure");
ask("/record/state").then(
  (answer) => {
    show(answer);
    draw();
  },
  (why) => problem("not_loaded", { why }),
);
draw();
