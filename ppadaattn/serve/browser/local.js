// Paint in this browser: the network runs in a worker, and no picture leaves the computer. Exports as server.js does.

import { say } from "./words.js";

export const capabilities = ["mixtures", "strength", "regions", "camera", "VideoEncoder" in window ? "clips" : "pictures"];

const PREVIEW = 256; // long side, in pixels, of what is shown first, and of the frames of a camera
const WORTH_A_PREVIEW = 384; // long side from which on a preview is made
const LONGEST_START = 10000; // milliseconds for the service worker to begin
const PATIENCE = 1.5; // seconds: painting that takes longer is stopped with its worker, not waited for

let about = null; // about.json
let worker = null;
let calls = new Map(); // id -> {resolve, reject}
let count = 0;

// {models, styles, options, limits, ...} as server.js, and `how`: a promise of {word, values}, what runs the network.
export async function describe() {
  await isolate();
  about = await (await fetch("about.json")).json();
  const webgpu = new URLSearchParams(location.search).get("webgpu");
  about.webgpu = ["no", "any"].includes(webgpu) ? webgpu : "auto";
  return { ...about, how: call("start", { model: about.models[0].name }).then(sentence) };
}

function sentence({ gpu, threads, gpuFailed }) {
  if (gpu) return { word: "runsOnGpu", values: {} };
  if (gpuFailed) return { word: "runsWithoutGpu", values: { count: threads } };
  if (threads > 1) return { word: "runsOnThreads", values: { count: threads } };
  return { word: crossOriginIsolated ? "runsOnOne" : "runsNotIsolated", values: {} };
}

// The service worker keeps the page for use without a network, and gives it the headers that threads need; these hold
// from the next load on.
async function isolate() {
  try {
    const registered = await navigator.serviceWorker.register("sw.js");
    if (!registered || crossOriginIsolated || sessionStorage.getItem("reloaded")) return;
    const late = new Promise((resolve) => setTimeout(resolve, LONGEST_START));
    if (!(await Promise.race([navigator.serviceWorker.ready, late]))) return;
    sessionStorage.setItem("reloaded", "yes");
  } catch {
    return; // no service workers here, or no storage: the page works on one thread, and only online
  }
  location.reload();
  await new Promise(() => {});
}

// Let the worker do a task; messages of errors are sentences for the page.
function call(task, values, transfer = []) {
  if (!worker) {
    worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = ({ data: { id, result, error } }) => {
      const waiting = calls.get(id);
      calls.delete(id);
      if (!error) return waiting?.resolve(result);
      if (error.fatal) stop();
      waiting?.reject(new Error(error.word ? say(error.word, error.values) : error.text));
    };
    worker.onerror = (event) => stop(new Error(event.message || say("noRuntime")));
  }
  const id = ++count;
  return new Promise((resolve, reject) => {
    calls.set(id, { resolve, reject });
    worker.postMessage({ id, task, values: { about, ...values } }, transfer);
  });
}

// End the worker, and what it does; the next call begins another one.
function stop(reason = new DOMException("stopped", "AbortError")) {
  worker?.terminate();
  worker = null;
  for (const { reject } of calls.values()) reject(reason);
  calls = new Map();
}

const modelOf = (request) => request.model || about.models[0].name;
const shown = (style) => ({ name: style.name, file: style.file, url: style.url && new URL(style.url, location).href });

// What worker.js needs to know of a request besides its content.
async function howOf({ model, styles, weights, mode, mask, colours, options }) {
  const regions = mask ? [...new Set(colours)] : [null];
  const groups = regions.map((colour, label) => {
    const own = styles.map((_, index) => index).filter((index) => !mask || colours[index] === colour);
    return { styles: own.map((index) => shown(styles[index])), weights: own.map((index) => weights[index]), label: mask ? label : null };
  });
  return {
    model: modelOf({ model }), groups, joint: mode === "concat", stroke: options.style_size, strength: options.strength,
    labels: mask && (await labelsOf(mask, regions)),
  };
}

// The labels of a mask, a PNG of flat colours "#rrggbb": the places of its pixels' colours in the list.
async function labelsOf(mask, colours) {
  const bitmap = await createImageBitmap(mask, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  const numbers = colours.map((colour) => parseInt(colour.slice(1), 16));
  const labelAt = (_, place) => {
    const [red, green, blue] = pixels.subarray(4 * place);
    return Math.max(0, numbers.indexOf((red << 16) | (green << 8) | blue));
  };
  return { data: Uint8Array.from({ length: width * height }, labelAt), width, height };
}

// Call the worker for something long: when it is cancelled, what is expected to take longer than PATIENCE is stopped
// with the worker, and the rest is waited for.
async function callLong(task, values, transfer, seconds, signal) {
  const abort = () => seconds > PATIENCE && stop();
  signal.addEventListener("abort", abort);
  try {
    const found = await call(task, values, transfer);
    signal.throwIfAborted();
    return found;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

export async function paint(request, { signal, report }) {
  const { options, format, kind } = request;
  const how = await howOf(request);
  report({ state: "loading" });
  await call("prepare", { how });
  signal.throwIfAborted();
  report({ state: "painting" });
  const painting = kind === "clip" ? paintClip : paintPicture;
  const painted = await painting(request, { how, size: options.size, colours: options.preserve_color, format }, signal, report);
  navigator.serviceWorker?.controller?.postMessage("keep");
  return painted;
}

async function paintPicture(request, values, signal, report) {
  const { size, how } = values;
  const format = values.format || about.formats.picture[0];
  const painted = async (side, seconds) =>
    callLong("paint", { ...values, content: request.content, size: side, format }, [], seconds, signal);
  const done = ({ blob, runs }) => ({ blob, name: `painted.${format}`, how: sentence(runs) });
  if (size < WORTH_A_PREVIEW) return done(await painted(size, 0));
  const small = await painted(PREVIEW, 0);
  if (small.long <= PREVIEW) return done(small);
  const scale = Math.min(size, small.long) / PREVIEW;
  // Softmax attention of a content to itself grows with the square of its pixels; everything else with its pixels.
  const power = how.strength < 1 && !about.states[how.model] ? 4 : 2;
  const secondsLeft = scale ** power * small.seconds;
  report({ state: "painting", preview: small.blob, secondsLeft });
  return done(await painted(size, secondsLeft));
}

async function paintClip(request, values, signal, report) {
  const { paintFrames } = await import("./clips.js");
  let seconds = 0; // that a frame takes
  const paintFrame = async ({ data: { buffer }, width, height }) => {
    const begun = performance.now();
    const frame = { ...values, pixels: buffer, width, height, name: request.content.name };
    const painted = await callLong("frame", frame, [buffer], seconds, signal);
    seconds = (performance.now() - begun) / 1000;
    return painted;
  };
  const blob = await paintFrames(request.content, { paintFrame, signal, report, most: about.limits.max_frames });
  return { blob, name: "painted.webm" };
}

// Paint a frame of a camera, an ImageData, as a request says whose mask is not used.
export async function paintFrame(frame, request) {
  const { width, height } = frame;
  const pixels = frame.data.buffer;
  const { preserve_color: colours, strength } = request.options;
  const options = { style_size: 512, strength };
  const how = await howOf({ ...request, mask: null, options });
  const { buffer } = await call("frame", { pixels, width, height, how, size: PREVIEW, colours, name: "camera" }, [pixels]);
  return new ImageData(new Uint8ClampedArray(buffer), width, height);
}
