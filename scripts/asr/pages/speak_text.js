// The text that was understood: each character with how sure the model is, and its alternatives to press.
const speakData = JSON.parse(document.getElementById("data").textContent), byId = (id) => document.getElementById(id);
// A phrase in both languages, with its {names} filled in; a value may be such a pair itself.
const phrase = (name, values = {}) =>
  speakData.words[name].map((text, language) =>
    text.replace(/{(\w+)}/g, (_, key) => (Array.isArray(values[key]) ? values[key][language] : values[key])));
const tell = (id, name, values) => say(byId(id), ...(name ? phrase(name, values) : ["", ""]));

const shownText = {
  characters: [], // {text, confidence?, alternatives?}
  opened: null, // the character whose alternatives are shown
  onChange: () => {},
  get text() {
    return this.characters.map((one) => one.text).join("");
  },

  // An answer of the server (verbose_json). Where its characters are not its text, the text alone is shown.
  show(answer) {
    const found = answer.segments.flatMap((one) => one.characters || [...one.text].map((text) => ({ text })));
    this.characters = found;
    if (this.text !== answer.text) this.write(answer.text);
    this.draw();
    const count = this.characters.filter((one) => this.kind(one)).length;
    byId("not-sure").hidden = this.characters.some((one) => one.confidence !== undefined);
    tell("heard", count ? "heard_unsure" : "heard", { text: this.text || "", count });
  },
  write(text) {
    this.characters = [...text].map((one) => ({ text: one }));
    this.draw();
  },
  kind({ confidence }) {
    if (confidence === undefined || confidence >= 0.8) return "";
    return confidence >= 0.5 ? "fair" : "unsure";
  },

  draw() {
    this.close();
    const unsure = this.characters.filter((one) => this.kind(one));
    byId("legend").hidden = !unsure.length;
    byId("legend-press").hidden = !unsure.some((one) => one.alternatives.length);
    byId("text").replaceChildren(...this.characters.map((one, at) => this.drawn(one, at)));
  },
  drawn(one, at) {
    const kind = this.kind(one), others = kind && one.alternatives.length;
    const element = document.createElement(others ? "button" : "span");
    const glyph = document.createElement("span");
    glyph.textContent = one.text;
    glyph.className = "glyph";
    element.className = `character ${kind}`;
    element.append(glyph);
    if (one.confidence !== undefined) {
      const percent = Math.round(100 * one.confidence), number = document.createElement("small");
      number.textContent = percent;
      number.setAttribute("aria-hidden", "true");
      element.append(number);
      const meaning = document.createElement("span"); // for who hears the page
      meaning.className = "unseen";
      if (kind) element.append(say(meaning, ...phrase(`character_${kind}`, { percent })));
    }
    if (others) {
      element.type = "button";
      element.setAttribute("aria-expanded", "false");
      element.setAttribute("aria-controls", "alternatives");
      element.addEventListener("click", () => (this.opened === at ? this.close() : this.open(at)));
    }
    return element;
  },

  open(at) {
    this.close();
    this.opened = at;
    const one = this.characters[at], place = byId("alternatives"), title = document.createElement("p");
    say(title, ...phrase("instead", { char: one.text }));
    say(place, ...phrase("instead", { char: one.text }), "label");
    const choices = one.alternatives.map((other) =>
      this.choice([other.text, other.text], () => this.choose(at, other.text), Math.round(100 * other.confidence)));
    choices.push(this.choice(phrase("stays", { char: one.text }), () => this.choose(at, one.text)));
    choices.push(this.choice(phrase("other"), () => byId("correct").click()));
    place.replaceChildren(title, ...choices);
    place.hidden = false;
    byId("text").children[at].setAttribute("aria-expanded", "true");
    choices[0].focus();
  },
  choice(words, act, percent) {
    const element = document.createElement("button"), text = document.createElement("span");
    element.type = "button";
    element.append(say(text, ...words));
    if (percent !== undefined) {
      const number = document.createElement("small");
      number.textContent = `${percent} %`;
      element.className = "other";
      element.lang = "zh-Hans";
      element.append(number);
    }
    element.addEventListener("click", act);
    return element;
  },
  // A character that somebody has chosen is not unsure any more.
  choose(at, text) {
    this.characters[at] = { text };
    this.draw();
    tell("done", "changed", { char: text });
    const next = [...byId("text").children].slice(at).find((element) => element.tagName === "BUTTON");
    (next || byId("copy")).focus();
    this.onChange();
  },
  close(focus = false) {
    if (this.opened === null) return;
    const button = byId("text").children[this.opened];
    this.opened = null;
    byId("alternatives").hidden = true;
    button?.setAttribute("aria-expanded", "false");
    if (focus) button?.focus();
  },
};
byId("alternatives").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.stopPropagation();
  shownText.close(true);
});
