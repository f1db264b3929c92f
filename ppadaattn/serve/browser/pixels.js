// Pictures as bytes: decoded, reduced and coloured as ppadaattn/media/images.py does.

const LOBES = 3; // of the Lanczos filter

// Decode a picture, upright and on white, and reduce its long side. Gives {data: RGB bytes, width, height, long}, where
// `long` is the long side of the file.
export async function decoded(blob, side) {
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const data = toRgb(context.getImageData(0, 0, width, height).data);
  const long = Math.max(width, height);
  return { ...(long > side ? resized({ data, width, height }, side / long) : { data, width, height }), long };
}

export function toRgb(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return rgb;
}

export function toRgba(rgb) {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; from < rgb.length; to += 4) {
    rgba[to] = rgb[from++];
    rgba[to + 1] = rgb[from++];
    rgba[to + 2] = rgb[from++];
  }
  return rgba;
}

// Resize by the Lanczos filter, first the rows, then the columns, with bytes between, as Pillow does.
export function resized({ data, width, height }, scale) {
  const [w, h] = [width, height].map((side) => Math.max(1, roundEven(side * scale)));
  const between = alongRows(data, width, height, weights(width, w));
  return { data: alongColumns(between, w, weights(height, h)), width: w, height: h };
}

// As Python's round: halves go to the even number.
function roundEven(number) {
  const down = Math.floor(number);
  return number - down === 0.5 ? down + (down % 2) : Math.round(number);
}

// For each of `after` points: {first, shares} of the `before` points that it is made of.
function weights(before, after) {
  const step = before / after;
  const wide = Math.max(1, step);
  const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const lanczos = (x) => (Math.abs(x) < LOBES ? sinc(x) * sinc(x / LOBES) : 0);
  return Array.from({ length: after }, (_, place) => {
    const centre = (place + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - LOBES * wide + 0.5));
    const last = Math.min(before, Math.floor(centre + LOBES * wide + 0.5));
    const raw = Float64Array.from({ length: last - first }, (_, index) => lanczos((first + index - centre + 0.5) / wide));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, shares: raw.map((share) => share / sum) };
  });
}

function alongRows(data, width, height, points) {
  const result = new Uint8ClampedArray(points.length * height * 3);
  let to = 0;
  for (let row = 0; row < height; row++) {
    for (const { first, shares } of points) {
      let from = (row * width + first) * 3;
      let [red, green, blue] = [0, 0, 0];
      for (const share of shares) {
        red += share * data[from++];
        green += share * data[from++];
        blue += share * data[from++];
      }
      result[to++] = red;
      result[to++] = green;
      result[to++] = blue;
    }
  }
  return result;
}

function alongColumns(data, width, points) {
  const line = width * 3;
  const result = new Uint8ClampedArray(points.length * line);
  const sums = new Float64Array(line);
  points.forEach(({ first, shares }, row) => {
    sums.fill(0);
    shares.forEach((share, index) => {
      const from = (first + index) * line;
      for (let place = 0; place < line; place++) sums[place] += share * data[from + place];
    });
    result.set(sums, row * line);
  });
  return new Uint8Array(result.buffer);
}

// Give a picture the colours of its content: Y of the one, Cb and Cr of the other (BT.601, full range). Pillow
// rounds down throughout.
export function keepColours(picture, content) {
  const data = new Uint8ClampedArray(picture.data.length);
  const [p, c] = [picture.data, content.data];
  const light = (x, at) => Math.floor(0.299 * x[at] + 0.587 * x[at + 1] + 0.114 * x[at + 2]);
  for (let at = 0; at < data.length; at += 3) {
    const y = light(p, at);
    const blue = Math.floor(-0.168736 * c[at] - 0.331264 * c[at + 1] + 0.5 * c[at + 2]);
    const red = Math.floor(0.5 * c[at] - 0.418688 * c[at + 1] - 0.081312 * c[at + 2]);
    data[at] = Math.floor(y + 1.402 * red);
    data[at + 1] = Math.floor(y - 0.344136 * blue - 0.714136 * red);
    data[at + 2] = Math.floor(y + 1.772 * blue);
  }
  return { ...picture, data };
}
