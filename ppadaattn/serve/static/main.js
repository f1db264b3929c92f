// The page: chooses what is painted, shows what was painted. Who paints is behind ./backend.js.

import * as backend from "./backend.js";
import { commandLine } from "./command.js";
import { COLOURS, Regions, hex } from "./regions.js";
import { LANGUAGES, duration, nameOf, say, setLanguage } from "./words.js";

const $ = (id) => document.getElementById(id);
const KEPT = "ppadaattn"; // name of the settings in the browser's storage
const DRAWN_SIDE = 1024; // long side of the canvas of regions, in pixels: finer than any brush needs
const SETTLE = 250; // milliseconds after a change until it is painted
const can = (word) => backend.capabilities.includes(word);
const TOOLS = can("regions") ? { compare: "c", brush: "b", fill: "f", outline: "o", erase: "e" } : { compare: "c" };
const MODES = ["one", "mix", "concat"];
const THEMES = ["", "light", "dark"]; // "": as the system
const MIB = 2 ** 20;

const settings = {
  mode: "one", chosen: [], shares: {}, ofRegion: {}, strength: 1, stroke: 512, size: 1024, keep: false, live: true,
  model: "", pictureFormat: "", clipFormat: "", language: navigator.language.slice(0, 2), theme: "",
};
let service = null; // what describe() gave
let styles = []; // [{name, url, path, file}]
let content = null; // {file, kind, width, height}
let result = null; // {blob, name}
let target = 0; // the region whose style is chosen; 0: the whole picture, or the rest of it
let tool = "compare";
let controller = null; // of what is being painted
let settling = null;
let how = null; // {word, values}: what runs the network, where the backend says it
let camera = null; // what useCamera() gave
const regions = new Regions($("regions"));

// Settings ------------------------------------------------------------------------------------------------------------

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) || "{}");
    for (const name of Object.keys(settings)) {
      if (typeof kept[name] === typeof settings[name]) settings[name] = kept[name];
    }
  } catch {
    // damaged, or storage is off: the defaults hold
  }
}

function keep() {
  try {
    const own = (name) => styles.find((style) => style.name === name)?.file;
    localStorage.setItem(KEPT, JSON.stringify({ ...settings, chosen: settings.chosen.filter((name) => !own(name)) }));
  } catch {
    // storage is off or full
  }
}

function change(values, repaint = true) {
  Object.assign(settings, values);
  keep();
  showSettings();
  if (repaint) repaintSoon();
}

function repaintSoon() {
  clearTimeout(settling);
  if (settings.live && content?.kind === "picture" && !$("frame").hidden) settling = setTimeout(paint, SETTLE);
}

// What is painted -----------------------------------------------------------------------------------------------------

const styleNamed = (name) => styles.find((style) => style.name === name);

function chosenStyles() {
  const found = settings.chosen.map(styleNamed).filter(Boolean);
  return settings.mode === "one" ? found.slice(-1) : found;
}

// The shares of the chosen styles; their sum is 1.
function shares() {
  const raw = chosenStyles().map((style) => settings.shares[style.name] ?? 1);
  const sum = raw.reduce((a, b) => a + b, 0);
  return raw.map((share) => (sum > 0 ? share / sum : 1 / raw.length));
}

function options() {
  const { strength, stroke, size } = settings;
  return { strength, style_size: stroke, size, preserve_color: settings.keep };
}

const format = () => (content?.kind === "clip" ? settings.clipFormat : settings.pictureFormat) || null;

// What is painted now, without the mask's file; as server.js says. withRegions: false leaves out the regions.
function requestNow(withRegions = true) {
  const base = chosenStyles();
  const used = withRegions ? regions.used().filter((label) => styleNamed(settings.ofRegion[label])) : [];
  return {
    content: content?.file, kind: content?.kind, mode: settings.mode === "concat" ? "concat" : "mix",
    styles: [...base, ...used.map((label) => styleNamed(settings.ofRegion[label]))],
    weights: [...shares(), ...used.map(() => 1)],
    model: settings.model || null, options: options(), format: format(), mask: null,
    colours: used.length ? [...base.map(() => hex(0)), ...used.map(hex)] : null,
  };
}

