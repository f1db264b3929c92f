// Read a clip frame by frame with the browser's own player, and write the painted frames as WebM.

import { webm } from "./webm.js";
import { say } from "./words.js";

const USUAL_RATES = [24000 / 1001, 24, 25, 30000 / 1001, 30, 50, 60000 / 1001, 60];
const NEAR = 0.02; // share by which a measured rate may differ from a usual one and be taken as that
const FINEST = 1 / 130; // seconds between two looks for the next frame
const LOOKS = 40; // at the beginning of a clip, to find its frames per second
const LATE = 300; // milliseconds to wait for what a frame tells of itself
const GROUP = 60; // frames from one key frame to the next
const BITS = 0.2; // of the painted clip, a pixel and frame: brush strokes are full of detail
const LEAST_BITS = 500000; // a second: for the smallest clips
const CODECS = [["vp09.00.50.08", "V_VP9"], ["vp8", "V_VP8"]];
const AHEAD = 4; // frames that the encoder may have before it

// Paint the frames of a clip, a File. paintFrame(ImageData): a promise of {buffer, width, height}, its RGBA bytes and
// its size; most: frames. Gives a WebM, a Blob, without sound.
export async function paintFrames(file, { paintFrame, signal, report, most }) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
  video.src = URL.createObjectURL(file);
  try {
    await once(video, "loadeddata").catch(() => {
      throw new Error(say("clipNotReadable", { name: file.name }));
    });
    if (!video.videoWidth) throw new Error(say("clipNotReadable", { name: file.name }));
    if (!Number.isFinite(video.duration)) await seek(video, Number.MAX_SAFE_INTEGER); // a recording: it finds its end
    const { first, rate } = await times(video);
    const total = Math.max(1, Math.round((video.duration - first) * rate));
    if (total > most) throw new Error(say("clipTooLong", { name: file.name, frames: total, most }));
    return await painted(video, { first, rate, total, paintFrame, signal, report });
  } finally {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  }
}

async function painted(video, { first, rate, total, paintFrame, signal, report }) {
  const context = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext("2d", { willReadFrequently: true });
  const { width, height } = context.canvas;
  const begun = performance.now();
  let writer = null;
  report({ state: "painting", done: 0, total });
  try {
    for (let number = 0; number < total; number++) {
      await seek(video, Math.min(first + (number + 0.5) / rate, video.duration)); // the middle of the frame
      signal.throwIfAborted();
      context.drawImage(video, 0, 0);
      const frame = await paintFrame(context.getImageData(0, 0, width, height));
      writer ??= await frameWriter(frame, rate);
      await writer.write(frame, number);
      const secondsLeft = ((performance.now() - begun) / 1000 / (number + 1)) * (total - number - 1);
      report({ state: "painting", done: number + 1, total, secondsLeft, preview: number ? null : await shown(frame) });
    }
    return await writer.finish();
  } finally {
    writer?.close();
  }
}

async function shown({ buffer, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(buffer), width, height), 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}

// Encode frames {buffer, width, height} of one size.
async function frameWriter({ width, height }, rate) {
  const [config, name] = await usableCodec(width, height, rate);
  const chunks = [];
  let failed = null;
  const encoder = new VideoEncoder({
    output: (chunk) => {
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      chunks.push({ data, milliseconds: Math.round(chunk.timestamp / 1000), key: chunk.type === "key" });
    },
    error: (error) => (failed = error),
  });
  encoder.configure(config);
  let frames = 0;
  return {
    async write({ buffer }, number) {
      const timestamp = Math.round((number * 1e6) / rate);
      const frame = new VideoFrame(buffer, { format: "RGBX", codedWidth: width, codedHeight: height, timestamp });
      encoder.encode(frame, { keyFrame: number % GROUP === 0 });
      frame.close();
      frames++;
      while (encoder.encodeQueueSize > AHEAD && !failed) await once(encoder, "dequeue");
      if (failed) throw failed;
    },
    async finish() {
      await encoder.flush();
      return new Blob(webm({ chunks, codec: name, width, height, milliseconds: (1000 * frames) / rate }), { type: "video/webm" });
    },
    close() {
      if (encoder.state !== "closed") encoder.close();
    },
  };
}

async function usableCodec(width, height, framerate) {
  for (const [codec, name] of CODECS) {
    const config = { codec, width, height, framerate, bitrate: Math.round(Math.max(LEAST_BITS, BITS * width * height * framerate)) };
    if ((await VideoEncoder.isConfigSupported(config).catch(() => ({}))).supported) return [config, name];
  }
  throw new Error(say("noEncoder"));
}

// {first, rate}: when the first frame is shown, in seconds, and how many frames follow each other in a second.
async function times(video) {
  const seen = [];
  for (let look = 0; look < LOOKS && seen.length < 3; look++) {
    const at = look * FINEST;
    if (at > video.duration) break;
    const time = await seek(video, at);
    if (time === undefined) break; // this browser does not say
    if (!seen.length || time > seen.at(-1) + 1e-4) seen.push(time);
  }
  const first = seen[0] ?? 0;
  if (seen.length < 2) return { first, rate: seen.length ? 1 / Math.max(video.duration - first, 0.1) : 25 };
  const rate = (seen.length - 1) / (seen.at(-1) - first);
  const off = (usual) => Math.abs(rate / usual - 1);
  const nearest = USUAL_RATES.reduce((a, b) => (off(b) < off(a) ? b : a));
  return { first, rate: off(nearest) < NEAR ? nearest : rate };
}

// Show the frame of a time, in seconds. Gives the time from which on it is shown, where the browser says it.
async function seek(video, seconds) {
  const told = new Promise((resolve) => {
    if (!video.requestVideoFrameCallback) return resolve();
    video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime));
    setTimeout(resolve, LATE);
  });
  const sought = once(video, "seeked");
  video.currentTime = seconds;
  await sought;
  return told;
}

function once(target, name) {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    target.addEventListener("error", () => reject(target.error), { once: true });
  });
}
