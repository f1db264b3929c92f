// Paint with `ppadaattn serve`, through its jobs (see api.html).
//
// A backend exports `capabilities`, describe(), paint(), with "styleFiles" saveStyle() and with "camera" paintFrame(ImageData, request).
// A request is
//   {content: File, kind: "picture" | "clip", styles: [{name, file}], weights, mode, mask, colours, model, options, format};
// a style without `file` is a bundled one. An Error's message is a sentence for the page.

// What the page offers: an element whose data-needs is not among these is not shown. "anyFile": also contents that the
// browser itself cannot show.
export const capabilities = ["regions", "clips", "mixtures", "strength", "styleFiles", "programs", "anyFile"];

const PATIENCE = 1000; // milliseconds between two looks whether the service is back

class UnreachableError extends Error {}
const ids = new WeakMap(); // file -> promise of its id at the service

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new UnreachableError(path);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  const error = new Error(answer.error || answer.msg || `${response.status} ${response.statusText}`);
  error.status = response.status;
  error.again = Number(response.headers.get("Retry-After")) || 0;
  throw error;
}

// {models, styles: [{name, url}], contents, options, limits, formats, ...}: what can be painted here.
export async function describe() {
  return (await ask("options")).json();
}

function send(file, signal) {
  if (!ids.has(file)) {
    const sent = ask("files", { method: "POST", body: file, signal }).then((response) => response.json());
    ids.set(file, sent.then((answer) => answer.id));
    sent.catch(() => ids.delete(file));
  }
  return ids.get(file);
}

function forget(request) {
  for (const file of [request.content, request.mask, ...request.styles.map((style) => style.file)]) {
    if (file) ids.delete(file);
  }
}

// Paint a request. report({state, place, done, total, secondsLeft, preview}) is called as it goes; `preview` is a Blob.
// Gives {blob, name, note}. Survives a service that is stopped and started again.
export async function paint(request, { signal, report }) {
  let missed = 0;
  for (;;) {
    try {
      return await attempt(request, signal, report);
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof UnreachableError) {
        report({ state: "offline" });
        await untilBack(signal);
      } else if (error.status === 404 && missed++ < 2) {
        forget(request); // the service was started again, or the files have expired
      } else if (error.status === 503 && error.again) {
        report({ state: "busy" });
        await wait(error.again * 1000, signal);
      } else {
        throw error;
      }
    }
  }
}

// Prepare the styles of a request as a style file. Gives {blob, name}.
export function saveStyle(request, how) {
  return paint({ ...request, content: null, mask: null, colours: null, format: null }, how);
}

async function attempt(request, signal, report) {
  report({ state: "sending" });
  const sent = (file) => (file ? send(file, signal) : null);
  const [content, mask, ...styles] = await Promise.all([
    sent(request.content),
    sent(request.mask),
    ...request.styles.map((style) => sent(style.file) || style.name),
  ]);
  const { weights, mode, colours, model, options, format } = request;
  const description = { content, mask, styles, mode, colours, model, options, format };
  if (mode === "mix") description.weights = weights;
  const body = JSON.stringify(description);
  let job = await (await ask("jobs", { method: "POST", body, signal })).json();
  const stop = () => fetch(`jobs/${job.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
  signal.addEventListener("abort", stop);
  try {
    job = await follow(job, signal, report);
    if (job.state === "done") {
      const blob = await (await ask(job.result, { signal })).blob();
      return { blob, name: `painted.${extension(blob.type, request)}`, note: job.note };
    }
    if (job.status === 503) throw new UnreachableError(job.error); // it ends: its successor paints
    throw new Error(job.error || job.state);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function extension(type, request) {
  if (!request.content) return "style";
  return { "image/png": "png", "image/jpeg": "jpg", "video/webm": "webm", "image/gif": "gif" }[type] || "mp4";
}

async function follow(job, signal, report) {
  let shown = null;
  const response = await ask(`jobs/${job.id}/events`, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (signal.aborted) throw error;
      throw new UnreachableError("events");
    });
    if (done) break;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      job = JSON.parse(event.replace(/^event:.*\ndata: /, ""));
      const { state, place, total, seconds_left: secondsLeft } = job;
      report({ state, place, done: job.done, total, secondsLeft });
      if (job.preview && !shown && state === "painting") {
        shown = ask(job.preview, { signal }).then((answer) => answer.blob());
        shown.then((preview) => signal.aborted || report({ state, preview, place, done: job.done, total, secondsLeft }), () => {});
      }
    }
  }
  if (!["done", "failed", "cancelled"].includes(job.state)) throw new UnreachableError("events");
  return job;
}

async function untilBack(signal) {
  for (;;) {
    await wait(PATIENCE, signal);
    try {
      if ((await (await ask("health", { signal })).json()).results.ready) return;
    } catch (error) {
      if (signal.aborted) throw error;
    }
  }
}

function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
