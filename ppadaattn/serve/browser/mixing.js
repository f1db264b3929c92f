// Mix styles: states side by side, regions of feature maps, weighted sums of M and S. Numbers alone, no pictures.
//
// A state is {count: {level: points}, tensors: {name: {data, dims}}}; names end with the level, a digit.

export const levelOf = (name) => name.at(-1);

// Two states as if their styles were side by side in one picture; as `StyleState.__add__` in ppadaattn/model/attention.py.
export function joined(a, b) {
  const [count, tensors] = [{}, {}];
  for (const level of Object.keys(a.count)) {
    const [many, more] = [a.count[level], b.count[level]];
    const centre = (channel, at = (state) => state.tensors[`centre${level}`].data[channel]) =>
      (at(a) * many + at(b) * more) / (many + more);
    const channels = a.tensors[`centre${level}`].dims[1];
    const centres = Float32Array.from({ length: channels }, (_, channel) => centre(channel));
    const shifts = [a, b].map((state) => state.tensors[`centre${level}`].data.map((own, channel) => own - centres[channel]));
    const put = (name, data, dims) => (tensors[`${name}${level}`] = { data, dims });
    count[level] = many + more;
    put("centre", centres, [1, channels, 1]);
    for (const name of ["products", "sums"]) {
      if (!a.tensors[`${name}${level}`]) continue;
      const parts = [a, b].map((state, index) => recentred(state.tensors[`${name}${level}`], shifts[index]));
      put(name, parts[0].map((number, at) => number + parts[1][at]), a.tensors[`${name}${level}`].dims);
    }
    if (a.tensors[`key${level}`]) {
      put("key", ...beside(a.tensors[`key${level}`], b.tensors[`key${level}`]));
      put("value", ...beside(...[a, b].map((state, index) => shifted(state.tensors[`value${level}`], shifts[index]))));
    }
  }
  return { count, tensors };
}

// Sums over [v'; v'^2; 1], rows of a cosine state, as they are when every v' grows by `shift`.
function recentred({ data, dims: [, rows, columns] }, shift) {
  const [found, channels, one] = [Float32Array.from(data), shift.length, (rows - 1) * columns];
  for (let channel = 0; channel < channels; channel++) {
    for (let column = 0; column < columns; column++) {
      const [first, second, by] = [channel * columns + column, (channels + channel) * columns + column, shift[channel]];
      found[first] += by * data[one + column];
      found[second] += 2 * by * data[first] + by * by * data[one + column];
    }
  }
  return found;
}

function shifted({ data, dims }, shift) {
  return { data: data.map((number, at) => number + shift[Math.floor(at / dims[2])]), dims };
}

function beside(a, b) {
  const [, channels, many] = a.dims;
  const more = b.dims[2];
  const data = new Float32Array(channels * (many + more));
  for (let channel = 0; channel < channels; channel++) {
    data.set(a.data.subarray(channel * many, (channel + 1) * many), channel * (many + more));
    data.set(b.data.subarray(channel * more, (channel + 1) * more), channel * (many + more) + many);
  }
  return [data, [1, channels, many + more]];
}

// Labels {data, width, height} at another size: each cell takes the label at its centre.
export function resizedLabels({ data, width, height }, w, h) {
  const found = new Uint8Array(w * h);
  const columns = Uint32Array.from({ length: w }, (_, column) => Math.floor(((2 * column + 1) * width) / (2 * w)));
  for (let row = 0; row < h; row++) {
    const line = Math.floor(((2 * row + 1) * height) / (2 * h)) * width;
    for (let column = 0; column < w; column++) found[row * w + column] = data[line + columns[column]];
  }
  return { data: found, width: w, height: h };
}

// For each label that a picture has: the cells of a feature map of size w, h that are its region. A region that is too
// small for the map gets one cell; as `level_labels` in ppadaattn/model/regions.py.
export function regionCells(labels, w, h) {
  const cells = resizedLabels(labels, w, h).data;
  const counts = new Uint32Array(256);
  for (const label of cells) counts[label]++;
  const present = [...new Set(labels.data)].sort((a, b) => a - b);
  for (const label of present.filter((one) => !counts[one])) {
    const cell = cellsUnder(labels, label, w, h).find((one) => counts[cells[one]] > 1);
    if (cell === undefined) continue;
    counts[cells[cell]]--;
    counts[label]++;
    cells[cell] = label;
  }
  const found = new Map(present.map((label) => [label, []]));
  cells.forEach((label, cell) => found.get(label).push(cell));
  return found;
}

// The cells of a map in which a region has pixels; those with most of its pixels first.
function cellsUnder({ data, width, height }, label, w, h) {
  const counts = new Map();
  data.forEach((one, pixel) => {
    if (one !== label) return;
    const row = Math.floor(pixel / width);
    const cell = Math.floor((row * h) / height) * w + Math.floor(((pixel - row * width) * w) / width);
    counts.set(cell, (counts.get(cell) || 0) + 1);
  });
  return [...counts].sort(([a, many], [b, more]) => more - many || a - b).map(([cell]) => cell);
}

// Some points of a map {data, dims: [1, channels, height, width]}: {data, dims: [1, channels, points, 1]}.
export function pointsOf({ data, dims: [, channels, height, width] }, cells) {
  const found = new Float32Array(channels * cells.length);
  for (let channel = 0, to = 0; channel < channels; channel++) {
    const from = channel * height * width;
    for (const cell of cells) found[to++] = data[from + cell];
  }
  return { data: found, dims: [1, channels, cells.length, 1] };
}

// Add `weight` times part, [1, channels, its points], to total, [1, channels, all points]; cells: where; null: all.
export function addWeighted(total, part, weight, cells) {
  const [, channels, points] = total.dims;
  const many = part.dims[2];
  for (let channel = 0; channel < channels; channel++) {
    const [to, from] = [channel * points, channel * many];
    if (cells) cells.forEach((cell, index) => (total.data[to + cell] += weight * part.data[from + index]));
    else for (let point = 0; point < points; point++) total.data[to + point] += weight * part.data[from + point];
  }
}
