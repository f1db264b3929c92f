// Paint what a camera shows, as it shows it.

import { say } from "./words.js";

const SIDE = 256; // long side of the frames that are painted
const SMOOTH = 0.9; // share that the frames before have in the time of a frame that is shown
const $ = (id) => document.getElementById(id);

let stream = null;
let recorder = null;

// paintFrame(ImageData): a promise of the painted one. complain(sentence). save(blob, name). opened(): before it begins.
export function useCamera({ paintFrame, complain, save, opened, closed }) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  const canvas = $("camera-canvas");
  const source = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  async function open() {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
    } catch (error) {
      return complain(say(error.name === "NotAllowedError" ? "cameraRefused" : "noCamera"));
    }
    opened();
    $("camera-view").hidden = false;
    video.srcObject = stream;
    await video.play();
    const scale = SIDE / Math.max(video.videoWidth, video.videoHeight);
    canvas.width = source.canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = source.canvas.height = Math.round(video.videoHeight * scale);
    paintOn();
  }

  async function paintOn() {
    const own = stream;
    const { width, height } = canvas;
    let [took, before] = [0, performance.now()];
    document.body.dataset.camera = "on";
    while (stream === own) {
      source.drawImage(video, 0, 0, width, height);
      try {
        const painted = await paintFrame(source.getImageData(0, 0, width, height));
        if (stream !== own) return;
        canvas.getContext("2d").putImageData(painted, 0, 0);
      } catch (error) {
        if (stream !== own) return;
        close();
        return complain(error.message);
      }
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      took = took ? SMOOTH * took + (1 - SMOOTH) * (now - before) : now - before;
      before = now;
      canvas.dataset.frames = Number(canvas.dataset.frames || 0) + 1;
      $("rate").textContent = say("rate", { rate: (1000 / took).toFixed(1) });
    }
  }

  function close() {
    if (!stream) return;
    if (recorder) record();
    for (const track of stream.getTracks()) track.stop();
    stream = null;
    delete document.body.dataset.camera;
    $("camera-view").hidden = true;
    closed();
  }

  function record() {
    if (recorder) recorder.stop();
    else {
      const parts = [];
      recorder = new MediaRecorder(canvas.captureStream(), { mimeType: "video/webm" });
      recorder.ondataavailable = ({ data }) => parts.push(data);
      recorder.onstop = () => {
        recorder = null;
        save(new Blob(parts, { type: "video/webm" }), "camera.webm");
        showRecording();
      };
      recorder.start();
    }
    showRecording();
  }

  function showRecording() {
    const on = recorder?.state === "recording";
    $("record").dataset.word = on ? "stopRecording" : "record";
    $("record").textContent = say($("record").dataset.word);
    $("record").ariaPressed = String(on);
  }

  for (const button of document.querySelectorAll(".camera")) button.onclick = open;
  $("camera-off").onclick = close;
  $("record").onclick = record;
  $("snapshot").onclick = () => canvas.toBlob((blob) => save(blob, "camera.png"));
  return { close };
}