async function currentRequest() {
  const request = requestNow();
  return request.colours ? { ...request, mask: await regions.mask() } : request;
}

async function paint() {
  clearTimeout(settling);
  if (!content) return;
  if (!chosenStyles().length) return complain(say("chooseStyle"));
  controller?.abort();
  const own = (controller = new AbortController());
  const begun = performance.now();
  await work(own, "painting", async (watch) => {
    const painted = await backend.paint(await currentRequest(), watch);
    if (own.signal.aborted) return;
    result = painted;
    await showAfter(painted.blob);
    if (painted.note) complain(painted.note);
    if (painted.how) {
      how = painted.how;
      showHow();
    }
    status(say("finished", { time: duration((performance.now() - begun) / 1000) }));
  });
}

async function saveStyle() {
  if (!chosenStyles().length) return complain(say("chooseStyle"));
  controller?.abort();
  controller = new AbortController();
  await work(controller, "preparingStyle", async (how) => {
    const request = requestNow(false);
    const saved = await backend.saveStyle(request, how);
    const name = `${request.styles.map((style) => style.name.replace(/\.\w+$/, "")).join("+")}.style`;
    save(saved.blob, name);
    status("");
  });
}

// Let the visitor keep a file.
function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Do work that can be cancelled, and say how it goes.
async function work(own, word, task) {
  document.body.dataset.state = "painting";
  hideMessage();
  $("cancel").hidden = false;
  $("progress").removeAttribute("value");
  status(say(word));
  const report = (how) => {
    if (own === controller && !own.signal.aborted) showProgress(how, word);
  };
  try {
    await task({ signal: own.signal, report });
    if (own === controller) end("ready");
  } catch (error) {
    if (own !== controller) return; // another one took its place
    if (own.signal.aborted) status(say("cancelled"));
    else {
      status("");
      complain(error.message);
    }
    end(own.signal.aborted ? "cancelled" : "failed");
  }
}

function end(state) {
  controller = null;
  document.body.dataset.state = state;
  $("cancel").hidden = true;
  $("progress").value = 0;
  showSettings();
}

function showProgress(how, word) {
  const bar = $("progress");
  const parts = [];
  if (how.state === "waiting") parts.push(how.place ? say("waiting", { place: how.place }) : say("waitingNext"));
  else if (how.state === "painting") {
    parts.push(how.total ? say("frames", how) : say(word));
    if (how.total) bar.value = how.done / how.total;
  } else if (["sending", "loading", "busy", "offline"].includes(how.state)) parts.push(say(how.state));
  if (how.state === "offline") bar.removeAttribute("value");
  if (how.secondsLeft >= 1) parts.push(say("left", { time: duration(how.secondsLeft) }));
  document.body.dataset.work = how.state;
  if (parts.length && how.state !== "done") status(parts.join(" · "));
  if (how.preview) showPreview(how.preview);
}

// The picture ---------------------------------------------------------------------------------------------------------

