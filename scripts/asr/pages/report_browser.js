// The error browser: utterances sorted, filtered, aligned and played. Only a page of rows is in the document at a time,
// so that 6,064 utterances scroll as well as 60.
{
  const PAGE = 50;
  const data = JSON.parse(document.getElementById("utterances").textContent);
  // A phrase of strings.yaml in both languages, with its {names} filled in.
  const phrase = (key, values = {}) => data.words[key].map((text) => text.replace(/{(\w+)}/g, (_, name) => values[name]));
  const [place, last] = [document.getElementById("browser"), data.own - 1]; // `last` is this run's: tuned, if there is one
  const isOwn = (at) => at < data.own, nameOf = (name) => (isOwn(data.systems.indexOf(name)) ? phrase(name) : [name, name]);
  const lines = data.rows.map(([key, speaker, text, duration, length, ref, clip, reading, ...systems], at) => {
    const found = systems.map(([status, errors, runs, hyp, reading, confused]) => ({ status, errors, runs, hyp, reading, confused }));
    const change = last ? found[last].errors - found[0].errors : 0, cer = length ? (100 * found[last].errors) / length : null;
    const sure = data.confidence?.[at] ?? null; // in per cent, of this run's last system
    return { at, key, speaker, text, duration, length, ref, clip, reading, systems: found, change, cer, sure };
  });
  const wrong = (line) => line.systems[last].errors, notes = notebook(data);

  // What can be sorted by and filtered by.
  const columnOf = (at) => (isOwn(at) ? data.systems[at] : `with-${at}`);
  const COLUMNS = [
    { id: "key", words: phrase("utterance"), of: (line) => line.key },
    { id: "speaker", words: phrase("speaker"), of: (line) => line.speaker },
    { id: "text", words: phrase("text"), of: (line) => line.text },
    { id: "duration", words: phrase("seconds"), of: (line) => line.duration, digits: 2 },
    { id: "length", words: phrase("characters"), of: (line) => line.length },
    ...data.systems.map((name, at) => ({
      id: columnOf(at), words: isOwn(at) ? phrase(`${name}_errors`) : phrase("errors_of", { name }), of: (line) => line.systems[at].errors,
    })),
    ...(last ? [{ id: "change", words: phrase("change"), of: (line) => line.change }] : []),
    { id: "cer", words: phrase("cer_of", { name: "" }).map((text, at) => phrase("cer_of", { name: phrase(data.systems[last])[at] })[at]), of: (line) => line.cer, digits: 1 },
    ...(data.confidence ? [{ id: "sure", words: phrase("confidence"), of: (line) => line.sure }] : []),
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
    noted: [phrase("with_a_note"), (line) => notes.of(line.key)],
  };
  const TEXTS = { seen: phrase("seen"), unseen: phrase("unseen") };
  const WORST = { sort: columnOf(last), down: true }, FILTERS = { speaker: "", text: "", kind: "", group: "", system: "", words: "" };
  const state = { ...WORST, ...FILTERS, page: 0, at: 0 }, whole = new Set();
  let shown = lines;

  // --- the bar of filters -----------------------------------------------------------------------------------------
  const bar = make("form", "filters"), count = make("p", "count"), inputs = {};
  bar.setAttribute("role", "search");
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
  const search = make("input");
  search.type = "search";
  say(search, ...phrase("text_or_key"), "hint");
  search.addEventListener("input", () => change({ words: search.value }));
  field("words", phrase("search"), search, "search");
  if (data.systems.length > 1) choice("system", phrase("in_system"), data.systems.map((name) => [name, nameOf(name)]));
  const speakers = [...new Set(lines.map((line) => line.speaker))].sort(order.compare);
  choice("speaker", phrase("speaker"), speakers.map((name) => [`=${name}`, name]));
  if (lines.some((line) => line.text)) choice("text", phrase("text"), Object.entries(TEXTS));
  choice("kind", phrase("kind"), Object.entries(KINDS).map(([id, [names]]) => [id, names]));
  const groups = Object.entries(data.groups).flatMap(([kind, names]) =>
    names.map((name) => [`${kind}:${name}`, phrase(`group_${kind}`, { name })]));
  choice("group", phrase("group"), groups);
  const reset = words("button", phrase("show_all"));
  reset.type = "button";
  reset.addEventListener("click", () => change({ ...FILTERS }));

  // --- the table --------------------------------------------------------------------------------------------------
  const table = make("table", "utterances"), heads = {}, top = make("tr"), corner = make("th", "corner");
  table.setAttribute("role", "table");
  top.setAttribute("role", "row");
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

  const player = clipPlayer({ make, words, phrase, number, changed: mark, next: playNext });
  const row = rowMaker({ data, columns: COLUMNS, phrase, nameOf, player, notes, whole, events: {
    focused: (turn) => step(turn, false),
    noted(line, text) {
      unkept.hidden = notes.write(line.key, text);
      count_notes();
    },
    unfolded(line) {
      whole.has(line.at) ? whole.delete(line.at) : whole.add(line.at);
      const turn = shown.indexOf(line) - state.page * PAGE, fresh = row(line, turn, turn === state.at);
      table.tBodies[turn].replaceWith(fresh);
      fresh.querySelector(".more").focus();
    },
  } });

  // --- sorting, filtering, pages ----------------------------------------------------------------------------------
  const pages = () => Math.max(1, Math.ceil(shown.length / PAGE));
  function select() {
    const kind = KINDS[state.kind]?.[1], column = COLUMNS.find(({ id }) => id === state.sort);
    const system = data.systems.indexOf(state.system), all = data.systems.map((_, at) => at);
    const found = finder(state.words, system < 0 ? all : [system], data.syllables), group = state.group && inGroup(state.group);
    shown = lines.filter((line) =>
      (!state.speaker || `=${line.speaker}` === state.speaker) && (!state.text || line.text === state.text) &&
      (!kind || kind(line)) && (!group || group(line)) && found(line));
    const sign = state.down ? -1 : 1, filled = (value) => value !== null && value !== "";
    shown = shown.map((line) => [column.of(line), line]).sort(([one, first], [two, second]) => {
      if (!filled(one) || !filled(two)) return filled(two) - filled(one) || first.at - second.at; // empty ones stay last
      const by = typeof one === "string" ? order.compare(one, two) : one - two;
      return sign * by || (state.down ? second.cer - first.cer : 0) || first.at - second.at; // the worse of equals first
    }).map(([, line]) => line);
  }
  function draw() {
    for (const body of [...table.tBodies]) body.remove();
    state.page = Math.min(Math.max(0, state.page), pages() - 1);
    const part = shown.slice(state.page * PAGE, (state.page + 1) * PAGE);
    state.at = Math.min(state.at, Math.max(0, part.length - 1));
    table.append(...part.map((line, turn) => row(line, turn, turn === state.at)));
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
  const isWorst = () => state.sort === WORST.sort && state.down;
  let written = location.hash;
  function remember() {
    const kept = new URLSearchParams(Object.keys(FILTERS).filter((id) => state[id]).map((id) => [id, state[id]]));
    if (!isWorst()) kept.set("sort", state.sort);
    if (!isWorst() && state.down) kept.set("down", "1");
    if (state.page) kept.set("page", state.page + 1);
    written = kept.size ? `#${kept}` : "#utterance-list";
    try {
      history.replaceState(null, "", written);
    } catch { /* some browsers do not let a page from disk do so */ }
  }
  function recall() {
    const kept = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const id of Object.keys(FILTERS)) state[id] = kept.get(id) ?? "";
    if (!(state.kind in KINDS)) state.kind = "";
    if (!groups.some(([name]) => name === state.group)) state.group = "";
    Object.assign(state, kept.get("sort") in heads ? { sort: kept.get("sort"), down: kept.get("down") === "1" } : WORST);
    Object.assign(state, { page: (parseInt(kept.get("page"), 10) || 1) - 1, at: 0 });
    select();
    draw();
  }
  const reveal = () => document.getElementById("utterance-list").scrollIntoView();
  // The page's other links (#by-speaker) leave the list as it is.
  addEventListener("hashchange", () => {
    if (location.hash === written || (location.hash && !location.hash.includes("="))) return;
    written = location.hash;
    recall();
    if (location.hash) reveal();
  });
  function open(address) {
    if (address === location.hash) recall();
    else location.hash = address;
    reveal();
  }
  document.addEventListener("click", (event) => {
    const way = event.target.closest('a[href^="#"][href*="="], [data-go]'), address = way?.dataset.go ?? way?.getAttribute("href");
    if (!way || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(address);
  });

  // --- moving and playing -----------------------------------------------------------------------------------------
  const part = (turn, kind) => table.tBodies[turn]?.querySelector(`.${kind}`);
  function step(turn, focus = true) {
    if (!part(turn, "play")) return;
    for (const kind of ["play", "note"]) {
      if (part(state.at, kind)) part(state.at, kind).tabIndex = -1;
      part(turn, kind).tabIndex = 0;
    }
    state.at = turn;
    if (!focus) return;
    part(turn, "play").focus({ preventScroll: true });
    table.tBodies[turn].scrollIntoView({ block: "nearest" });
  }
  function move(by) {
    const size = table.tBodies.length, most = by > 0 ? size - 1 : 0, turn = state.at + by;
    if (state.at !== most) return step(Math.min(Math.max(turn, 0), size - 1));
    const page = state.page + Math.sign(by);
    if (page < 0 || page >= pages()) return undefined;
    change({ page });
    return step(by > 0 ? 0 : table.tBodies.length - 1);
  }
  const isPlay = (element) => element.classList?.contains("play");
  const isTyped = (element) => /^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) && element.type !== "checkbox";
  const LIST_KEYS = {
    ArrowDown: () => move(1), ArrowUp: () => move(-1), PageDown: () => move(10), PageUp: () => move(-10),
    Home: () => step(0), End: () => step(table.tBodies.length - 1), n: () => part(state.at, "note").focus(),
  };
  const PAGE_KEYS = { // a first j or k goes to the list, wherever the reader is
    j: (inList) => (inList ? move(1) : step(state.at)), k: (inList) => (inList ? move(-1) : step(state.at)),
    "/": () => search.focus(), Escape: () => player.pause(),
  };
  function typedKey({ key, target }) {
    const leave = key === "Enter" || (key === "Escape" && !(target === search && search.value));
    if (target === search && leave) return () => step(key === "Enter" ? 0 : state.at);
    return target.classList.contains("note") && leave ? () => step(state.at) : null;
  }
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const inList = isPlay(event.target);
    const act = isTyped(event.target) ? typedKey(event) : PAGE_KEYS[event.key] ?? (inList ? LIST_KEYS[event.key] : null);
    if (!act) return;
    event.preventDefault();
    act(inList);
  });
  function mark() {
    for (const [turn, body] of [...table.tBodies].entries()) {
      const line = shown[state.page * PAGE + turn];
      body.classList.toggle("playing", player.isOn(line));
      part(turn, "play").classList.toggle("on", player.isPlaying(line));
    }
  }
  function playNext(line) {
    const next = shown.findIndex((one, at) => at > shown.indexOf(line) && one.clip);
    if (next < 0 || !shown.includes(line)) return;
    if (Math.floor(next / PAGE) !== state.page) change({ page: Math.floor(next / PAGE) });
    step(next % PAGE, isPlay(document.activeElement) || document.activeElement === document.body);
    player.play(shown[next]);
  }

  // --- putting it together ----------------------------------------------------------------------------------------
  const legend = make("p", "key"), unkept = words("p", phrase("notes_not_kept"), "failed");
  for (const [kind, sample, names] of [["sub", "字", phrase("substituted")], ["del", "字", phrase("deleted")], ["ins", "字", phrase("inserted")]])
    legend.append(make("span", "", make("b", kind, sample), words("span", names)));
  const pinyin = make("input"), save = make("button", "save");
  Object.assign(pinyin, { type: "checkbox", checked: true });
  pinyin.addEventListener("change", () => table.classList.toggle("plain", !pinyin.checked));
  save.type = "button";
  save.addEventListener("click", () => notes.save());
  function count_notes() {
    say(save, ...phrase("save_notes", { count: number(notes.count()) }));
    save.disabled = !notes.count();
  }
  count_notes();
  unkept.hidden = true;
  const tools = make("div", "tools", make("label", "", pinyin, words("span", phrase("pinyin"))), reset, save, unkept);
  place.append(words("p", phrase("keys"), "muted"), legend, bar, tools, make("div", "found", count, pager()), table, pager(), player.box);
  pagers.forEach((one, turn) => (one.box = place.querySelectorAll(".pager")[turn]));
  document.addEventListener("language", () => place.querySelectorAll("[data-text-zh], [data-label-zh], [data-hint-zh]").forEach(translate));
  recall();
  // Where the columns have no room beside each other, they stand one below the other.
  let width = 0;
  new ResizeObserver(() => {
    if (width === place.clientWidth) return;
    width = place.clientWidth;
    table.classList.remove("stacked");
    table.classList.toggle("stacked", table.offsetWidth > width || width < 30 * parseFloat(getComputedStyle(root).fontSize));
  }).observe(place);
  if (location.hash.includes("=")) reveal();
}
