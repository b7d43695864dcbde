"use strict";
// Keeps the model and decodes, so that the page stays responsive: {samples} in, {text} or {error} out.
importScripts("ort.wasm.min.js", "fbank.js", "text.js");
const CACHE = "asr"; // of everything that the page needs offline; files are in a folder of their version
const LONGEST = 60 * RATE; // of a piece, in samples
let model, session;

// The file's bytes, from the cache or the network; `arrived` hears how many more there are.
async function bytes(url, arrived) {
  const kept = await self.caches?.match(url), response = kept ?? (await fetch(url));
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const parts = [];
  for (let reader = response.body.getReader(), read; !(read = await reader.read()).done; ) {
    parts.push(read.value);
    arrived(read.value.length);
  }
  const whole = new Uint8Array(await new Blob(parts).arrayBuffer());
  if (!kept) await keep(url, whole);
  return whole;
}

// A browser without a cache (no https), or without room for it, decodes all the same: online.
async function keep(url, whole) {
  try {
    const type = url.endsWith(".json") ? "application/json" : "application/octet-stream";
    await (await self.caches?.open(CACHE))?.put(url, new Response(whole, { headers: { "Content-Type": type } }));
  } catch (error) {
    console.info(`${url}: not kept: ${error}`);
  }
}

async function start({ files, total }) {
  let sofar = 0;
  const arrived = (more) => postMessage({ progress: (sofar += more) / total });
  const got = {};
  for (const name of files) got[name] = await bytes(new URL(name, location).href, arrived);
  model = JSON.parse(new TextDecoder().decode(got["model.json"]));
  ort.env.wasm.numThreads = 1; // several need headers that a plain static server does not send
  ort.env.wasm.wasmBinary = got["ort-wasm-simd-threaded.wasm"].buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL("ort-wasm-simd-threaded.js", location).href };
  session = await ort.InferenceSession.create(got["model.int8.onnx"], { executionProviders: ["wasm"] });
}

// A clip's text. Inputs and outputs go by their places: features, their count and what else the family is told.
async function decode(samples) {
  const { data, length, width } = features(samples, model.frontend);
  const inputs = [new ort.Tensor("float32", data, [1, length, width])];
  for (const number of [length, ...model.told]) inputs.push(new ort.Tensor("int32", Int32Array.of(number), [1]));
  const outputs = await session.run(Object.fromEntries(session.inputNames.map((name, at) => [name, inputs[at]])));
  const [scores, count] = session.outputNames.map((name) => outputs[name]);
  const ids = best(scores.data, Number(count.data[0]), scores.dims[2]), written = (id) => model.tokens[id];
  return model.family === "sensevoice" ? joinPieces(ctc(ids).map(written)) : joinCharacters(ids.map(written));
}

async function transcribe(id, samples) {
  if (samples.length < FRAME) throw new Error("short");
  const parts = [...pieces(samples, LONGEST)], texts = [];
  for (const piece of parts) {
    if (texts.length) postMessage({ id, part: texts.length / parts.length });
    texts.push(await decode(piece));
  }
  return texts.filter(Boolean).join("\n");
}

// One after another: a session decodes one piece at a time.
let last = Promise.resolve();
self.onmessage = ({ data: { id, files, total, samples } }) => {
  last = last.then(async () => {
    try {
      postMessage(files ? (await start({ files, total }), { ready: true }) : { id, text: await transcribe(id, samples) });
    } catch (error) {
      postMessage({ id, error: String(error.message ?? error) });
    }
  });
};