async function open(file) {
  const name = file.name;
  if (/\.style$/i.test(name)) return addStyle(file);
  const clip = file.type.startsWith("video/") || /\.(mkv|avi|mov|mts|m2ts|wmv|flv)$/i.test(name);
  if (!clip && file.type && !file.type.startsWith("image/")) return complain(say("noPicture", { name }));
  if (clip && !can("clips")) return complain(say("noClips", { name }));
  const most = clip ? service.limits.max_upload : service.limits.max_body;
  if (file.size > most * MIB) {
    return complain(say("tooLarge", { name, size: Math.ceil(file.size / MIB), most }));
  }
  const kind = clip ? "clip" : "picture";
  const url = URL.createObjectURL(file);
  const size = await (clip ? clipSize : pictureSize)(url).catch(() => null);
  if (!size && !can("anyFile")) {
    URL.revokeObjectURL(url);
    return complain(say(clip ? "clipNotReadable" : "notReadable", { name }));
  }
  if (size && size.width * size.height > service.limits.max_pixels) {
    const [megapixels, limit] = [size.width * size.height, service.limits.max_pixels].map((n) => Math.round(n / 1e6));
    URL.revokeObjectURL(url);
    return complain(say("tooManyPixels", { name, megapixels, most: limit }));
  }
  controller?.abort();
  camera?.close();
  hideMessage();
  if (!size) complain(say("notShown", { name }));
  URL.revokeObjectURL(content?.url);
  content = { file, kind, url, known: Boolean(size), ...(size || { width: 3, height: 2 }) };
  result = null;
  showContent();
  repaintSoon();
}

function pictureSize(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve({ width: image.naturalWidth, height: image.naturalHeight });
    image.onerror = reject;
    image.src = url;
  });
}

function clipSize(url) {
  return new Promise((resolve, reject) => {
    const video = document.createElement("video");
    video.muted = true;
    video.onloadedmetadata = () => (video.videoWidth ? resolve({ width: video.videoWidth, height: video.videoHeight }) : reject());
    video.onerror = reject;
    video.src = url;
  });
}

