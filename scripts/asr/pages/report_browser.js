// The error browser: utterances sorted, filtered, aligned and played. Only a page of rows is in the document at a time,
// so that 6,064 utterances scroll as well as 60. Texts come into the document as text alone, never as HTML.
{
  const PAGE = 50, MOST_COLUMNS = 120, MOST_WRITTEN = 300;
  const data = JSON.parse(document.getElementById("utterances").textContent);
  // A phrase of strings.yaml in both languages, with its {names} filled in.
  const phrase = (key, values = {}) => data.words[key].map((text) => text.replace(/{(\w+)}/g, (_, name) => values[name]));
  const [place, last] = [document.getElementById("browser"), data.systems.length - 1];
  const lines = data.rows.map(([key, speaker, text, duration, length, ref, clip, ...systems], at) => {
    const found = systems.map(([status, errors, runs, hyp]) => ({ status, errors, runs, hyp }));
    const change = last ? found[last].errors - found[0].errors : 0;
    return { at, key, speaker, text, duration, length, ref, clip, systems: found, change };
  });
  const plain = (text) => text.normalize("NFKC").toLowerCase();
  const searched = (line) => (line.words ??= plain([line.key, line.ref, ...line.systems.map((one) => one.hyp)].join("\n")));
  const wrong = (line) => line.systems[last].errors;

  // What can be sorted by and filtered by.
  const COLUMNS = [
    { id: "key", words: phrase("utterance"), of: (line) => line.key },
    { id: "speaker", words: phrase("speaker"), of: (line) => line.speaker },
    { id: "text", words: phrase("text"), of: (line) => line.text },
    { id: "duration", words: phrase("seconds"), of: (line) => line.duration },
    { id: "length", words: phrase("characters"), of: (line) => line.length },
    ...data.systems.map((name, at) => ({
      id: name, words: phrase(`${name}_errors`), of: (line) => line.systems[at].errors,
    })),
    ...(last ? [{ id: "change", words: phrase("change"), of: (line) => line.change }] : []),
  ];
  const KINDS = {
    wrong: [phrase("any_error"), (line) => line.systems.some((one) => one.errors)],
    left: [phrase("errors_left"), wrong],
    right: [phrase("no_error_left"), (line) => !wrong(line)],
    ...(last ? {
      better: [phrase("better"), (line) => line.change < 0],
      worse: [phrase("worse"), (line) => line.change > 0],
      same: [phrase("same"), (line) => !line.change],
    } : {}),
    lost: [phrase("missing_or_empty"), (line) => line.systems.some((one) => one.status !== "ok")],
  };
  const TEXTS = { seen: phrase("seen"), unseen: phrase("unseen") };
  const state = { sort: "", down: false, speaker: "", text: "", kind: "", words: "", page: 0, at: 0 };
  let shown = lines, whole = new Set();

  const make = (tag, kind, ...inside) => {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    element.append(...inside);
    return element;
  };
  const words = (tag, [english, chinese], kind) => say(make(tag, kind), english, chinese);
  const number = (value, digits = 0) =>
    value === null ? "" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  // --- the bar of filters -----------------------------------------------------------------------------------------
  const bar = make("form", "filters"), count = make("p", "count");
  const inputs = {};
  bar.addEventListener("submit", (event) => event.preventDefault());
  count.setAttribute("role", "status");
  function field(id, label, input, kind) {
    const name = words("label", label);
    name.htmlFor = input.id = `filter-${id}`;
    inputs[id] = input;
    bar.append(make("div", `field ${kind ?? ""}`, name, input));
  }
  function choice(id, label, options) {
    const select = make("select");
    for (const [value, names] of [["", phrase("all")], ...options]) {
      const option = Array.isArray(names) ? words("option", names) : make("option", "", names);
      option.value = value;
      select.append(option);
    }
    select.addEventListener("input", () => change({ [id]: select.value }));
    field(id, label, select);
  }
  function search() {
    const input = make("input");
    input.type = "search";
    say(input, ...phrase("text_or_key"), "hint");
    input.addEventListener("input", () => change({ words: input.value }));
    field("words", phrase("search"), input, "search");
  }
  const speakers = [...new Set(lines.map((line) => line.speaker))].sort(order.compare);
  choice("speaker", phrase("speaker"), speakers.map((name) => [`=${name}`, name]));
  if (lines.some((line) => line.text)) choice("text", phrase("text"), Object.entries(TEXTS));
  choice("kind", phrase("kind"), Object.entries(KINDS).map(([id, [names]]) => [id, names]));
  search();
  const reset = words("button", phrase("show_all"));
  reset.type = "button";
  reset.addEventListener("click", () => change({ speaker: "", text: "", kind: "", words: "" }));
  bar.append(reset);

  // --- the table --------------------------------------------------------------------------------------------------
  const table = make("table", "utterances"), heads = {};
  table.setAttribute("role", "table");
  const top = make("tr");
  top.setAttribute("role", "row");
  const corner = make("th", "corner");
  corner.append(words("span", phrase("play"), "unseen-words"));
  corner.setAttribute("role", "columnheader");
  top.append(corner);
  for (const { id, words: names } of COLUMNS) {
    const button = words("button", names), head = make("th", "", button);
    button.type = "button";
    head.setAttribute("role", "columnheader");
    head.scope = "col";
    // Counts and seconds begin with the largest, names with the first.
    const first = !["key", "speaker", "text", "change"].includes(id);
    button.addEventListener("click", () => change({ sort: id, down: state.sort === id ? !state.down : first }));
    heads[id] = head;
    top.append(head);
  }
  const thead = make("thead", "", top);
  thead.setAttribute("role", "rowgroup");
  table.append(thead);

  // Columns of the reference and of each hypothesis beside it, from the systems' runs of operations on the reference.
  function aligned(line) {
    const reference = [], hypotheses = line.systems.map(() => []), added = line.systems.map(() => [[]]);
    line.systems.forEach(({ runs }, system) => {
      let at = 0;
      const next = (char, operation, hypothesis) => {
        reference[at] ??= char;
        hypotheses[system][at++] = [operation, hypothesis];
        added[system][at] ??= [];
      };
      for (const [operation, one, two] of runs) {
        if (operation === "i") added[system][at].push(...one);
        else {
          const others = operation === "s" ? [...two] : [...one];
          [...one].forEach((char, turn) => next(char, operation, others[turn] ?? ""));
        }
      }
    });
    const columns = [];
    for (let at = 0; at <= reference.length; at++) {
      const most = Math.max(0, ...added.map((one) => one[at]?.length ?? 0));
      for (let turn = 0; turn < most; turn++)
        columns.push(["", added.map((one) => (one[at]?.[turn] !== undefined ? ["i", one[at][turn]] : ["", ""]))]);
      if (at < reference.length) columns.push([reference[at], hypotheses.map((one) => one[at] ?? ["d", reference[at]])]);
    }
    return columns;
  }
  const KIND = { "=": "equal", s: "sub", d: "del", i: "ins", "": "gap" };
  function stack(cells, kind) {
    const column = make("span", kind);
    for (const cell of cells) column.append(cell);
    return column;
  }
  function alignment(line) {
    const box = make("div", "alignment"), columns = aligned(line);
    const heads = [words("span", phrase("reference")), ...data.systems.map((name) => words("span", phrase(name)))];
    box.setAttribute("aria-hidden", "true"); // read aloud is the text beside it, not a heap of letters
    box.append(stack(heads, "names"));
    for (const [reference, hypotheses] of whole.has(line.at) ? columns : columns.slice(0, MOST_COLUMNS))
      box.append(stack([make("bdi", "", reference), ...hypotheses.map(([operation, char]) => make("bdi", KIND[operation], char))], "column"));
    if (!columns.length) box.append(words("span", phrase("no_character"), "empty"));
    return [box, columns.length];
  }
  const cut = (text, most) => (text.length > most ? [...text.slice(0, most + 1)].slice(0, -1).join("") + "…" : text);
  const joined = (runs, without) => runs.map(([operation, one, two]) => (operation === without ? "" : two ?? one)).join("");
  const referenceIn = (runs) => runs.map(([operation, one]) => (operation === "i" ? "" : one)).join("");
  // What was written and decoded, before normalisation: shown where it differs, and read aloud in any case.
  function texts(line) {
    const list = make("div", "written"), most = whole.has(line.at) ? Infinity : MOST_WRITTEN;
    const rows = [[phrase("reference"), line.ref, referenceIn(line.systems[0].runs)]];
    line.systems.forEach(({ hyp, runs, status }, at) => rows.push([phrase(data.systems[at]), hyp, joined(runs, "d"), status]));
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
    } else item.append(number(value, column.id === "duration" ? 2 : 0));
    return item;
  }
  function row(line, turn) {
    const body = make("tbody"), one = make("tr", "about"), two = make("tr", "aligned"), play = make("button", "play");
    play.type = "button";
    play.tabIndex = turn === state.at ? 0 : -1;
    play.dataset.turn = turn;
    if (line.clip) say(play, ...phrase("play_clip", line), "label");
    else {
      play.setAttribute("aria-disabled", "true");
      say(play, ...phrase("no_clip", line), "label");
    }
    play.addEventListener("click", () => toggle(line));
    play.addEventListener("focus", () => step(turn, false));
    const first = make("td", "is-play", play);
    for (const item of [one, two]) item.setAttribute("role", "row");
    body.setAttribute("role", "rowgroup");
    first.setAttribute("role", "cell");
    one.append(first, ...COLUMNS.map((column) => cell(column, line)));
    const inside = make("td");
    inside.colSpan = COLUMNS.length + 1;
    inside.setAttribute("role", "cell");
    const [box, size] = alignment(line);
    inside.append(box, texts(line));
    const written = Math.max(line.ref.length, ...line.systems.map((one) => one.hyp.length));
    if (size > MOST_COLUMNS || written > MOST_WRITTEN) inside.append(more(line, Math.max(size, written)));
    two.append(inside);
    body.append(one, two);
    body.classList.toggle("playing", playing === line);
    play.classList.toggle("on", playing === line && !audio.paused);
    body.dataset.key = line.key;
    return body;
  }
  function more(line, size) {
    const open = whole.has(line.at), named = number(size);
    const button = words("button", open ? phrase("show_less") : phrase("show_all_characters", { count: named }), "more");
    button.type = "button";
    button.addEventListener("click", () => {
      open ? whole.delete(line.at) : whole.add(line.at);
      const turn = shown.indexOf(line) - state.page * PAGE, fresh = row(line, turn);
      table.tBodies[turn].replaceWith(fresh);
      fresh.querySelector(".more").focus();
    });
    return button;
  }

  // --- sorting, filtering, pages ----------------------------------------------------------------------------------
  const pages = () => Math.max(1, Math.ceil(shown.length / PAGE));
  function select() {
    const query = plain(state.words.trim()), kind = KINDS[state.kind]?.[1], column = COLUMNS.find(({ id }) => id === state.sort);
    shown = lines.filter((line) =>
      (!state.speaker || `=${line.speaker}` === state.speaker) && (!state.text || line.text === state.text) &&
      (!kind || kind(line)) && (!query || searched(line).includes(query)));
    if (!column) return;
    const sign = state.down ? -1 : 1, filled = (value) => value !== null && value !== "";
    shown = shown.map((line) => [column.of(line), line]).sort(([one, first], [two, second]) => {
      if (!filled(one) || !filled(two)) return filled(two) - filled(one) || first.at - second.at; // empty ones stay last
      return sign * (typeof one === "string" ? order.compare(one, two) : one - two) || first.at - second.at;
    }).map(([, line]) => line);
  }
  function draw() {
    for (const body of [...table.tBodies]) body.remove();
    state.page = Math.min(Math.max(0, state.page), pages() - 1);
    const part = shown.slice(state.page * PAGE, (state.page + 1) * PAGE);
    state.at = Math.min(state.at, Math.max(0, part.length - 1));
    table.append(...part.map(row));
    for (const [id, head] of Object.entries(heads))
      head.setAttribute("aria-sort", state.sort !== id ? "none" : state.down ? "descending" : "ascending");
    for (const [id, input] of Object.entries(inputs)) if (input.value !== state[id]) input.value = state[id];
    say(count, ...phrase("count", { shown: number(shown.length), all: number(lines.length) }));
    for (const bar of pagers) bar.draw();
  }
  function change(news) {
    Object.assign(state, { page: 0, at: 0 }, news);
    if (!("page" in news)) select();
    draw();
    remember();
  }
  const pagers = [];
  function pager() {
    const box = make("div", "pager"), where = make("span");
    const button = (names, step) => {
      const one = words("button", names);
      one.type = "button";
      one.addEventListener("click", () => {
        change({ page: state.page + step });
        if (box !== pagers[0]?.box) place.scrollIntoView();
      });
      return one;
    };
    const [back, on] = [button(phrase("back"), -1), button(phrase("next"), 1)];
    box.append(back, where, on);
    pagers.push({ box, draw: () => {
      back.disabled = state.page === 0;
      on.disabled = state.page === pages() - 1;
      say(where, ...phrase("page", { page: number(state.page + 1), pages: number(pages()) }));
      box.hidden = pages() === 1;
    } });
    return box;
  }

  // --- the address keeps what is shown, so that a link or "back" finds it again ----------------------------------------
  const KEPT = ["sort", "speaker", "text", "kind", "words"];
  let written = location.hash;
  function remember() {
    const kept = new URLSearchParams(KEPT.filter((id) => state[id]).map((id) => [id, state[id]]));
    if (state.down) kept.set("down", "1");
    if (state.page) kept.set("page", state.page + 1);
    written = kept.size ? `#${kept}` : "#utterances-all";
    try {
      history.replaceState(null, "", written);
    } catch { /* some browsers do not let a page from disk do so */ }
  }
  function recall() {
    const kept = new URLSearchParams(location.hash.slice(1));
    for (const id of KEPT) state[id] = kept.get(id) ?? "";
    if (!(state.sort in heads)) state.sort = "";
    if (!(state.kind in KINDS)) state.kind = "";
    Object.assign(state, { down: kept.get("down") === "1", page: (parseInt(kept.get("page"), 10) || 1) - 1, at: 0 });
    select();
    draw();
  }
  addEventListener("hashchange", () => location.hash !== written && recall());

  // --- moving and playing -----------------------------------------------------------------------------------------
  const button = (turn) => table.tBodies[turn]?.querySelector(".play");
  function step(turn, focus = true) {
    const old = button(state.at), next = button(turn);
    if (!next) return;
    if (old) old.tabIndex = -1;
    next.tabIndex = 0;
    state.at = turn;
    if (!focus) return;
    next.focus({ preventScroll: true });
    table.tBodies[turn].scrollIntoView({ block: "nearest" });
  }
  function move(by) {
    const turn = state.at + by, size = table.tBodies.length;
    if (turn >= 0 && turn < size) return step(turn);
    const page = state.page + Math.sign(by);
    if (page < 0 || page >= pages()) return undefined;
    change({ page });
    return step(by > 0 ? 0 : table.tBodies.length - 1);
  }
  const KEYS = {
    ArrowDown: () => move(1), j: () => move(1), ArrowUp: () => move(-1), k: () => move(-1),
    Home: () => step(0), End: () => step(table.tBodies.length - 1),
    Escape: () => audio.pause(), "/": () => inputs.words.focus(),
  };
  table.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("play") || event.ctrlKey || event.altKey || event.metaKey) return;
    const act = KEYS[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  const audio = make("audio"), now = make("bdi", "now"), failed = make("span", "failed");
  const player = make("div", "player", audio, make("span", "what", now, failed));
  let playing = null;
  audio.controls = true;
  audio.preload = "none";
  player.hidden = true;
  failed.setAttribute("role", "alert");
  // A path may hold what means something in an address: #, ?, %.
  const address = (clip) => (clip.startsWith("data:") ? clip : clip.split("/").map(encodeURIComponent).join("/"));
  function toggle(line) {
    if (!line.clip) return;
    if (playing === line) {
      audio.paused ? start() : audio.pause();
      return;
    }
    playing = line;
    failed.textContent = "";
    for (const name of Object.keys(failed.dataset)) delete failed.dataset[name];
    now.textContent = line.key;
    player.hidden = false;
    audio.src = address(line.clip);
    start();
  }
  const start = () => audio.play().catch(() => {}); // what went wrong is told by the error event
  function mark() {
    for (const body of table.tBodies) {
      const own = playing && body.dataset.key === playing.key;
      body.classList.toggle("playing", Boolean(own));
      body.querySelector(".play").classList.toggle("on", Boolean(own && !audio.paused));
    }
  }
  for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, mark);
  audio.addEventListener("error", () => {
    if (playing) say(failed, ...phrase("cannot_play"));
    delete failed.dataset.none;
  });

  // --- putting it together ----------------------------------------------------------------------------------------
  const legend = make("p", "key");
  for (const [kind, sample, names] of [["sub", "字", phrase("substituted")], ["del", "字", phrase("deleted")], ["ins", "字", phrase("inserted")]])
    legend.append(make("span", "", make("b", kind, sample), words("span", names)));
  const help = words("p", phrase("keys"), "muted");
  place.append(help, legend, bar, make("div", "found", count, pager()), table, pager(), player);
  pagers.forEach((one, turn) => (one.box = place.querySelectorAll(".pager")[turn]));
  document.addEventListener("language", () => place.querySelectorAll("[data-text-zh]").forEach(translate));
  recall();
}
