// Speaking: the button, the recording, its way to the server. Nothing here decides when somebody has finished.
const talk = byId("talk"), NEARLY = 60, QUIET_PEAK = 0.01;
let shownStatus = "";
const status = (name) => tell("status", (shownStatus = name));
const settings = { mode: "twice", key: " ", numbers: false, ...stored.read("settings", {}) };
let state = "idle", // idle, opening, recording
  begun = 0, thrownAway = false, latest = null, sending = 0; // latest: {wav, peak, entry}, what is shown or was not written
const microphone = new Microphone((peak) => (level = Math.max(level, peak)));
let level = 0;

const isHeld = () => settings.mode === "hold";
const keyName = () => (settings.key === " " ? phrase("key_space") : [settings.key, settings.key]);
function draw() {
  talk.className = state;
  const names = { idle: isHeld() ? "talk_hold" : "talk_twice", opening: "opening", recording: isHeld() ? "end_hold" : "end_twice" };
  tell("talk-words", names[state]);
  tell("how", isHeld() ? "how_hold" : "how_twice", { key: keyName() });
  tell("key", "key", { key: keyName() });
  byId("discard").hidden = state !== "recording";
  byId("space-again").hidden = settings.key === " ";
  byId("text").classList.toggle("numbered", settings.numbers);
  for (const mode of ["twice", "hold"]) byId(`mode-${mode}`).checked = settings.mode === mode;
  byId("numbers").checked = settings.numbers;
  byId("numbers-line").hidden = !speakData.sure;
  if (state !== "recording") byId("clock").textContent = "";
}
function problem(name, values) {
  byId("problem").hidden = !name;
  tell("problem", name, values);
  byId("again-line").hidden = !(name && latest && !latest.entry);
}

// --- recording ------------------------------------------------------------------------------------------------------
// A WAV has a size and a length that the server takes; who comes near it is told a minute before.
const longest = () => Math.min(speakData.seconds, speakData.bytes / (2 * (microphone.context?.sampleRate || 48000)));
function tick() {
  if (state !== "recording") return;
  const seconds = (performance.now() - begun) / 1000, left = longest() - seconds;
  byId("clock").textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  byId("level").firstElementChild.style.width = `${Math.min(100, 100 * Math.sqrt(level))}%`;
  level *= 0.8;
  if (left < NEARLY) tell("talk-words", "nearly_longest", { seconds: Math.max(0, Math.ceil(left)) });
  if (left > 0) return setTimeout(tick, 60);
  status("longest");
  speaker.end();
}
async function begin() {
  window.speechSynthesis?.cancel(); // or it would be recorded
  problem("");
  status("");
  thrownAway = false;
  state = "opening";
  draw();
  try {
    await microphone.start();
  } catch (error) {
    state = "idle";
    draw();
    const name = { none: "no_microphone", refused: "refused", insecure: "insecure" }[error.name] || "failed";
    problem(name, { why: error.message });
    throw error;
  }
  state = "recording";
  begun = performance.now();
  level = 0;
  draw();
  tick();
}
async function end() {
  let clip;
  try {
    clip = await microphone.stop();
  } catch {
    return; // it was never opened, which begin() has said
  }
  state = "idle";
  draw();
  byId("level").firstElementChild.style.width = "0";
  if (thrownAway) return status("discarded");
  if (!clip.seconds) return problem("no_sound");
  latest = { wav: clip.wav, peak: clip.peak, entry: null };
  await write(latest);
}
function throwAway() {
  if (state !== "recording") return;
  thrownAway = true;
  speaker.end();
  talk.focus();
}

// --- to be written, and back: send() is that of speak_server.js or speak_device.js ------------------------------------
async function write(clip) {
  problem("");
  if (!shownStatus) status("writing");
  sending += 1;
  try {
    const answer = await send("/v1/audio/transcriptions", { file: clip.wav, model: speakData.model, response_format: "verbose_json" });
    show(clip, answer);
  } catch (error) {
    if (!error.name || error instanceof Error) throw error;
    problem(error.name, { why: error.why });
  } finally {
    sending -= 1;
    if (!sending && ["writing", "longest"].includes(shownStatus)) status("");
  }
}
function show(clip, answer) {
  tell("done", "");
  leaveCorrection();
  if (!answer.text) {
    clip.entry = "none";
    byId("result").hidden = true;
    return status(clip.peak < QUIET_PEAK ? "too_quiet" : "nothing");
  }
  clip.entry = spokenBefore.add(answer.text);
  latest = clip;
  byId("result").hidden = false;
  shownText.show(answer);
  status("");
}

// --- what can be done with the text -----------------------------------------------------------------------------------
const change = () => {
  if (latest?.entry) spokenBefore.change(latest.entry, shownText.text);
};
shownText.onChange = change;
byId("copy").addEventListener("click", () => copyText(shownText.text));
byId("aloud").addEventListener("click", () => sayAloud(shownText.text));
byId("correct").addEventListener("click", () => {
  shownText.close();
  byId("corrected").value = shownText.text;
  byId("correction").hidden = false;
  byId("correct").setAttribute("aria-expanded", "true");
  byId("corrected").focus();
});
function leaveCorrection() {
  byId("correction").hidden = true;
  byId("correct").setAttribute("aria-expanded", "false");
}
byId("leave").addEventListener("click", () => {
  leaveCorrection();
  byId("correct").focus();
});
byId("correction").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("corrected").value.trim();
  if (!text) return byId("corrected").focus();
  shownText.write(text.replace(/\s+/g, " "));
  leaveCorrection();
  change();
  byId("correct").focus();
});
byId("keep")?.addEventListener("click", async () => {
  tell("done", "keeping");
  try {
    await send("/record/clips", { file: latest.wav, text: shownText.text, prompt: "correction" });
    tell("done", "kept_clip");
  } catch (error) {
    const why = error.why || (speakData.words[error.name] ? phrase(error.name) : String(error));
    tell("done", "not_kept_clip", { why });
  }
});
byId("again").addEventListener("click", () => write(latest));

// --- settings ---------------------------------------------------------------------------------------------------------
function set(values) {
  Object.assign(settings, values);
  stored.write("settings", settings);
  draw();
}
for (const mode of ["twice", "hold"]) byId(`mode-${mode}`).addEventListener("change", () => set({ mode }));
byId("numbers").addEventListener("change", () => set({ numbers: byId("numbers").checked }));
byId("space-again").addEventListener("click", () => {
  set({ key: " " });
  byId("key").focus();
});
byId("key").addEventListener("click", () => {
  tell("key", "key_wanted");
  const listen = (event) => {
    if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Tab") return tell("key", "key_not");
    stop();
    if (event.key !== "Escape") set({ key: event.key });
    else draw();
  };
  const stop = () => {
    removeEventListener("keydown", listen, true);
    byId("key").removeEventListener("blur", left);
  };
  const left = () => {
    stop();
    draw();
  };
  addEventListener("keydown", listen, true);
  byId("key").addEventListener("blur", left);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") throwAway();
});
byId("discard").addEventListener("click", throwAway);
const speaker = pressToTalk(talk, { start: begin, stop: end, once: () => !isHeld(), key: () => settings.key });
if (!navigator.mediaDevices) problem("insecure");
spokenBefore.load();
draw();
