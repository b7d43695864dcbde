// The rows of the error browser: an utterance's figures, its texts aligned character by character, and its note.
// Texts come into the document as text alone, never as HTML.
const MOST_COLUMNS = 120, MOST_WRITTEN = 300;
const KIND_OF = { "=": "equal", s: "sub", d: "del", i: "ins", "": "gap" };

function make(tag, kind, ...inside) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...inside);
  return element;
}
const words = (tag, [english, chinese], kind) => say(make(tag, kind), english, chinese);
const number = (value, digits = 0) =>
  value === null ? "" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

// Columns of the reference and of each hypothesis beside it, from the systems' runs of operations on the reference:
// [character, reading] of the reference, and of each system [operation, character, reading].
function aligned(line) {
  const reference = [], hypotheses = line.systems.map(() => []), added = line.systems.map(() => [[]]);
  const readings = line.reading.split(" ");
  line.systems.forEach(({ runs, reading }, system) => {
    const own = reading.split(" ");
    let at = 0, turn = 0;
    const next = (char, operation, hypothesis, sound) => {
      reference[at] ??= [char, readings[at]];
      hypotheses[system][at++] = [operation, hypothesis, sound];
      added[system][at] ??= [];
    };
    for (const [operation, one, two] of runs) {
      if (operation === "i") for (const char of one) added[system][at].push(["i", char, own[turn++]]);
      else {
        const others = operation === "s" ? [...two] : [...one];
        [...one].forEach((char, place) => next(char, operation, others[place] ?? "", operation === "s" ? own[turn++] : ""));
      }
    }
  });
  const columns = [];
  for (let at = 0; at <= reference.length; at++) {
    const most = Math.max(0, ...added.map((one) => one[at]?.length ?? 0));
    for (let turn = 0; turn < most; turn++) columns.push([["", ""], added.map((one) => one[at]?.[turn] ?? ["", "", ""])]);
    if (at < reference.length) columns.push([reference[at], hypotheses.map((one) => one[at] ?? ["d", reference[at][0], ""])]);
  }
  return columns;
}

function rowMaker({ data, columns, phrase, nameOf, player, notes, whole, events }) {
  const TEXTS = { seen: phrase("seen"), unseen: phrase("unseen") };
  const character = (kind, text, reading) => {
    const item = make("bdi", kind, text);
    if (reading) item.dataset.pinyin = withToneMark(reading);
    return item;
  };
  function alignment(line) {
    const box = make("div", "alignment"), found = aligned(line);
    const names = [words("span", phrase("reference")), ...data.systems.map((name) => words("span", nameOf(name)))];
    box.setAttribute("aria-hidden", "true"); // read aloud is the text beside it, not a heap of letters
    box.append(make("span", "names", ...names));
    for (const [[text, reading], hypotheses] of whole.has(line.at) ? found : found.slice(0, MOST_COLUMNS))
      box.append(make("span", "column", character("", text, reading), ...hypotheses.map(([operation, ...of]) => character(KIND_OF[operation], ...of))));
    if (!found.length) box.append(words("span", phrase("no_character"), "empty"));
    return [box, found.length];
  }
  const cut = (text, most) => (text.length > most ? [...text.slice(0, most + 1)].slice(0, -1).join("") + "…" : text);
  const joined = (runs, without) => runs.map(([operation, one, two]) => (operation === without ? "" : two ?? one)).join("");
  const referenceIn = (runs) => runs.map(([operation, one]) => (operation === "i" ? "" : one)).join("");
  // What was written and decoded, before normalisation: shown where it differs, and read aloud in any case.
  function texts(line) {
    const list = make("div", "written"), most = whole.has(line.at) ? Infinity : MOST_WRITTEN;
    const rows = [[phrase("reference"), line.ref, referenceIn(line.systems[0].runs)]];
    line.systems.forEach(({ hyp, runs, status }, at) => rows.push([nameOf(data.systems[at]), hyp, joined(runs, "d"), status]));
    for (const [names, text, normalised, status = "ok"] of rows) {
      const item = make("p", text === normalised && status === "ok" ? "unseen-words" : "");
      item.append(words("span", names, "who"), " ", make("bdi", "", cut(text, most)));
      if (status === "missing") item.append(words("em", phrase("missing")));
      if (status === "empty") item.append(words("em", phrase("empty")));
      list.append(item);
    }
    return list;
  }
  function cell(column, line) {
    const value = column.of(line), item = make("td", `is-${column.id}`);
    item.setAttribute("role", "cell");
    item.append(words("span", column.words, "name"));
    if (column.id === "text") item.append(value ? words("span", TEXTS[value] ?? [value, value]) : "");
    else if (typeof value === "string") item.append(make("bdi", "", value));
    else if (column.id === "change") {
      item.append((value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value));
      item.classList.add(value > 0 ? "worse" : value < 0 ? "better" : "level");
    } else item.append(number(value, column.digits));
    return item;
  }
  function playButton(line, turn, current) {
    const play = make("button", "play");
    play.type = "button";
    play.tabIndex = current ? 0 : -1;
    play.dataset.turn = turn;
    if (!line.clip) play.setAttribute("aria-disabled", "true");
    say(play, ...phrase(line.clip ? "play_clip" : "no_clip", line), "label");
    play.addEventListener("click", () => player.play(line));
    play.addEventListener("focus", () => events.focused(turn));
    return play;
  }
  function noteField(line, turn, current) {
    const note = make("input", "note");
    note.type = "text";
    note.tabIndex = current ? 0 : -1;
    note.value = notes.of(line.key);
    say(note, ...phrase("note"), "hint");
    say(note, ...phrase("note_of", line), "label");
    note.addEventListener("focus", () => events.focused(turn));
    note.addEventListener("input", () => events.noted(line, note.value));
    return note;
  }
  function more(line, size) {
    const button = words("button", whole.has(line.at) ? phrase("show_less") : phrase("show_all_characters", { count: number(size) }), "more");
    button.type = "button";
    button.addEventListener("click", () => events.unfolded(line));
    return button;
  }
  return (line, turn, current) => {
    const body = make("tbody"), one = make("tr", "about"), two = make("tr", "aligned");
    const play = playButton(line, turn, current), first = make("td", "is-play", play), inside = make("td");
    for (const item of [one, two]) item.setAttribute("role", "row");
    body.setAttribute("role", "rowgroup");
    for (const item of [first, inside]) item.setAttribute("role", "cell");
    one.append(first, ...columns.map((column) => cell(column, line)));
    inside.colSpan = columns.length + 1;
    const [box, size] = alignment(line), written = Math.max(line.ref.length, ...line.systems.map((system) => system.hyp.length));
    inside.append(box, texts(line));
    if (size > MOST_COLUMNS || written > MOST_WRITTEN) inside.append(more(line, Math.max(size, written)));
    inside.append(noteField(line, turn, current));
    two.append(inside);
    body.append(one, two);
    body.classList.toggle("playing", player.isOn(line));
    play.classList.toggle("on", player.isPlaying(line));
    body.dataset.key = line.key;
    return body;
  };
}