function showContent() {
  const { kind, url, width, height } = content;
  const clip = kind === "clip";
  $("empty").hidden = true;
  $("frame").hidden = $("tools").hidden = false;
  $("frame").style.setProperty("--ratio", width / height);
  $("before-picture").hidden = clip || !content.known;
  $("before-clip").hidden = !clip || !content.known;
  $("after-picture").hidden = $("after-clip").hidden = true;
  $(clip ? "before-clip" : "before-picture").src = url;
  $("play").hidden = !clip;
  const scale = Math.min(1, DRAWN_SIDE / Math.max(width, height));
  regions.resize(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  target = 0;
  delete $("frame").dataset.painted;
  document.body.dataset.state = "opened";
  status("");
  chooseTool("compare");
  showTiles();
  showSettings();
}

function showPreview(blob) {
  $("frame").dataset.painted = "small";
  setPicture($("after-picture"), blob);
  $("after-picture").hidden = false;
  $("after-clip").hidden = true;
}

function setPicture(element, blob) {
  const before = element.src;
  element.src = URL.createObjectURL(blob);
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

async function showAfter(blob) {
  const clip = blob.type.startsWith("video/");
  const element = $(clip ? "after-clip" : "after-picture");
  setPicture(element, blob);
  if (!clip) await element.decode().catch(() => {});
  $("after-picture").hidden = clip;
  $("after-clip").hidden = !clip;
  $("frame").dataset.painted = "whole";
  $("download").href = element.src;
  if (!content.known && !clip) $("frame").style.setProperty("--ratio", element.naturalWidth / element.naturalHeight);
  if (clip) togglePlay(true);
}

function togglePlay(on = $("before-clip").paused) {
  const clips = [$("before-clip"), $("after-clip")].filter((clip) => !clip.hidden && clip.src);
  for (const clip of clips) {
    if (on) {
      clip.currentTime = 0;
      clip.play().catch(() => {});
    } else clip.pause();
  }
  $("play").dataset.word = on ? "pause" : "play";
  $("play").textContent = say($("play").dataset.word);
}

// Drawing -------------------------------------------------------------------------------------------------------------

let drawing = null; // {last, points, moved}
let crosshair = { x: 0, y: 0 };
let corners = []; // of an outline that is clicked

function chooseTool(name) {
  tool = name;
  corners = [];
  $("frame").dataset.tool = name;
  $("regions").hidden = name === "compare";
  $("crosshair").hidden = true;
  if (name !== "compare" && name !== "erase" && target === 0) chooseTarget(1);
  $("width-label").hidden = name !== "brush" && name !== "erase";
  $("tolerance-label").hidden = name !== "fill";
  regions.show();
  showSettings();
}

function chooseTarget(label) {
  target = label;
  if (label && !styleNamed(settings.ofRegion[label])) {
    // A region needs a style at once: one that is not painted elsewhere, as far as there is one.
    const taken = new Set([...chosenStyles().map((style) => style.name), ...Object.values(settings.ofRegion)]);
    const free = styles.find((style) => !taken.has(style.name)) || styles[label % styles.length];
    settings.ofRegion = { ...settings.ofRegion, [label]: free?.name };
  }
  change({}, false);
}

function place(event) {
  const box = $("regions").getBoundingClientRect();
  const clamp = (share) => Math.min(0.99999, Math.max(0, share));
  return {
    x: clamp((event.clientX - box.left) / box.width) * regions.width,
    y: clamp((event.clientY - box.top) / box.height) * regions.height,
  };
}

const radius = () => (Number($("width").value) / 200) * Math.min(regions.width, regions.height);
const label = () => (tool === "erase" ? 0 : target);

function beginDrawing(point) {
  if (tool === "brush" || tool === "erase") {
    regions.remember();
    regions.stroke(point, point, radius(), label());
  } else if (tool === "fill") {
    regions.remember();
    regions.fill(point, contentPixels(), Number($("tolerance").value), label());
  }
  drawing = { last: point, points: [point], moved: false };
}

function goOnDrawing(point) {
  if (!drawing) return;
  if (tool === "brush" || tool === "erase") regions.stroke(drawing.last, point, radius(), label());
  drawing.moved ||= Math.hypot(point.x - drawing.points[0].x, point.y - drawing.points[0].y) > regions.width / 100;
  drawing.points.push(point);
  drawing.last = point;
  if (tool === "outline" && drawing.moved) regions.show([...corners, ...drawing.points], target);
}

function endDrawing() {
  if (!drawing) return;
  const { points, moved } = drawing;
  drawing = null;
  if (tool === "outline") {
    if (moved) {
      corners.push(...points);
      return closeOutline();
    }
    return addCorner(points[0]);
  }
  drawn();
}

function addCorner(point) {
  const [first] = corners;
  const near = first && Math.hypot(point.x - first.x, point.y - first.y) < regions.width / 50;
  if (near && corners.length > 2) return closeOutline();
  corners.push(point);
  regions.show([...corners, point], target);
}

function closeOutline() {
  if (corners.length > 2) {
    regions.remember();
    regions.outline(corners, target);
  }
  corners = [];
  regions.show();
  drawn();
}

function drawn() {
  showSettings();
  repaintSoon();
}

function contentPixels() {
  const canvas = Object.assign(document.createElement("canvas"), { width: regions.width, height: regions.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage($(content.kind === "clip" ? "before-clip" : "before-picture"), 0, 0, regions.width, regions.height);
  return context.getImageData(0, 0, regions.width, regions.height).data;
}

function keyOnCanvas(event) {
  const step = (event.shiftKey ? 0.05 : 0.01) * Math.max(regions.width, regions.height);
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key in moves) {
    const [x, y] = moves[event.key];
    const before = crosshair;
    crosshair = {
      x: Math.min(regions.width - 1, Math.max(0, crosshair.x + x)),
      y: Math.min(regions.height - 1, Math.max(0, crosshair.y + y)),
    };
    if (drawing) goOnDrawing(crosshair);
    else if (before === crosshair) return;
    showCrosshair();
  } else if (event.key === " ") {
    if (tool === "outline") addCorner(crosshair);
    else if (drawing) endDrawing();
    else {
      beginDrawing(crosshair);
      if (tool === "fill") endDrawing();
    }
  } else if (event.key === "Enter" && tool === "outline") closeOutline();
  else return;
  event.preventDefault();
}

function showCrosshair() {
  $("crosshair").hidden = false;
  $("crosshair").style.left = `${(100 * crosshair.x) / regions.width}%`;
  $("crosshair").style.top = `${(100 * crosshair.y) / regions.height}%`;
}

function undo() {
  corners = [];
  if (regions.undo()) drawn();
}

// Styles --------------------------------------------------------------------------------------------------------------

function addStyle(file) {
  if (/\.style$/i.test(file.name) && !service.limits.style_files) {
    return complain(say("noStyleFiles", { name: file.name }));
  }
  let name = file.name;
  for (let number = 2; styleNamed(name); number++) name = `${number} ${file.name}`;
  styles.push({ name, url: /\.style$/i.test(name) ? null : URL.createObjectURL(file), file });
  showTiles();
  chooseStyle(name);
}

function removeStyle(style) {
  styles = styles.filter((other) => other !== style);
  URL.revokeObjectURL(style.url);
  showTiles();
  change({ chosen: settings.chosen.filter((name) => name !== style.name) });
}

function chooseStyle(name) {
  if (target) return change({ ofRegion: { ...settings.ofRegion, [target]: name } });
  if (settings.mode === "one") return change({ chosen: [name] });
  const chosen = settings.chosen.filter((other) => other !== name);
  change({ chosen: chosen.length < settings.chosen.length ? chosen : [...chosen, name] });
}

function showTiles() {
  const add = button("", () => $("style-file").click(), { className: "tile add", id: "add-style" });
  add.append(Object.assign(document.createElement("span"), { textContent: "+", className: "plus", ariaHidden: true }));
  add.append(Object.assign(document.createElement("span"), { textContent: say("own") }));
  const tiles = styles.map((style) => {
    const tile = button("", () => chooseStyle(style.name), { className: "tile" });
    tile.dataset.style = style.name;
    if (style.url) {
      tile.append(Object.assign(document.createElement("img"), { src: style.url, alt: "", draggable: false }));
    }
    tile.append(Object.assign(document.createElement("span"), { textContent: nameOf(style.name) }));
    tile.title = nameOf(style.name);
    if (!style.file) return tile;
    const holder = Object.assign(document.createElement("div"), { className: "holder" });
    const remove = button("✕", () => removeStyle(style), { className: "remove", title: say("remove", { name: style.name }) });
    remove.ariaLabel = remove.title;
    holder.append(tile, remove);
    return holder;
  });
  $("tiles").replaceChildren(...tiles, add);
}

function button(text, action, more = {}) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, ...more });
  made.addEventListener("click", action);
  return made;
}

