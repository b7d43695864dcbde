"use strict";
// Sound as the model takes it: 16 kHz, one channel, between -1 and 1.
const MODEL_RATE = 16000;

// 16-bit PCM WAV, sample by sample as Python reads it; null for anything else. [[samples of a channel], rate]
function readWav(buffer) {
  const view = new DataView(buffer), name = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 44 || name(0) !== "RIFF" || name(8) !== "WAVE") return null;
  let layout = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const length = view.getUint32(at + 4, true), from = at + 8;
    if (name(at) === "fmt ") {
      layout = { codec: view.getUint16(from, true), channels: view.getUint16(from + 2, true), rate: view.getUint32(from + 4, true), bits: view.getUint16(from + 14, true) };
      if (layout.codec !== 1 || layout.bits !== 16 || !layout.channels || !layout.rate) return null;
    } else if (name(at) === "data" && layout) {
      const frames = Math.floor(Math.min(length, buffer.byteLength - from) / (2 * layout.channels));
      const channel = (c) => Float32Array.from({ length: frames }, (_, i) => view.getInt16(from + 2 * (i * layout.channels + c), true) / 32768);
      return [Array.from({ length: layout.channels }, (_, c) => channel(c)), layout.rate];
    }
    at = from + length + (length % 2);
  }
  return null;
}

const mono = (channels) =>
  channels.length === 1 ? channels[0] : channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);

// The browser's own resampler.
async function resample(samples, rate) {
  if (rate === MODEL_RATE || !samples.length) return samples;
  const context = new OfflineAudioContext(1, Math.max(Math.round((samples.length * MODEL_RATE) / rate), 1), MODEL_RATE);
  const source = new AudioBufferSourceNode(context, { buffer: new AudioBuffer({ length: samples.length, sampleRate: rate }) });
  source.buffer.copyToChannel(samples, 0);
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

// Throws where the browser cannot decode the file.
async function readSound(buffer) {
  const wav = readWav(buffer);
  if (wav) return resample(mono(wav[0]), wav[1]);
  const sound = await new OfflineAudioContext(1, 1, MODEL_RATE).decodeAudioData(buffer);
  return mono(Array.from({ length: sound.numberOfChannels }, (_, c) => sound.getChannelData(c)));
}
