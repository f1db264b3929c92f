"""Convert the colours of HDR video and of wide gamuts to BT.709, those of ordinary screens.

HDR is video in PQ (SMPTE ST 2084) or HLG (ARIB STD-B67), both of ITU-R BT.2100. A wide gamut is that of BT.2020 or of
P3, with an ordinary transfer function. The arithmetic is that of light on the screen: signal -> nits (cd/m2) on the
screen it was made for -> tone mapping -> BT.709 primaries -> signal of an ordinary screen.

A frame of 1920 x 1080 pixels takes about 50 ms on one core: FFmpeg looks its colours up in a cube that is computed here
once. (FFmpeg's own filter for it, zscale, is not in PyAV's wheels.)
"""

import contextlib
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional

from ppadaattn.media.video_formats import FULL_RANGE, Filter

import numpy as np

# ITU-T H.273 codes of transfer functions and primaries.
PQ, HLG = 16, 18
BT709, BT2020, DCI_P3, DISPLAY_P3, UNKNOWN = 1, 9, 11, 12, 2
# Chromaticities (x, y) of red, green, blue and white, from H.273, table 2.
D65 = (0.3127, 0.3290)
CHROMATICITIES = {
    BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    DCI_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
}
WIDE = (BT2020, DCI_P3, DISPLAY_P3)
# Nits of diffuse white in HDR, which becomes white of BT.709 (ITU-R BT.2408, section 2.1).
WHITE = 203
# Nits of the brightest colour where a PQ file does not say it: most films were mastered for 1000, and BT.2100 defines
# HLG's system gamma of 1.2 for a screen of 1000.
PEAK = 1000
HLG_GAMMA = 1.2
# Gamma of ordinary screens (ITU-R BT.1886).
GAMMA = 2.4
# Colours a side of the cube: a step is 16 of the 1023 levels of 10 bits. Of random colours of BT.2020 in PQ 99 % are
# within 1.6 levels of 8 bits, greys within 0.3 (with 33: 5.5 and 0.5); a channel near 0 of a saturated colour may be
# up to 44 levels off, which is 1.5 % of the light of white.
CUBE_SIDE = 65


class Look(NamedTuple):
    """The colours of a video that is converted: H.273 codes, and the nits of its brightest colour."""

    primaries: int
    transfer: int
    peak: float

    @property
    def name(self) -> str:
        """What it is, for messages."""
        if self.is_hdr:
            return "HDR ({})".format("PQ" if self.transfer == PQ else "HLG")
        return "of the wide gamut {}".format("BT.2020" if self.primaries == BT2020 else "P3")

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (PQ, HLG)


def look_of(frame, primaries: int, transfer: int) -> Optional[Look]:
    """The Look of a video, from its first frame and the codes of its stream; None where nothing is to be converted."""
    if transfer in (PQ, HLG):
        known = primaries if primaries in CHROMATICITIES else BT2020
        return Look(known, transfer, PEAK if transfer == HLG else _mastering_peak(frame) or PEAK)
    return Look(primaries, transfer, WHITE) if primaries in WIDE else None


def _mastering_peak(frame):
    """Nits of the brightest colour, of the mastering display or of the content (MaxCLL), where the file says them."""
    found = {}
    for item in frame.side_data:
        data = bytes(item)
        if item.type.name == "MASTERING_DISPLAY_METADATA" and len(data) >= 88:
            # FFmpeg's AVMasteringDisplayMetadata: 10 fractions, of which the last is the highest luminance, 2 flags.
            *_, above, below, _, has_luminance = struct.unpack("=22i", data[:88])
            found["display"] = above / below if has_luminance and below > 0 else 0
        elif item.type.name == "CONTENT_LIGHT_LEVEL" and len(data) >= 4:
            found["content"] = struct.unpack("=I", data[:4])[0]
    peak = found.get("display") or found.get("content") or 0
    return min(max(peak, WHITE), 10000) if peak > 0 else None


