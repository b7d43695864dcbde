// What the error browser's search finds: keys and texts, pinyin ("jin tian", "jintian", "tian1", "tiān"), and what was
// taken for what ("b>d", "3>4", "ba>da", "天>田", "天>" for a deletion, ">的" for an insertion).

// Full width and half width, capitals and small letters are the same to a search.
const plain = (text) => text.normalize("NFKC").toLowerCase();

// The combining marks of tones 1 to 4; the syllable "lv4" is written lǜ, "lǜ" is searched for as "lv4".
const TONE_MARKS = ["\u0304", "\u0301", "\u030c", "\u0300"];
function withToneMark(syllable) {
  const [, letters, tone] = syllable.match(/^(\D+)([1-5])$/) ?? [null, syllable, "5"];
  if (tone === "5") return letters.replaceAll("v", "ü");
  const places = [letters.search(/[ae]/), letters.indexOf("ou"), letters.search(/[iouvê][^iouv]*$/), 0];
  const place = places.find((one) => one >= 0);
  return (letters.slice(0, place + 1) + TONE_MARKS[tone - 1] + letters.slice(place + 1)).replaceAll("v", "ü").normalize("NFC");
}
function withToneNumber(text) {
  const letters = text.normalize("NFD").replaceAll("u\u0308", "v");
  return letters.replace(/([a-z]*)([\u0304\u0301\u030c\u0300])([a-z]*)/g, (_, before, mark, after) => `${before}${after}${TONE_MARKS.indexOf(mark) + 1}`);
}

// A pattern that finds a query in readings such as " jin1 tian1 ": syllables as a whole, with or without their tones.
function pinyinPattern(query) {
  const letters = withToneNumber(query).replace(/ +/g, " ").trim();
  if (!/^[a-z]+[1-5]?(?: ?[a-z]+[1-5]?)*$/.test(letters)) return null;
  let pattern = "";
  for (const [at, letter] of [...letters].entries()) {
    const next = letters[at + 1];
    if (letter === " ") continue;
    pattern += letter;
    if (/\d/.test(letter)) pattern += " ";
    else if (next === undefined || next === " ") pattern += "[1-5] ";
    else if (/[a-z]/.test(next)) pattern += "(?:[1-5] )?";
  }
  return new RegExp(` ${pattern}`);
}

// The characters that one system took for others: [reference, hypothesis], "" where one has none.
function confusedCharacters({ runs }) {
  const found = [];
  for (const [operation, one, two] of runs) {
    if (operation === "s") [...one].forEach((char, at) => found.push([char, [...two][at] ?? ""]));
    if (operation === "d") found.push(...[...one].map((char) => [char, ""]));
    if (operation === "i") found.push(...[...one].map((char) => ["", char]));
  }
  return found;
}
// The same for sounds: [kind, reference, hypothesis] by what "ba1>da1" differs in; `parts` has initials and finals.
function confusedSounds({ confused }, parts) {
  const found = [];
  for (const pair of confused ? confused.split(" ") : []) {
    const [one, two] = pair.split(">"), [first, second] = [one.slice(0, -1), two.slice(0, -1)];
    found.push(["syllable", one, two], ["syllable", first, second]);
    if (first === second) found.push(["tone", one.slice(-1), two.slice(-1)]);
    else ["initial", "final"].forEach((kind, at) => {
      if (parts[first][at] !== parts[second][at]) found.push([kind, parts[first][at], parts[second][at]]);
    });
  }
  return found;
}

// Whether a line has what is searched for. Hypotheses are those of `systems`, places in line.systems.
function finder(words, systems, parts) {
  const query = plain(words.trim()), chosen = (line) => systems.map((at) => line.systems[at]);
  if (!query) return () => true;
  const confusion = query.match(/^(?:(initial|final|tone|syllable|char):)?\s*(.*?)\s*[>→]\s*(.*)$/);
  if (confusion) {
    const [, kind, ...sides] = confusion, [one, two] = sides.map(withToneNumber), [from, to] = sides;
    return (line) => chosen(line).some((system) =>
      ((!kind || kind === "char") && confusedCharacters(system).some(([first, second]) => plain(first) === from && plain(second) === to)) ||
      (kind !== "char" && confusedSounds(system, parts).some(([of, first, second]) =>
        (!kind || kind === of) && first === one && second === two)));
  }
  const pinyin = pinyinPattern(query);
  return (line) => {
    const texts = [line.key, line.ref, ...chosen(line).map((one) => one.hyp)].join("\n");
    if (plain(texts).includes(query)) return true;
    return pinyin !== null && [line.reading, ...chosen(line).map((one) => fullReading(line, one))].some((reading) => pinyin.test(` ${reading} `));
  };
}
// The readings of all of a hypothesis, of which the page's data has only those that the reference has not.
function fullReading(line, system) {
  const reference = line.reading.split(" "), own = system.reading.split(" "), all = [];
  let at = 0, turn = 0;
  for (const [operation, one, two] of system.runs) {
    const size = [...one].length;
    if (operation === "=") all.push(...reference.slice(at, at + size));
    if (operation === "s" || operation === "i") all.push(...own.slice(turn, (turn += [...(two ?? one)].length)));
    if (operation !== "i") at += size;
  }
  return all.join(" ");
}

// Whether a line is in one of score.json's groups, such as "length:3-5", "duration:8+" or "rate:1-2".
function inGroup(name) {
  const [, kind, low, high] = name.match(/^(\w+):([\d.]+)(?:-([\d.]+))?/) ?? [];
  const exact = kind === "length", from = Number(low), to = high === undefined ? null : Number(high);
  const above = /\+$/.test(name) ? () => true : exact ? (value) => value <= (to ?? from) : (value) => value < to;
  const of = { length: (line) => line.length, duration: (line) => line.duration, rate: (line) => line.duration ? line.length / line.duration : null }[kind];
  return (line) => {
    const value = of(line);
    return value !== null && value >= from && above(value);
  };
}
