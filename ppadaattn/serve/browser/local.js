// Paint in this browser: the network runs in a worker, and no picture leaves the computer. Exports as server.js does.

import { say } from "./words.js";

export const capabilities = ["pictures", "camera"];

const PREVIEW = 256; // long side, in pixels, of what is shown first
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
  about.webgpu = new URLSearchParams(location.search).has("webgpu"); // not tested on a graphics processor yet
  return { ...about, how: call("start", { model: about.models[0].name }).then(sentence) };
}

function sentence({ gpu, threads }) {
  if (gpu) return { word: "runsOnGpu", values: {} };
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

export async function paint(request, { signal, report }) {
  const { options, format } = request;
  const values = {
    content: request.content, model: modelOf(request), style: shown(request.styles[0]),
    stroke: options.style_size, colours: options.preserve_color, format: format || about.formats.picture[0],
  };
  const done = (blob) => {
    navigator.serviceWorker?.controller?.postMessage("keep");
    return { blob, name: `painted.${values.format}` };
  };
  report({ state: "loading" });
  await call("prepare", { model: values.model, style: values.style, stroke: values.stroke });
  signal.throwIfAborted();
  report({ state: "painting" });
  let secondsLeft = 0;
  if (options.size >= WORTH_A_PREVIEW) {
    const small = await call("paint", { ...values, size: PREVIEW });
    signal.throwIfAborted();
    if (small.long <= PREVIEW) return done(small.blob);
    const scale = Math.min(options.size, small.long) / PREVIEW;
    secondsLeft = scale * scale * small.seconds;
    report({ state: "painting", preview: small.blob, secondsLeft });
  }
  const slow = secondsLeft > PATIENCE;
  const abort = () => slow && stop();
  signal.addEventListener("abort", abort);
  try {
    const { blob } = await call("paint", { ...values, size: options.size });
    signal.throwIfAborted();
    return done(blob);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

// Paint a frame of a camera. Gives an ImageData of its size.
export async function paintFrame(frame, style, model) {
  const { width, height } = frame;
  const pixels = frame.data.buffer;
  const values = { pixels, width, height, style: shown(style), model: model || about.models[0].name };
  return new ImageData(new Uint8ClampedArray(await call("frame", values, [pixels])), width, height);
}