// Everything that shows a setting -------------------------------------------------------------------------------------

function showSettings() {
  const base = chosenStyles();
  document.documentElement.dataset.theme = settings.theme;
  for (const one of $("mode").children) one.ariaPressed = String(one.dataset.mode === settings.mode);
  for (const one of $("tool").children) one.ariaPressed = String(one.dataset.tool === tool);
  const chosen = target ? [styleNamed(settings.ofRegion[target])] : base;
  for (const tile of document.querySelectorAll(".tile[data-style]")) {
    tile.ariaPressed = String(chosen.some((style) => style?.name === tile.dataset.style));
  }
  showTargets();
  showShares(base);
  for (const name of ["strength", "stroke", "size"]) {
    $(name).value = settings[name];
    $(name).parentElement.querySelector("output").textContent =
      name === "strength" ? `${Math.round(settings.strength * 100)} %` : `${settings[name]} px`;
  }
  $("keep").checked = settings.keep;
  $("live").checked = settings.live;
  $("model").value = settings.model;
  showFormats();
  $("paint").disabled = !content;
  $("undo").disabled = !regions.steps.length;
  $("undo").hidden = $("clear").hidden = tool === "compare";
  $("clear").disabled = !regions.used().length;
  $("hint").textContent = content && !$("frame").hidden ? say(`hint${tool[0].toUpperCase()}${tool.slice(1)}`) : "";
  if (content?.kind === "clip" && tool !== "compare") $("hint").textContent += ` ${say("hintClip")}`;
  $("download").hidden = !result;
  if (result) $("download").download = resultName();
  $("save-style").disabled = !base.length;
  showCommand();
}

