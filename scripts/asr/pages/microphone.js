"use strict";
// The microphone as a WAV file, 16-bit PCM at the sound card's rate, without a codec; and the button that one speaks by.
// Nothing here decides when somebody has finished speaking.
const COLLECTOR = `registerProcessor("collector", class extends AudioWorkletProcessor {
  process([[samples]]) { if (samples) this.port.postMessage(samples.slice()); return true; }
});`;
const TAIL_MS = 300; // recorded after the end: a key is often let go within the last syllable

// const microphone = new Microphone(peak => …); await microphone.start(); const clip = await microphone.stop();
// start() rejects with an Error whose name is "insecure" (neither https nor this computer), "none", "refused" or "failed".
// stop() gives {wav: Blob, seconds, peak, sampleRate}; peak is of full scale, 1: clipped. No sound arrived where seconds is 0.
class Microphone {
  constructor(onPeak = () => {}) {
    this.onPeak = onPeak;
    this.chunks = null; // of the clip that is being recorded
  }
  // It stays open from the first clip until close(): opening takes long enough to lose a syllable.
  async open() {
    if (this.context && this.track.readyState === "live") return;
    this.close();
    if (!navigator.mediaDevices) throw microphoneError("insecure");
    // What makes calls clearer takes weak voices for noise.
    const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    } catch (error) {
      throw microphoneError({ NotAllowedError: "refused", NotFoundError: "none" }[error.name] || "failed", error);
    }
    [this.track] = stream.getAudioTracks();
    this.context = new AudioContext();
    const module = URL.createObjectURL(new Blob([COLLECTOR], { type: "text/javascript" }));
    await this.context.audioWorklet.addModule(module);
    URL.revokeObjectURL(module);
    const options = { channelCount: 1, channelCountMode: "explicit" };
    const collector = new AudioWorkletNode(this.context, "collector", options);
    collector.port.onmessage = ({ data }) => this.take(data);
    // Its output is silence: a browser may run only what leads to the loudspeaker.
    this.context.createMediaStreamSource(stream).connect(collector).connect(this.context.destination);
  }
  take(samples) {
    if (!this.chunks) return;
    this.chunks.push(samples);
    this.onPeak(peakOf(samples));
  }
  start() {
    this.starting = (async () => {
      await this.stopping?.catch(() => {});
      await this.open();
      await this.context.resume();
      this.chunks = [];
    })();
    return this.starting;
  }
  stop() {
    this.stopping = this.finish();
    return this.stopping;
  }
  async finish() {
    await this.starting;
    await new Promise((resolve) => setTimeout(resolve, TAIL_MS));
    const chunks = this.chunks || [], { sampleRate } = this.context;
    this.chunks = null;
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const peak = chunks.reduce((most, chunk) => Math.max(most, peakOf(chunk)), 0);
    return { wav: waveFile(chunks, length, sampleRate), seconds: length / sampleRate, peak: Math.min(peak, 1), sampleRate };
  }
  close() {
    this.chunks = null;
    this.track?.stop();
    this.context?.close();
    this.context = this.track = null;
  }
}

function microphoneError(name, cause) {
  const error = new Error(cause ? `${cause.name}: ${cause.message}` : name, { cause });
  error.name = name;
  return error;
}

const peakOf = (samples) => samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);

// RIFF WAVE: a header of 44 bytes, then the samples, little-endian.
function waveFile(chunks, length, sampleRate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * length));
  const word = (at, text) => [...text].forEach((char, n) => view.setUint8(at + n, char.charCodeAt(0)));
  const [size, rate, bytesASample] = [2 * length, sampleRate, 2];
  word(0, "RIFF"), view.setUint32(4, 36 + size, true), word(8, "WAVEfmt "), view.setUint32(16, 16, true);
  view.setUint16(20, 1, true), view.setUint16(22, 1, true); // PCM, one channel
  view.setUint32(24, rate, true), view.setUint32(28, rate * bytesASample, true);
  view.setUint16(32, bytesASample, true), view.setUint16(34, 8 * bytesASample, true);
  word(36, "data"), view.setUint32(40, size, true);
  let at = 44;
  for (const chunk of chunks)
    for (const sample of chunk) {
      view.setInt16(at, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true);
      at += 2;
    }
  return new Blob([view], { type: "audio/wav" });
}

// Let `button` be spoken by: held with mouse, finger, space or enter, and let go; or pressed, and pressed again. A press too
// short to speak in is one of the second kind, and where `once()` is true every press is. A click without a press, as
// switches and screen readers send it, is too. The space bar works wherever nothing else has the focus; `key()` may name
// another key, which then works everywhere but where one types.
// `start` and `stop` are called in turn; `start` returns a promise, and after its failure the next press starts again.
// Where every press counts, a second one too soon to have said anything is a tremor's. Returns {end}, which lets go for
// whoever speaks.
const SHORT_PRESS_MS = 350;
const isPressedByKeys = (element) => element.matches("a, button, input, select, textarea, summary");
const isTypedInto = (element) => element.matches("textarea, input:not([type=radio]):not([type=checkbox])");
function pressToTalk(button, { start, stop, once = () => false, key: chosen = () => " " }) {
  let on = false, since = 0, key = null, pointerEnded = -Infinity;
  const press = () => {
    if (on && once() && performance.now() - since < SHORT_PRESS_MS) return;
    turn();
  };
  const turn = () => {
    on = !on;
    since = performance.now();
    button.setAttribute("aria-pressed", on);
    if (!on) stop();
    else start().catch(() => button.setAttribute("aria-pressed", (on = false)));
  };
  const release = () => {
    if (on && !once() && performance.now() - since >= SHORT_PRESS_MS) press();
  };
  const usable = () => !button.disabled && button.offsetParent !== null;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !usable()) return;
    button.setPointerCapture(event.pointerId); // let go beside the button is let go
    press();
  });
  for (const end of ["pointerup", "pointercancel"])
    button.addEventListener(end, () => {
      pointerEnded = performance.now();
      release();
    });
  button.addEventListener("click", () => {
    if (performance.now() - pointerEnded > 500 && usable()) press();
  });
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
  document.addEventListener("keydown", (event) => {
    const own = event.target === button && ["Enter", " "].includes(event.key);
    const taken = [" ", "Enter"].includes(event.key) ? isPressedByKeys : isTypedInto;
    if (!own && (event.key !== chosen() || taken(event.target))) return;
    if (!usable()) return;
    event.preventDefault();
    if (event.repeat || key) return;
    key = event.key;
    press();
  });
  const keyUp = (event) => {
    if (!key || (event.type === "keyup" && event.key !== key)) return;
    event.preventDefault();
    key = null;
    release();
  };
  document.addEventListener("keyup", keyUp);
  addEventListener("blur", keyUp); // let go while another window is in front
  return { end: () => on && turn() };
}
