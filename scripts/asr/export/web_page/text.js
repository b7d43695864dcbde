"use strict";
// From a model's scores to text, and from a long recording to pieces, as asr.transcribe and FunASR's runtime do it.

// The place of the largest number in each of the rows of `width` numbers.
function best(scores, rows, width) {
  return Array.from({ length: rows }, (_, row) => {
    let at = row * width;
    for (let i = at + 1; i < (row + 1) * width; i++) if (scores[i] > scores[at]) at = i;
    return at - row * width;
  });
}

const MARKS = ["<blank>", "<s>", "</s>", "<unk>"]; // write nothing
// Characters side by side, words with blanks between; "ab@@" goes on in the next token, letters in a row are an acronym.
function joinCharacters(tokens) {
  const written = [];
  let begun = "", afterWord = false;
  for (const token of tokens.filter((each) => !MARKS.includes(each))) {
    const isWord = /^[\p{L}'@]+$/u.test(token) && !/[\u4e00-\u9fff]/.test(token), goesOn = token.includes("@@");
    if (!isWord && !goesOn) {
      if (afterWord) written.pop();
      written.push(token);
    } else {
      begun += token.replace("@@", "");
      if (!goesOn) written.push(begun, " ");
      if (!goesOn) begun = "";
    }
    afterWord = isWord && !goesOn;
  }
  return acronyms(written).join("").trim();
}

function acronyms(words) {
  const isLetter = (at) => /^[A-Za-z]$/.test(words[at] ?? ""), made = [];
  for (let at = 0; at < words.length; at++) {
    let end = at;
    while (isLetter(end) && words[end + 1] === " " && isLetter(end + 2)) end += 2;
    made.push(end > at ? words.slice(at, end + 1).filter((word) => word !== " ").join("").toUpperCase() : words[at]);
    at = end;
  }
  return made;
}

// CTC: what stays the same for several frames is one token, blank (0) none; SentencePiece marks blanks before words.
function ctc(ids) {
  return ids.filter((id, at) => id !== ids[at - 1] && id !== 0);
}
function joinPieces(tokens) {
  return tokens.join("").replaceAll("\u2581", " ").replace(/<\|[^<>|]*\|>/g, "").trim();
}

// A recording of more than `longest` samples is cut at the quietest fifth of a second of the second half of a piece.
function* pieces(samples, longest, rate = 16000) {
  let rest = samples;
  while (rest.length > longest) {
    const at = quietest(rest.subarray(0, Math.min(longest, rest.length - rate)), longest >> 1, rate / 5);
    yield rest.subarray(0, at);
    rest = rest.subarray(at);
  }
  yield rest;
}
function quietest(samples, earliest, width) {
  const total = new Float64Array(samples.length - earliest);
  for (let i = 0; i < total.length; i++) total[i] = (i && total[i - 1]) + samples[earliest + i] ** 2;
  let at = 0;
  for (let i = 1; i + width < total.length; i++) if (total[i + width] - total[i] < total[at + width] - total[at]) at = i;
  return earliest + width / 2 + at;
}