function resultName() {
  const stem = content.file.name.replace(/\.\w+$/, "");
  return `${stem}_${chosenStyles().map((style) => style.name.replace(/\.\w+$/, "")).join("+")}.${result.name.split(".").pop()}`;
}

function showTargets() {
  const used = regions.used();
  const visible = tool !== "compare" || used.length > 0;
  $("targets").hidden = !visible;
  if (!visible) return;
  const chips = COLOURS.map((colour, number) => {
    const style = number ? styleNamed(settings.ofRegion[number]) : chosenStyles().at(-1);
    const chip = button("", () => chooseTarget(number), { className: "chip" });
    chip.dataset.target = number;
    const dot = Object.assign(document.createElement("i"), { className: number ? "dot" : "dot rest" });
    if (number) dot.style.background = `rgb(${colour.shown})`;
    chip.append(dot);
    if (style?.url && (!number || used.includes(number) || number === target)) {
      chip.append(Object.assign(document.createElement("img"), { src: style.url, alt: "" }));
    }
    chip.title = chip.ariaLabel = number ? say("region", { number }) : say("rest");
    if (!number) chip.append(say("rest"));
    chip.ariaPressed = String(number === target);
    return chip;
  });
  const focused = document.activeElement?.dataset?.target;
  $("targets").replaceChildren(...chips);
  if (focused !== undefined) $("targets").querySelector(`[data-target="${focused}"]`)?.focus();
}

function showShares(base) {
  $("weights").hidden = settings.mode !== "mix" || base.length < 2 || target > 0;
  if ($("weights").hidden) return;
  const own = shares();
  if (String([...$("weights").children].map((row) => row.dataset.style)) !== String(base.map((style) => style.name))) {
    $("weights").replaceChildren(...base.map((style) => {
      const row = Object.assign(document.createElement("label"), { className: "slider" });
      row.dataset.style = style.name;
      const range = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: 0.01 });
      range.addEventListener("input", () => changeShare(style.name, Number(range.value)));
      row.append(Object.assign(document.createElement("span"), { textContent: nameOf(style.name) }), range, document.createElement("output"));
      return row;
    }));
  }
  [...$("weights").children].forEach((row, index) => {
    if (document.activeElement !== row.querySelector("input")) row.querySelector("input").value = own[index];
    row.querySelector("output").textContent = own[index].toFixed(2);
  });
}

// Give one style a share; the others keep their proportions, and the sum is 1.
function changeShare(name, share) {
  const names = chosenStyles().map((style) => style.name);
  const before = shares();
  const rest = before.reduce((sum, one, index) => sum + (names[index] === name ? 0 : one), 0);
  const scaled = (one) => (rest > 0 ? (one * (1 - share)) / rest : (1 - share) / (names.length - 1));
  const found = names.map((other, index) => [other, other === name ? share : scaled(before[index])]);
  change({ shares: { ...settings.shares, ...Object.fromEntries(found) } });
}

function showFormats() {
  const kind = content?.kind || "picture";
  const known = service?.formats[kind] || [];
  if ($("format").dataset.known !== String(known)) {
    $("format").dataset.known = known;
    $("format").replaceChildren(...known.map((name) => new Option(name.toUpperCase(), name)));
  }
  $("format").value = settings[`${kind}Format`] || known[0] || "";
}

function showCommand() {
  $("command").hidden = !content || !chosenStyles().length;
  if ($("command").hidden) return;
  const request = requestNow();
  $("command").querySelector("code").textContent = commandLine(request, content.file.name, service.options);
  $("download-mask").hidden = !request.colours;
}

