// Runs the network, in a thread of its own: pictures in, pictures out. Its programs are those of serve/web_programs.py.

import { addWeighted, joined, levelOf, pointsOf, regionCells, resizedLabels } from "./mixing.js";
import { decoded, keepColours, resized, toRgb, toRgba } from "./pixels.js";

const SMALLEST = 17; // pixels of a side that the programs take
const STATES = 8; // prepared styles that are remembered: those of the image model take 20 MB
const ENCODED = 2; // contents whose features are remembered, the small one and the whole one: 100 MB at 1024 pixels
const PREPARED_SIDE = 512; // long side of the style pictures whose states come with the page

class SentenceError extends Error {
  constructor(word, values = {}) {
    super(word);
    Object.assign(this, { word, values });
  }
}

let runtime = null; // promise of {ort, gpu, threads}
let gpuFailed = false; // then WebAssembly paints, until the page is loaded again
let creating = Promise.resolve(); // the last session that was begun
const sessions = new Map(); // address -> promise of a session
const states = new Map(); // key -> promise of a state, as mixing.js has them
const encoded = new Map(); // key -> promise of {name: tensor}
let queue = Promise.resolve(); // one task after the other

onmessage = ({ data: { id, task, values } }) => {
  queue = queue.then(async () => {
    try {
      const [result, transfer] = await withoutGpuIfItFails(() => TASKS[task](values));
      postMessage({ id, result }, transfer || []);
    } catch (error) {
      postMessage({ id, error: described(error) });
    }
  });
};

function described(error) {
  const { word, values } = error;
  if (word) return { word, values };
  const text = String(error?.message ?? error);
  if (/alloc|memory|out of bounds/i.test(text)) return { word: "noMemory", values: {}, fatal: true };
  return { text };
}

// Whatever fails on a graphics processor (programs that do not load, memory, a device that is lost) is done without it.
async function withoutGpuIfItFails(work) {
  try {
    return await work();
  } catch (error) {
    const used = await runtime?.catch(() => null);
    if (!used?.gpu || ["notThere", "notReadable", "tooSmall"].includes(error.word)) throw error;
    console.info(`WebGPU failed: ${error.message ?? error}`);
    gpuFailed = true;
    runtime = null;
    for (const kept of [sessions, states, encoded]) kept.clear();
    return work();
  }
}

// `webgpu`: "auto", "no", or "any", which also takes an adapter that is software.
async function takesGpu(webgpu) {
  if (webgpu === "no" || gpuFailed) return false;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && (webgpu === "any" || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
}

async function start({ runtime: folder, webgpu }) {
  const gpu = await takesGpu(webgpu);
  const load = (kind) => import(new URL(`${folder}ort.${kind}.bundle.min.mjs`, location.href));
  const ort = await load(gpu ? "webgpu" : "wasm").catch(() => null);
  if (!ort && gpu) {
    gpuFailed = true;
    return start({ runtime: folder, webgpu });
  }
  if (!ort) throw new SentenceError("noRuntime");
  const threads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return { ort, gpu, threads };
}

function begin(about) {
  if (!runtime) {
    runtime = start(about);
    runtime.catch(() => (runtime = null));
  }
  return runtime;
}

async function session(about, model, program) {
  const { ort, gpu } = await begin(about);
  return remembered(sessions, `models/${model}/${program}.onnx`, async (address) => {
    const bytes = new Uint8Array(await (await get(address)).arrayBuffer());
    const create = () => ort.InferenceSession.create(bytes, { executionProviders: gpu ? ["webgpu", "wasm"] : ["wasm"] });
    return (creating = creating.then(create, create)); // with WebGPU one after the other
  });
}

// Run a program. Tensors are {data, dims} here, in and out.
async function run(about, model, program, inputs) {
  const { ort } = await begin(about);
  const opened = await session(about, model, program);
  const feeds = {};
  for (const [name, { data, dims }] of Object.entries(inputs)) {
    feeds[name] = new ort.Tensor(data instanceof Float32Array ? "float32" : "uint8", data, dims);
  }
  const found = await opened.run(feeds);
  return Object.fromEntries(Object.entries(found).map(([name, { data, dims }]) => [name, { data, dims }]));
}

async function get(address) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) throw new SentenceError("notThere", { name: address });
  return response;
}

function remembered(map, key, make, most = Infinity) {
  if (map.has(key)) return map.get(key);
  const made = make(key);
  map.set(key, made);
  made.catch(() => map.delete(key));
  if (map.size > most) map.delete(map.keys().next().value);
  return made;
}

const keyOf = (file) => `${file.name} ${file.size} ${file.lastModified}`;

// The state of a style {name, file, url} at a stroke size.
function state(about, model, style, stroke) {
  const key = `${model} ${stroke} ${style.file ? keyOf(style.file) : style.name}`;
  return remembered(states, key, () => makeState(about, model, style, stroke), STATES);
}

async function makeState(about, model, style, stroke) {
  const prepared = about.states[model];
  if (prepared && !style.file && stroke === PREPARED_SIDE) {
    const numbers = new Uint16Array(await (await get(`models/${model}/${style.name}.bin`)).arrayBuffer());
    const count = prepared.counts[style.name];
    let place = 0;
    const tensors = prepared.tensors.map(([name, dims]) => {
      const part = numbers.subarray(place, (place += dims.reduce((a, b) => a * b)));
      const factor = name.startsWith("centre") ? 1 : count[levelOf(name)]; // sums are stored divided by it
      return [name, { data: Float32Array.from(part, (bits) => factor * wholeNumber(bits)), dims }];
    });
    return { count, tensors: Object.fromEntries(tensors) };
  }
  const picture = await readPicture(style.file || (await (await get(style.url)).blob()), stroke, style.name);
  return stateOf(about, model, await features(about, model, picture));
}

