// What was said before, kept in this browser; copying, and the device's own voice.
const MOST_ENTRIES = 200;
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
    } catch {
      byId("history-off").hidden = false;
    }
  },
};

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("done", "copied");
  } catch {
    tell("done", "not_copied");
  }
}

// Only voices of the device itself: others are spoken on a company's computer, which would be told the text.
function sayAloud(text) {
  const speech = window.speechSynthesis, voices = speech?.getVoices().filter((voice) => voice.localService) || [];
  const chinese = voices.filter((voice) => /^(zh|cmn)\b/i.test(voice.lang.replace("_", "-")));
  const mandarin = chinese.find((voice) => /^(zh-CN|zh-Hans|cmn)/i.test(voice.lang.replace("_", "-"))) || chinese[0];
  if (!mandarin) return tell("done", "no_voice");
  tell("done", "");
  const utterance = new SpeechSynthesisUtterance(text);
  utterance.voice = mandarin;
  utterance.lang = mandarin.lang;
  speech.cancel();
  speech.speak(utterance);
}
window.speechSynthesis?.getVoices(); // some browsers load them only when asked

const spokenBefore = {
  entries: [], // {id, at, text}, the newest first
  load() {
    const found = stored.read("history", []);
    this.entries = Array.isArray(found) ? found.filter((one) => typeof one?.text === "string") : [];
    stored.write("history", this.entries);
    this.draw();
  },
  add(text) {
    const id = `${Date.now()}-${Math.random()}`;
    this.entries = [{ id, at: Date.now(), text }, ...stored.read("history", this.entries)].slice(0, MOST_ENTRIES);
    this.save();
    return id;
  },
  change(id, text) {
    this.entries = this.entries.map((one) => (one.id === id ? { ...one, text } : one));
    this.save();
  },
  save() {
    stored.write("history", this.entries);
    this.draw();
  },
  clear() {
    this.entries = [];
    this.save();
  },
  draw() {
    byId("history-empty").hidden = this.entries.length > 0;
    byId("clear").hidden = !this.entries.length;
    byId("entries").replaceChildren(...this.entries.map((entry) => this.drawn(entry)));
  },
  drawn(entry) {
    const line = document.createElement("li"), text = document.createElement("span"), time = document.createElement("time");
    text.textContent = entry.text;
    text.lang = "zh-Hans";
    text.className = "said";
    time.textContent = new Date(entry.at).toLocaleString(isChinese() ? "zh-CN" : "en-GB", { dateStyle: "short", timeStyle: "short" });
    const act = (name, does) => {
      const element = document.createElement("button");
      element.type = "button";
      say(element, ...phrase(name));
      say(element, ...phrase(`${name}_entry`, { text: entry.text }), "label");
      element.addEventListener("click", does);
      return element;
    };
    const remove = () => {
      this.entries = this.entries.filter((one) => one.id !== entry.id);
      this.save();
      (byId("entries").querySelector("button") || byId("talk")).focus();
    };
    const buttons = document.createElement("span");
    buttons.className = "actions";
    buttons.append(act("copy", () => copyText(entry.text)), act("aloud", () => sayAloud(entry.text)), act("remove", remove));
    line.append(time, text, buttons);
    return line;
  },
};

function askToClear(asked) {
  byId("sure-to-clear").hidden = !asked;
  byId("clear").hidden = asked || !spokenBefore.entries.length;
}
byId("clear").addEventListener("click", () => {
  askToClear(true);
  byId("clear-no").focus();
});
byId("clear-no").addEventListener("click", () => {
  askToClear(false);
  byId("clear").focus();
});
byId("clear-yes").addEventListener("click", () => {
  spokenBefore.clear();
  askToClear(false);
  byId("talk").focus();
});
document.addEventListener("language", () => spokenBefore.draw());