function status(text) {
  $("status").textContent = text;
}

function complain(text) {
  $("message").querySelector("span").textContent = text;
  $("message").hidden = false;
}

function hideMessage() {
  $("message").hidden = true;
}

// Beginning -----------------------------------------------------------------------------------------------------------

function listen() {
  $("choose").onclick = $("another").onclick = () => $("content-file").click();
  $("content-file").onchange = (event) => openFirst(event.target.files, event.target);
  $("style-file").onchange = (event) => {
    for (const file of event.target.files) addStyle(file);
    event.target.value = "";
  };
  $("paint").onclick = paint;
  $("cancel").onclick = () => controller?.abort();
  $("save-style").onclick = saveStyle;
  $("play").onclick = () => togglePlay();
  $("undo").onclick = undo;
  $("clear").onclick = () => {
    regions.clear();
    drawn();
  };
  $("message").querySelector("button").onclick = hideMessage;
  for (const name of ["strength", "stroke", "size"]) {
    $(name).oninput = () => change({ [name]: Number($(name).value) });
  }
  for (const name of ["keep", "live"]) $(name).onchange = () => change({ [name]: $(name).checked });
  $("model").onchange = () => change({ model: $("model").value });
  $("format").onchange = () => change({ [`${content?.kind || "picture"}Format`]: $("format").value });
  $("copy").onclick = () => {
    navigator.clipboard?.writeText($("command").querySelector("code").textContent);
    $("copy").textContent = say("copied");
    setTimeout(() => ($("copy").textContent = say("copy")), 1500);
  };
  $("download-mask").onclick = async () => save(await regions.mask(), "mask.png");
  $("language").onclick = () => {
    change({ language: settings.language === "zh" ? "en" : "zh" }, false);
    translate();
    if (!controller) status("");
  };
  $("theme").onclick = () => change({ theme: THEMES[(THEMES.indexOf(settings.theme) + 1) % THEMES.length] }, false);
  listenToFrame();
  document.addEventListener("paste", (event) => event.clipboardData.files.length && openFirst(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("dropping").hidden = false;
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || ($("dropping").hidden = true));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("dropping").hidden = true;
    const onStyles = event.target.closest?.("#tiles");
    if (!event.dataTransfer.files.length) return;
    if (onStyles) for (const file of event.dataTransfer.files) addStyle(file);
    else openFirst(event.dataTransfer.files);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("select")) return; // letters choose there
    if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
    else if (event.key === "Escape") controller?.abort();
    else if (!event.ctrlKey && !event.metaKey && !event.altKey && content) {
      const found = Object.keys(TOOLS).find((name) => TOOLS[name] === event.key);
      if (found) chooseTool(found);
    }
  });
}

function openFirst(files, input) {
  if (files.length) open(files[0]);
  if (input) input.value = "";
}

