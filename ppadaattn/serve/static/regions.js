// Regions of a picture: which pixel belongs to which region, drawn with a brush, a flood fill or an outline.

// Colours of the mask: corners of the RGB cube, of which none lies between two others, so that no region is taken for the
// soft edge of another. The first is the rest of the picture. `shown` is the tint on the page.
export const COLOURS = [
  { mask: [255, 255, 255], shown: [0, 0, 0] },
  { mask: [255, 0, 0], shown: [214, 72, 52] },
  { mask: [0, 0, 255], shown: [54, 112, 198] },
  { mask: [0, 255, 0], shown: [70, 150, 84] },
  { mask: [255, 255, 0], shown: [226, 176, 50] },
  { mask: [255, 0, 255], shown: [160, 84, 176] },
  { mask: [0, 255, 255], shown: [62, 164, 170] },
];
const MOST_STEPS = 30; // of undo: one has a byte a pixel, at most a megabyte
const TINT = 130; // of 255: how much of a region's colour is laid over the picture

export const hex = (colour) => "#" + COLOURS[colour].mask.map((value) => value.toString(16).padStart(2, "0")).join("");

export class Regions {
  // canvas: shows the regions. Pixels are those of the picture at the size of the canvas.
  constructor(canvas) {
    this.canvas = canvas;
    this.resize(1, 1);
  }

  resize(width, height) {
    Object.assign(this.canvas, { width, height });
    this.width = width;
    this.height = height;
    this.labels = new Uint8Array(width * height);
    this.steps = [];
    this.show();
  }

  // The numbers of the regions that have a pixel, in order.
  used() {
    const found = new Set(this.labels);
    found.delete(0);
    return [...found].sort();
  }

  // Call before each change that `undo` takes back.
  remember() {
    this.steps.push(this.labels.slice());
    if (this.steps.length > MOST_STEPS) this.steps.shift();
  }

  // Whether there was something to take back.
  undo() {
    if (!this.steps.length) return false;
    this.labels = this.steps.pop();
    this.show();
    return true;
  }

  clear() {
    if (!this.used().length) return;
    this.remember();
    this.labels.fill(0);
    this.show();
  }

  // A stroke from one point to another with a round brush.
  stroke(from, to, radius, label) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 2)));
    for (let step = 0; step <= steps; step++) {
      const x = from.x + ((to.x - from.x) * step) / steps;
      const y = from.y + ((to.y - from.y) * step) / steps;
      for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(this.height - 1, y + radius); row++) {
        const half = Math.sqrt(Math.max(0, radius * radius - (row - y) * (row - y)));
        const left = Math.max(0, Math.round(x - half));
        const right = Math.min(this.width - 1, Math.round(x + half));
        if (left <= right) this.labels.fill(label, row * this.width + left, row * this.width + right + 1);
      }
    }
    this.show();
  }

  // The connected pixels of a colour like that of the point. pixels: RGBA of the picture; tolerance: 0 to 255 a channel.
  fill(point, pixels, tolerance, label) {
    const { width, height } = this;
    const start = Math.floor(point.y) * width + Math.floor(point.x);
    const near = (place) => {
      for (let channel = 0; channel < 3; channel++) {
        if (Math.abs(pixels[4 * place + channel] - pixels[4 * start + channel]) > tolerance) return false;
      }
      return true;
    };
    const seen = new Uint8Array(width * height);
    const left = [start];
    seen[start] = 1;
    while (left.length) {
      const place = left.pop();
      this.labels[place] = label;
      const column = place % width;
      const neighbours = [place - width, place + width];
      if (column > 0) neighbours.push(place - 1);
      if (column < width - 1) neighbours.push(place + 1);
      for (const next of neighbours) {
        if (next >= 0 && next < width * height && !seen[next] && near(next)) {
          seen[next] = 1;
          left.push(next);
        }
      }
    }
    this.show();
  }

  // The inside of a closed outline, by the even-odd rule.
  outline(points, label) {
    for (let row = 0; row < this.height; row++) {
      const crossings = [];
      points.forEach((from, index) => {
        const to = points[(index + 1) % points.length];
        const y = row + 0.5;
        if (from.y <= y !== to.y <= y) crossings.push(from.x + ((y - from.y) / (to.y - from.y)) * (to.x - from.x));
      });
      crossings.sort((a, b) => a - b);
      for (let index = 0; index + 1 < crossings.length; index += 2) {
        const left = Math.max(0, Math.round(crossings[index]));
        const right = Math.min(this.width, Math.round(crossings[index + 1]));
        if (left < right) this.labels.fill(label, row * this.width + left, row * this.width + right);
      }
    }
    this.show();
  }

  // Draw the tints, and an outline that is not closed yet.
  show(points = [], colour = 1) {
    const context = this.canvas.getContext("2d");
    context.putImageData(this.#image((label) => (label ? [...COLOURS[label].shown, TINT] : [0, 0, 0, 0])), 0, 0);
    if (points.length) {
      context.strokeStyle = `rgb(${COLOURS[colour].shown})`;
      context.lineWidth = Math.max(2, this.width / 300);
      context.beginPath();
      points.forEach((point) => context.lineTo(point.x, point.y));
      context.stroke();
    }
  }

  // The mask as a PNG, a Blob.
  mask() {
    const canvas = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    canvas.getContext("2d").putImageData(this.#image((label) => [...COLOURS[label].mask, 255]), 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  #image(colour) {
    const image = new ImageData(this.width, this.height);
    const words = new Uint32Array(image.data.buffer);
    const colours = new Uint32Array(new Uint8ClampedArray(COLOURS.flatMap((_, label) => colour(label))).buffer);
    this.labels.forEach((label, place) => (words[place] = colours[label]));
    return image;
  }
}
