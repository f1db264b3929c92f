// Write a WebM file: encoded frames of one track, with an index, so that players can seek.

const IDS = {
  EBML: 0x1a45dfa3, EBMLVersion: 0x4286, EBMLReadVersion: 0x42f7, EBMLMaxIDLength: 0x42f2, EBMLMaxSizeLength: 0x42f3,
  DocType: 0x4282, DocTypeVersion: 0x4287, DocTypeReadVersion: 0x4285,
  Segment: 0x18538067, Info: 0x1549a966, TimestampScale: 0x2ad7b1, Duration: 0x4489, MuxingApp: 0x4d80, WritingApp: 0x5741,
  Tracks: 0x1654ae6b, TrackEntry: 0xae, TrackNumber: 0xd7, TrackUID: 0x73c5, TrackType: 0x83, CodecID: 0x86,
  Video: 0xe0, PixelWidth: 0xb0, PixelHeight: 0xba,
  Cues: 0x1c53bb6b, CuePoint: 0xbb, CueTime: 0xb3, CueTrackPositions: 0xb7, CueTrack: 0xf7, CueClusterPosition: 0xf1,
  Cluster: 0x1f43b675, Timestamp: 0xe7, SimpleBlock: 0xa3,
};
const MILLISECOND = 1e6; // nanoseconds: the unit of all times
const LONGEST_CLUSTER = 30000; // milliseconds: a block's time is told from its cluster's in 16 bits, with a sign

// chunks: [{data, milliseconds, key}], the first is a key frame; codec: "V_VP9" or "V_VP8"; milliseconds: the whole
// clip. Gives parts of a Blob.
export function webm({ chunks, codec, width, height, milliseconds }) {
  const clusters = [];
  for (const chunk of chunks) {
    const current = clusters.at(-1);
    if (!current || chunk.key || chunk.milliseconds - current[0].milliseconds > LONGEST_CLUSTER) clusters.push([chunk]);
    else current.push(chunk);
  }
  const head = element("EBML",
    element("EBMLVersion", whole(1)), element("EBMLReadVersion", whole(1)), element("EBMLMaxIDLength", whole(4)),
    element("EBMLMaxSizeLength", whole(8)), element("DocType", text("webm")), element("DocTypeVersion", whole(4)),
    element("DocTypeReadVersion", whole(2)));
  const info = element("Info", element("TimestampScale", whole(MILLISECOND)), element("Duration", double(milliseconds)),
    element("MuxingApp", text("ppadaattn")), element("WritingApp", text("ppadaattn")));
  const tracks = element("Tracks", element("TrackEntry", element("TrackNumber", whole(1)), element("TrackUID", whole(1)),
    element("TrackType", whole(1)), element("CodecID", text(codec)),
    element("Video", element("PixelWidth", whole(width)), element("PixelHeight", whole(height)))));
  const bodies = clusters.map(cluster);
  // Numbers always take 8 bytes, so that the index is as long before its positions are known.
  const index = (places) => element("Cues", ...clusters.map(([{ milliseconds: time }], number) =>
    element("CuePoint", element("CueTime", whole(time)), element("CueTrackPositions", element("CueTrack", whole(1)),
      element("CueClusterPosition", whole(places[number]))))));
  let place = length(info) + length(tracks) + length(index(clusters.map(() => 0)));
  const places = bodies.map((body) => (place += length(body)) - length(body));
  return [...head, ...element("Segment", info, tracks, index(places), ...bodies)];
}

function cluster(chunks) {
  const begin = chunks[0].milliseconds;
  const blocks = chunks.map(({ data, milliseconds, key }) => {
    const time = milliseconds - begin;
    return element("SimpleBlock", [Uint8Array.of(0x81, time >> 8, time & 255, key ? 0x80 : 0), data]);
  });
  return element("Cluster", element("Timestamp", whole(begin)), ...blocks);
}

// An element is a list of byte arrays; so are its parts.
function element(name, ...parts) {
  const id = IDS[name].toString(16).match(/../g).map((digits) => parseInt(digits, 16));
  const size = whole(length(parts.flat()))[0];
  size[0] = 1; // says that 7 bytes of a size follow
  return [Uint8Array.of(...id, ...size), ...parts.flat()];
}

function length(parts) {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function whole(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return [bytes];
}

function double(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, number);
  return [bytes];
}

const text = (words) => [new TextEncoder().encode(words)];