def pq_to_nits(signal: np.ndarray) -> np.ndarray:
    """PQ, 0 to 1, as nits, 0 to 10000 (BT.2100, table 4)."""
    power = np.power(signal, 32 / 2523)
    return 10000 * np.power(np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power), 8192 / 1305)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """The inverse of `pq_to_nits`."""
    power = np.power(nits / 10000, 1305 / 8192)
    return np.power((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power), 2523 / 32)


def hlg_to_nits(signal: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """HLG, R'G'B' of 0 to 1, as nits on a screen of PEAK nits (BT.2100, table 5: inverse OETF, then OOTF).

    Args:
        signal: ... x 3.
        luminance: the weights of R, G and B in the luminance.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return PEAK * np.power((scene @ luminance)[..., None], HLG_GAMMA - 1) * scene


def tone_map(nits: np.ndarray, peak: float) -> np.ndarray:
    """Compress 0 to `peak` nits into 0 to WHITE: the EETF of ITU-R BT.2390-10, section 5.4.1, without a black level.

    Below its knee, 93 nits with a peak of 1000, nothing changes.
    """
    top = nits_to_pq(peak)
    most = nits_to_pq(WHITE) / top
    knee = 1.5 * most - 0.5
    level = np.minimum(nits_to_pq(nits) / top, 1)
    t = np.maximum(level - knee, 0) / max(1 - knee, 1e-9)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return pq_to_nits(np.where(level < knee, level, spline) * top)


def xyz_matrix(primaries: int) -> np.ndarray:
    """The 3 x 3 matrix of linear RGB to CIE XYZ with a Y of 1 for white; its second row weighs the luminance."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in CHROMATICITIES[primaries]]).T
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])


def to_bt709(signal: np.ndarray, look: Look) -> np.ndarray:
    """R'G'B' of a Look, ... x 3, float64 of 0 to 1, as R'G'B' of BT.709.

    Tone mapping takes the largest of R, G and B, and scales the three alike, so that hues stay. Colours outside BT.709
    are below 0 or above 1, and are meant to be clipped (ITU-R BT.2407, section 2). Every ordinary transfer function is
    taken for BT.1886's: greys are the same with any, and other colours nearly.
    """
    matrix = xyz_matrix(look.primaries)
    if look.is_hdr:
        light = pq_to_nits(signal) if look.transfer == PQ else hlg_to_nits(signal, matrix[1])
        largest = np.maximum(light.max(-1, keepdims=True), 1e-6)
        light = light * (tone_map(largest, look.peak) / largest) / WHITE
    else:
        light = np.power(signal, GAMMA)
    matrix = np.linalg.solve(xyz_matrix(BT709), matrix)
    matrix /= matrix.sum(1, keepdims=True)  # white stays white, also that of DCI-P3, which is greenish
    linear = light @ matrix.T
    return np.sign(linear) * np.power(np.abs(linear), 1 / GAMMA)


class Converter:
    """Converts the frames of a video with a Look to BT.709."""

    def __init__(self, look: Look):
        self.look = look
        self._filter = Filter("lut3d", self._cube)

    def __call__(self, frame) -> np.ndarray:
        """A PyAV frame as uint8 RGB H x W x 3."""
        unknown = self.look.is_hdr and int(frame.colorspace) == UNKNOWN
        signal = frame.reformat(
            format="gbrp16le",  # 16 bits in planes, for which FFmpeg has its fastest code
            src_colorspace="BT2020" if unknown else None,
            src_color_range=int(frame.color_range),
            dst_color_range=FULL_RANGE,
        )
        (converted,) = self._filter.push(signal)
        return converted.to_ndarray(format="rgb24")

    @contextlib.contextmanager
    def _cube(self):
        """The options of FFmpeg's filter: the cube is in a file, which is needed while the filter is made."""
        steps = np.linspace(0, 1, CUBE_SIDE)
        blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # red changes fastest
        cube = to_bt709(np.stack([red, green, blue], -1), self.look)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "colours.cube"
            lines = "%.6f %.6f %.6f\n" * CUBE_SIDE**3 % tuple(cube.ravel().tolist())
            file.write_text(f"LUT_3D_SIZE {CUBE_SIDE}\n{lines}")
            yield {"file": str(file), "interp": "tetrahedral"}
