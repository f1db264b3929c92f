// Runs the network, in a thread of its own: pictures in, pictures out.

import { decoded, keepColours, toRgb, toRgba } from "./pixels.js";

const SMALLEST = 17; // pixels of a side that the programs take
const STATES = 8; // prepared styles that are remembered: those of the image model take 20 MB
const PREPARED_SIDE = 512; // long side of the style pictures whose states come with the page

class SentenceError extends Error {
  constructor(word, values = {}) {
    super(word);
    Object.assign(this, { word, values });
  }
}

let runtime = null; // promise of {ort, gpu, threads}
const sessions = new Map(); // address -> promise of a session
const states = new Map(); // key -> promise of {name: tensor}
let queue = Promise.resolve(); // one task after the other

onmessage = ({ data: { id, task, values } }) => {
  queue = queue.then(async () => {
    try {
      const [result, transfer] = await TASKS[task](values);
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

async function start({ runtime: folder, webgpu }) {
  const adapter = webgpu && (await navigator.gpu?.requestAdapter().catch(() => null));
  const gpu = Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  const name = `ort.${gpu ? "webgpu" : "wasm"}.bundle.min.mjs`;
  const ort = await import(new URL(folder + name, location.href)).catch(() => {
    throw new SentenceError("noRuntime");
  });
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
    return ort.InferenceSession.create(bytes, { executionProviders: gpu ? ["webgpu", "wasm"] : ["wasm"] });
  });
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

function state(about, model, style, stroke) {
  const key = `${model} ${stroke} ${style.file ? `${style.file.name} ${style.file.size} ${style.file.lastModified}` : style.name}`;
  return remembered(states, key, () => makeState(about, model, style, stroke), STATES);
}

async function makeState(about, model, style, stroke) {
  const { ort } = await begin(about);
  if (about.states[model] && !style.file && stroke === PREPARED_SIDE) {
    const numbers = new Uint16Array(await (await get(`models/${model}/${style.name}.bin`)).arrayBuffer());
    let place = 0;
    return Object.fromEntries(about.states[model].map(([name, dims]) => {
      const part = numbers.subarray(place, (place += dims.reduce((a, b) => a * b)));
      return [name, new ort.Tensor("float32", Float32Array.from(part, wholeNumber), dims)];
    }));
  }
  const picture = await readPicture(style.file || (await (await get(style.url)).blob()), stroke, style.name);
  const program = await session(about, model, "style");
  return program.run({ style: tensor(ort, picture) });
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
  if (Math.min(picture.width, picture.height) < SMALLEST) throw new SentenceError("tooSmall", { name, least: SMALLEST });
  return picture;
}

const tensor = (ort, { data, width, height }) => new ort.Tensor("uint8", data, [height, width, 3]);

// Paint {data: RGB bytes, width, height}.
async function painted(about, picture, model, style, stroke) {
  const { ort } = await begin(about);
  const program = await session(about, model, "content");
  const feeds = { content: tensor(ort, picture), ...(await state(about, model, style, stroke)) };
  const { stylized } = await program.run(feeds);
  return { ...picture, data: await stylized.getData() };
}

const TYPES = { jpg: "image/jpeg", png: "image/png" };

// Each gives [result, what of it is handed over].
const TASKS = {
  async start({ about, model }) {
    await session(about, model, "content");
    const { gpu, threads } = await runtime;
    return [{ gpu, threads }];
  },

  async prepare({ about, model, style, stroke }) {
    await Promise.all([session(about, model, "content"), state(about, model, style, stroke)]);
    return [{}];
  },

  async paint({ about, content, model, style, stroke, size, colours, format }) {
    const picture = await readPicture(content, size, content.name);
    const begun = performance.now();
    let result = await painted(about, picture, model, style, stroke);
    const seconds = (performance.now() - begun) / 1000;
    if (colours) result = keepColours(result, picture);
    const canvas = new OffscreenCanvas(result.width, result.height);
    canvas.getContext("2d").putImageData(new ImageData(toRgba(result.data), result.width, result.height), 0, 0);
    const blob = await canvas.convertToBlob({ type: TYPES[format], quality: 0.95 });
    return [{ blob, seconds, long: picture.long }];
  },

  async frame({ about, pixels, width, height, model, style }) {
    const picture = { data: toRgb(new Uint8ClampedArray(pixels)), width, height };
    const { data } = await painted(about, picture, model, style, PREPARED_SIDE);
    const { buffer } = toRgba(data);
    return [buffer, [buffer]];
  },
};
