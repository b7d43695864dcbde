// The listening test: clips in an order of each listener's own, answers kept in the browser until they are saved.
const data = JSON.parse(document.getElementById("data").textContent), at = (id) => document.getElementById(id);
let listener = "", order_of_clips = [], answers = {}, current = 0, plays = 0;

// Each listener has another order, and the same one when the page is opened again: mulberry32 over the listener's code.
function shuffled(count, code) {
  let state = [...code].reduce((sum, character) => (Math.imul(sum, 31) + character.codePointAt(0)) >>> 0, 7);
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
  const numbers = [...Array(count).keys()];
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [numbers[last], numbers[other]] = [numbers[other], numbers[last]];
  }
  return numbers;
}

const storage = () => `listening ${data.manifest} ${data.clips.length} ${listener}`;
function keep() {
  try {
    localStorage.setItem(storage(), JSON.stringify(answers));
  } catch {
    at("not_kept").hidden = false; // a private window, or storage that is switched off
  }
}
function kept() {
  try {
    return JSON.parse(localStorage.getItem(storage())) || {};
  } catch {
    return {};
  }
}

const key = () => data.clips[order_of_clips[current]][0];
const isAnswered = (answer) => Boolean(answer && (answer.text || answer.cannot_understand));
function note() { // what stands in the form, with how often the clip was played again
  const before = answers[key()] || { replays: 0 };
  answers[key()] = {
    text: at("text").value.trim(),
    replays: Math.max(before.replays, plays - 1, 0),
    cannot_understand: at("unclear").checked,
  };
  keep();
}

function count_replays() {
  const replays = Math.max(plays - 1, 0);
  say(at("replays"), replays ? `played again: ${replays}` : "", replays ? `重播 ${replays} 次` : "");
}

function show(number) {
  at("audio").pause();
  current = number;
  const over = current >= order_of_clips.length;
  at("test").hidden = over;
  at("end").hidden = !over;
  at("progress").value = Object.values(answers).filter(isAnswered).length;
  if (over) return at("save").focus();
  const answer = answers[key()] || { text: "", replays: 0, cannot_understand: false };
  plays = key() in answers ? answer.replays + 1 : 0;
  at("text").value = answer.text;
  at("unclear").checked = answer.cannot_understand;
  at("text").disabled = answer.cannot_understand;
  at("back").disabled = current === 0;
  at("needs").hidden = true;
  at("audio").src = data.clips[order_of_clips[current]][1];
  say(at("where"), `Clip ${current + 1} of ${order_of_clips.length}`, `第 ${current + 1} 条，共 ${order_of_clips.length} 条`);
  count_replays();
  at("play").focus();
}

at("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  listener = at("code").value;
  order_of_clips = shuffled(data.clips.length, listener);
  answers = kept();
  at("start").hidden = true;
  at("save_now").hidden = false;
  const open = order_of_clips.findIndex((clip) => !isAnswered(answers[data.clips[clip][0]]));
  show(open < 0 ? order_of_clips.length : open);
});
at("play").addEventListener("click", () => {
  plays += 1;
  at("audio").currentTime = 0;
  at("audio").play();
  count_replays();
  at("text").focus();
});
at("unclear").addEventListener("change", () => {
  at("text").disabled = at("unclear").checked;
  if (at("unclear").checked) at("text").value = "";
});
at("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  const answered = at("text").value.trim() || at("unclear").checked;
  at("needs").hidden = Boolean(answered && plays);
  if (!answered || !plays) return;
  note();
  show(current + 1);
});
at("back").addEventListener("click", () => {
  if (at("text").value.trim() || at("unclear").checked) note();
  show(current - 1);
});
at("again").addEventListener("click", () => show(order_of_clips.length - 1));

function save() {
  const listed = data.clips.map(([name]) => ({ key: name, answer: answers[name] })).filter(({ answer }) => isAnswered(answer));
  const content = {
    schema_version: data.schema_version,
    manifest: data.manifest,
    listener,
    clips: data.clips.length,
    answers: listed.map(({ key: name, answer }) => ({ key: name, ...answer })),
  };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
  link.download = `listening-${listener}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
at("save").addEventListener("click", save);
at("save_now").addEventListener("click", save);
