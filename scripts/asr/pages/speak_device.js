// What has been said is written on this device: worker.js has the model. Takes the place of speak_server.js.
const HERE = new URL("./", location).href, folder = new URL(`${speakData.folder}/`, HERE).href;
const LONGEST_FILE = 30 * 60; // seconds: a file is in memory as a whole
const waiting = new Map(); // what the worker has been asked, by number
let worker = null, ready = false, asked = 0;

function ask(samples, onPart = () => {}) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject, onPart });
    worker.postMessage({ id: asked, samples }, [samples.buffer]);
  });
}

// send() rejects with {name, why?}: a phrase, and what fills it.
async function send(_, { file }, onPart) {
  if (!ready) throw { name: "not_ready" };
  let samples;
  try {
    samples = await readSound(await file.arrayBuffer());
  } catch (error) {
    throw { name: "not_decoded", why: error.message };
  }
  const text = await ask(samples.slice(), onPart);
  return { text, segments: [{ text }] };
}

function cannot(name, values) {
  byId("loading").hidden = true;
  byId("problem").hidden = false;
  tell("problem", name, values);
}

function answered({ data: { id, progress, part, text, error, ready: loaded } }) {
  if (progress !== undefined) return showLoading(progress);
  if (loaded) return start();
  const question = waiting.get(id);
  if (!question) return cannot("not_loaded", { why: error });
  if (part !== undefined) return question.onPart(part);
  waiting.delete(id);
  if (error === undefined) question.resolve(text);
  else question.reject(error === "short" ? { name: "short" } : { name: "not_written", why: error });
}

function showLoading(share) {
  byId("loaded").value = share;
  tell("loading-words", share < 1 ? "loading" : "preparing", { percent: Math.floor(100 * share), megabytes: Math.ceil(speakData.total / 1e6) });
}

async function start() {
  ready = true;
  byId("loading").hidden = true;
  byId("talk").disabled = byId("choose").disabled = false;
  try {
    await keepForOffline();
    tell("offline", "works_offline");
  } catch (error) {
    console.info(`not offline: ${error}`);
    tell("offline", "online_only");
  }
}

// The worker has put the large files into the cache. The page itself comes last: whoever finds it there finds all of it.
async function keepForOffline() {
  if (!navigator.serviceWorker || !self.caches) throw new Error("neither https nor this computer");
  const cache = await caches.open("asr");
  await cache.addAll(speakData.small.map((name) => folder + name));
  for (const { url } of await cache.keys())
    if (url.startsWith(HERE) && !url.startsWith(folder) && url !== HERE) await cache.delete(url);
  for (const name of speakData.large)
    if (!(await cache.match(folder + name))) throw new Error(`no room for ${name}`);
  await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  const page = await fetch(HERE);
  if ((await page.clone().text()).includes(speakData.folder)) await cache.put(HERE, page); // else it has just been replaced
}

// --- files ------------------------------------------------------------------------------------------------------------
const secondsOf = (file) =>
  new Promise((resolve) => {
    const sound = new Audio(URL.createObjectURL(file));
    const done = () => (URL.revokeObjectURL(sound.src), resolve(sound.duration || 0));
    sound.onloadedmetadata = sound.onerror = done; // what cannot be played may be decoded all the same
  });

async function writeFile(file) {
  const line = document.createElement("li"), name = document.createElement("span"), text = document.createElement("span");
  name.className = "name";
  name.textContent = file.name;
  text.className = "said";
  line.append(name, text);
  byId("files").append(line);
  say(text, ...phrase("writing"));
  try {
    if (!file.size) throw { name: "empty_file" };
    if ((await secondsOf(file)) > LONGEST_FILE) throw { name: "file_too_long" };
    const part = (share) => say(text, ...phrase("writing_part", { percent: Math.floor(100 * share) }));
    const answer = await send("", { file }, part);
    text.lang = "zh-Hans";
    say(text, ...(answer.text ? [answer.text, answer.text] : phrase("nothing_in_file")));
  } catch (error) {
    text.classList.add("wrong");
    say(text, ...phrase(error.name in speakData.words ? error.name : "not_written", { why: error.why ?? error }));
  }
}

byId("choose").addEventListener("change", async () => {
  const files = [...byId("choose").files];
  byId("choose").value = ""; // the same file may be chosen again
  byId("choose").disabled = true;
  for (const file of files) await writeFile(file);
  byId("choose").disabled = false;
  byId("choose").dispatchEvent(new Event("written"));
});

// --- the model ----------------------------------------------------------------------------------------------------------
byId("talk").disabled = true;
if (location.protocol === "file:") cannot("no_server");
else if (!self.Worker || !self.WebAssembly) cannot("too_old");
else {
  showLoading(0);
  worker = new Worker(`${folder}worker.js`);
  worker.onmessage = answered;
  worker.onerror = (error) => cannot("not_loaded", { why: error.message || "worker.js" });
  worker.postMessage({ files: speakData.large, total: speakData.total });
}