function listenToFrame() {
  const frame = $("frame");
  const split = (event) => {
    const box = frame.getBoundingClientRect();
    $("split").value = (100 * (event.clientX - box.left)) / box.width;
    showSplit();
  };
  let dragging = false;
  frame.addEventListener("pointerdown", (event) => {
    if (!content || event.button) return;
    frame.setPointerCapture(event.pointerId);
    if (tool === "compare") {
      dragging = true;
      split(event);
    } else beginDrawing(place(event));
    if (tool !== "compare") $("regions").focus({ preventScroll: true });
    $("crosshair").hidden = true;
    event.preventDefault();
  });
  frame.addEventListener("pointermove", (event) => {
    if (dragging) split(event);
    else if (drawing) for (const one of event.getCoalescedEvents?.() || [event]) goOnDrawing(place(one));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    frame.addEventListener(name, () => {
      dragging = false;
      endDrawing();
    });
  }
  $("split").oninput = showSplit;
  $("regions").addEventListener("keydown", keyOnCanvas);
  $("regions").addEventListener("focus", () => {
    if (!$("regions").matches(":focus-visible")) return;
    if (!crosshair.x) crosshair = { x: regions.width / 2, y: regions.height / 2 };
    showCrosshair();
  });
  $("regions").addEventListener("blur", () => ($("crosshair").hidden = true));
}

function showSplit() {
  $("frame").style.setProperty("--split", `${$("split").value}%`);
}

function translate() {
  setLanguage(settings.language);
  $("language").textContent = settings.language === "zh" ? "English" : "中文";
  $("language").lang = settings.language === "zh" ? "en" : "zh";
  $("mode").replaceChildren(...MODES.map((mode) => {
    const made = button(say(mode), () => change({ mode }));
    made.dataset.mode = mode;
    return made;
  }));
  $("tool").replaceChildren(...Object.keys(TOOLS).map((name) => {
    const made = button(say(name), () => chooseTool(name), { title: `${say(name)} (${TOOLS[name].toUpperCase()})` });
    made.dataset.tool = name;
    return made;
  }));
  if (service) {
    const models = service.models.map(({ name }) => new Option(name, name));
    $("model").replaceChildren(...(canChooseModel() ? [new Option(say("automatic"), "")] : []), ...models);
    showTiles();
    showExamples();
  }
  showHow();
  showSettings();
}

// Whether the model is another one for clips, so that it can be left to the backend.
const canChooseModel = () => service.default_models.picture !== service.default_models.clip;

function showHow() {
  $("how").textContent = how ? say(how.word, how.values) : "";
}

async function beginCamera() {
  const { useCamera } = await import("./camera.js");
  const opened = () => {
    controller?.abort();
    hideMessage();
    $("empty").hidden = $("frame").hidden = $("tools").hidden = $("work").hidden = true;
    $("hint").textContent = "";
  };
  const closed = () => {
    $("work").hidden = false;
    $("empty").hidden = Boolean(content);
    $("frame").hidden = $("tools").hidden = !content;
    showSettings();
    repaintSoon();
  };
  const paintFrame = (frame) => backend.paintFrame(frame, requestNow(false));
  camera = useCamera({ paintFrame, complain, save, opened, closed });
}

function showExamples() {
  $("examples").replaceChildren(...service.contents.map(({ name, url }) => {
    const made = button("", async () => open(new File([await (await fetch(url)).blob()], `${name}.jpg`, { type: "image/jpeg" })));
    made.dataset.content = name;
    made.title = made.ariaLabel = nameOf(name);
    made.append(Object.assign(document.createElement("img"), { src: url, alt: "" }));
    return made;
  }));
}

async function begin() {
  restore();
  if (!LANGUAGES.includes(settings.language)) settings.language = "en";
  for (const element of document.querySelectorAll("[data-needs]")) {
    element.classList.toggle("absent", !can(element.dataset.needs));
  }
  translate();
  listen();
  for (;;) {
    try {
      service = await backend.describe();
      break;
    } catch {
      complain(say("offline"));
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  hideMessage();
  styles = service.styles.map((style) => ({ ...style, path: `examples/style/${style.name}.jpg` }));
  for (const [id, name] of [["size", "size"], ["stroke", "style_size"]]) {
    $(id).max = service.limits.size;
    $(id).min = Math.min(Number($(id).min), service.limits.size);
    settings[id] = Math.min(settings[id], service.limits.size) || service.options.find((one) => one.name === name).default;
  }
  if (!service.models.some(({ name }) => name === settings.model)) {
    settings.model = canChooseModel() ? "" : service.models[0].name;
  }
  if (!can("mixtures")) settings.mode = "one";
  if (!can("strength")) settings.strength = 1;
  if (!chosenStyles().length && styles.length) settings.chosen = [styles[0].name];
  translate();
  service.how?.then((found) => {
    how = found;
    showHow();
  }, (error) => complain(error.message));
  if (can("camera")) await beginCamera();
  document.body.dataset.state = "ready";
}

begin();