// The state of a picture from its features.
async function stateOf(about, model, found) {
  const count = {};
  for (const [name, { dims }] of Object.entries(found)) count[levelOf(name)] = dims[2] * dims[3];
  return { count, tensors: await run(about, model, "state", found) };
}

// The number of a float16.
function wholeNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

async function readPicture(blob, side, name) {
  const picture = await decoded(blob, side).catch(() => {
    throw new SentenceError("notReadable", { name });
  });
  checkSize(picture, name);
  return picture;
}

function checkSize({ width, height }, name) {
  if (Math.min(width, height) < SMALLEST) throw new SentenceError("tooSmall", { name, least: SMALLEST });
}

function features(about, model, { data, width, height }) {
  return run(about, model, "encode", { content: { data, dims: [height, width, 3] } });
}

const only = (tensors, start) => Object.fromEntries(Object.entries(tensors).filter(([name]) => name.startsWith(start)));

// What a picture is painted with: [{state, weight, label}], weights of a region have the sum 1; label null: everywhere.
// groups: [{styles, weights, label}].
async function partsOf(about, { model, groups, joint, stroke }) {
  const parts = [];
  for (const { styles, weights, label } of groups) {
    const found = [];
    for (const style of styles) found.push(await state(about, model, style, stroke));
    if (joint) parts.push({ state: found.reduce(joined), weight: 1, label });
    else {
      const sum = weights.reduce((a, b) => a + b);
      found.forEach((one, index) => weights[index] && parts.push({ state: one, weight: weights[index] / sum, label }));
    }
  }
  return parts;
}

// Paint {data: RGB bytes, width, height}. how: {model, groups, joint, stroke, strength, labels}; key: of its features,
// null where they are not needed again.
async function painted(about, picture, how, key = null) {
  const { model, strength, labels } = how;
  const encode = () => features(about, model, picture);
  const found = await (key ? remembered(encoded, key, encode, ENCODED) : encode());
  const parts = strength > 0 ? await partsOf(about, how) : [];
  for (const part of parts) part.weight *= strength;
  if (strength < 1) parts.push({ state: await stateOf(about, model, found), weight: 1 - strength, label: null });
  const keys = only(found, "content_key");
  const statistics = await attended(about, model, keys, parts, labels && resizedLabels(labels, picture.width, picture.height));
  const size = { data: Float32Array.of(picture.height, picture.width), dims: [2] };
  const { stylized } = await run(about, model, "decode", { ...keys, ...statistics, size });
  return { ...picture, data: stylized.data };
}

// M and S of each point: weighted sums of those of the parts.
async function attended(about, model, keys, parts, labels) {
  if (parts.length === 1 && parts[0].label === null) return run(about, model, "attend", { ...keys, ...parts[0].state.tensors });
  const [cells, sums] = [{}, {}];
  for (const [name, { dims }] of Object.entries(keys)) {
    if (labels) cells[levelOf(name)] = regionCells(labels, dims[3], dims[2]);
  }
  for (const { state: one, weight, label } of parts) {
    const own = (name) => (label === null ? null : cells[levelOf(name)].get(label));
    if (Object.keys(keys).some((name) => own(name) === undefined)) continue; // the picture has no such region
    const points = Object.entries(keys).map(([name, key]) => [name, own(name) ? pointsOf(key, own(name).length ? own(name) : [0]) : key]);
    const found = await run(about, model, "attend", { ...Object.fromEntries(points), ...one.tensors });
    for (const [name, part] of Object.entries(found)) {
      const [, , height, width] = keys[`content_key${levelOf(name)}`].dims;
      const dims = [1, part.dims[1], height * width];
      sums[name] ??= { data: new Float32Array(dims[1] * dims[2]), dims };
      addWeighted(sums[name], part, weight, own(name));
    }
  }
  return sums;
}

const TYPES = { jpg: "image/jpeg", png: "image/png" };

async function toBlob({ data, width, height }, format) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(toRgba(data), width, height), 0, 0);
  return canvas.convertToBlob({ type: TYPES[format], quality: 0.95 });
}

async function whatRuns() {
  const { gpu, threads } = await runtime;
  return { gpu, threads, gpuFailed };
}

// Each gives [result, what of it is handed over].
const TASKS = {
  async start({ about, model }) {
    await session(about, model, "encode");
    return [await whatRuns()];
  },

  async prepare({ about, how }) {
    const programs = ["encode", "attend", "decode", ...(how.strength < 1 ? ["state"] : [])];
    await Promise.all(programs.map((program) => session(about, how.model, program)));
    await partsOf(about, how);
    return [{}];
  },

  async paint({ about, content, how, size, colours, format }) {
    const picture = await readPicture(content, size, content.name);
    const begun = performance.now();
    const result = await painted(about, picture, how, `${how.model} ${size} ${keyOf(content)}`);
    const seconds = (performance.now() - begun) / 1000;
    const blob = await toBlob(colours ? keepColours(result, picture) : result, format);
    return [{ blob, seconds, long: picture.long, runs: await whatRuns() }];
  },

  // A frame of a camera or of a clip: RGBA in, RGBA out, reduced to a long side of `size`.
  async frame({ about, pixels, width, height, how, size, colours, name }) {
    let picture = { data: toRgb(new Uint8ClampedArray(pixels)), width, height };
    const long = Math.max(width, height);
    if (long > size) picture = resized(picture, size / long);
    checkSize(picture, name);
    let result = await painted(about, picture, how);
    if (colours) result = keepColours(result, picture);
    const { buffer } = toRgba(result.data);
    return [{ buffer, width: result.width, height: result.height }, [buffer]];
  },
};
