"use strict";
// FunASR's WavFrontend: Kaldi's filter bank without dither, low frame rate, mean and variance normalisation.
const RATE = 16000, FRAME = 400, SHIFT = 160, FFT = 512, MELS = 80; // samples; 25 ms every 10 ms
const LOWEST = 20, PREEMPHASIS = 0.97, FLOOR = 1.1920928955078125e-7; // Hz; float32's epsilon, as in Kaldi
const mel = (hertz) => 1127 * Math.log(1 + hertz / 700);

const HAMMING = Float64Array.from({ length: FRAME }, (_, i) => 0.54 - 0.46 * Math.cos((2 * Math.PI * i) / (FRAME - 1)));

// Triangles that are even in mel, each as its first FFT bin and its weights.
const BANKS = Array.from({ length: MELS }, (_, bank) => {
  const step = (mel(RATE / 2) - mel(LOWEST)) / (MELS + 1), left = mel(LOWEST) + bank * step;
  const weights = Array.from({ length: FFT / 2 }, (_, bin) => {
    const at = (mel((bin * RATE) / FFT) - left) / step; // 0 at the left foot, 1 at the top, 2 at the right foot
    return at > 0 && at < 2 ? Math.min(at, 2 - at) : 0;
  });
  const first = weights.findIndex((weight) => weight > 0);
  return { first, weights: weights.slice(first).filter((weight) => weight > 0) };
});

const TWIDDLES = Array.from({ length: FFT / 2 }, (_, i) => {
  const angle = (-2 * Math.PI * i) / FFT;
  return [Math.cos(angle), Math.sin(angle)];
});
const REVERSED = Uint16Array.from({ length: FFT }, (_, i) => parseInt(i.toString(2).padStart(9, "0").split("").reverse().join(""), 2));

// The power spectrum of FRAME samples, zeros behind them: an iterative radix-2 FFT (Cooley and Tukey 1965).
function power(frame) {
  const re = new Float64Array(FFT), im = new Float64Array(FFT);
  frame.forEach((sample, i) => (re[REVERSED[i]] = sample));
  for (let size = 2; size <= FFT; size *= 2) {
    const half = size / 2, stride = FFT / size;
    for (let start = 0; start < FFT; start += size)
      for (let i = 0; i < half; i++) {
        const [cos, sin] = TWIDDLES[i * stride], one = start + i, two = one + half;
        const x = re[two] * cos - im[two] * sin, y = re[two] * sin + im[two] * cos;
        [re[two], im[two]] = [re[one] - x, im[one] - y];
        [re[one], im[one]] = [re[one] + x, im[one] + y];
      }
  }
  return re.map((value, i) => value * value + im[i] * im[i]);
}

// Log filter-bank energies of samples between -1 and 1: frames × MELS, only of frames that are full (snip_edges).
function fbank(samples) {
  const count = samples.length < FRAME ? 0 : 1 + Math.floor((samples.length - FRAME) / SHIFT);
  const energies = new Float32Array(count * MELS), frame = new Float64Array(FRAME);
  for (let t = 0; t < count; t++) {
    const piece = samples.subarray(t * SHIFT, t * SHIFT + FRAME);
    const mean = piece.reduce((sum, sample) => sum + sample, 0) / FRAME;
    for (let i = FRAME - 1; i >= 0; i--) {
      const before = piece[Math.max(i - 1, 0)] - mean;
      frame[i] = 32768 * HAMMING[i] * (piece[i] - mean - PREEMPHASIS * before);
    }
    const spectrum = power(frame);
    BANKS.forEach(({ first, weights }, bank) => {
      const energy = weights.reduce((sum, weight, i) => sum + weight * spectrum[first + i], 0);
      energies[t * MELS + bank] = Math.log(Math.max(energy, FLOOR));
    });
  }
  return energies;
}

// What a model takes: of every `shift` frames one that holds `stack` of them, those at the ends repeated, normalised.
function features(samples, { stack, shift, add, scale }) {
  const energies = fbank(samples), frames = energies.length / MELS, width = stack * MELS;
  const length = Math.ceil(frames / shift), before = (stack - 1) >> 1;
  const data = new Float32Array(length * width);
  for (let t = 0; t < length; t++)
    for (let i = 0; i < width; i++) {
      const from = Math.min(Math.max(t * shift + Math.floor(i / MELS) - before, 0), frames - 1);
      data[t * width + i] = (energies[from * MELS + (i % MELS)] + add[i]) * scale[i];
    }
  return { data, length, width };
}
