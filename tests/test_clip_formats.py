"""What clips are read from: colours, depths, ranges, transparency, interlacing, sizes, containers (docs/formats.md).

Every test makes its own file.
"""

import math
import os
from fractions import Fraction
from pathlib import Path

from ppadaattn.cli import videos
from ppadaattn.cli.styles import StyleSpec
from ppadaattn.cli.videos import are_clips
from ppadaattn.errors import InputError, InputNote
from ppadaattn.media import video_colors
from ppadaattn.media.images import read_image
from ppadaattn.media.video_colors import DISPLAY_P3, HLG, PQ, Look, to_bt709
from ppadaattn.media.video_formats import COLORSPACES, Colors
from ppadaattn.media.video_read import is_clip, open_clip

import numpy as np
import pytest
from PIL import Image
from test_clips import images, make, paint, scene

av = pytest.importorskip("av", "14.2")

SIZE = (96, 64)
BT2020_PQ, BT2020_HLG, BT2020_SDR = Colors(9, 1, 9, 16), Colors(9, 1, 9, 18), Colors(9, 1, 9, 14)
# Linear RGB of BT.709 in BT.2020, ITU-R BT.2087-0, and in Display P3, computed from CIE 1931 by hand.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
TO_P3 = np.array([[0.82246, 0.17754, 0.0], [0.03319, 0.96681, 0.0], [0.01708, 0.07240, 0.91052]])


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def encode(path, frames, *, codec="ffv1", pixels="yuv444p10le", colors=None, container=None, layout=None, **options):
    """Write arrays as a video: uint16 as rgb48le, or uint8 as rgb24 or rgba. `colors` are written in its tags."""
    kinds = {("uint16", 3): "rgb48le", ("uint8", 3): "rgb24", ("uint8", 4): "rgba"}
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, context = pixels, stream.codec_context
        if codec == "libx265":
            context.max_b_frames = 0  # or x265 now and then decodes a single frame after it is shown: DTS 1, PTS 0
        if colors:
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = colors
        for number, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format=kinds[str(array.dtype), array.shape[2]])
            if pixels.startswith("yuv"):
                space = COLORSPACES[colors.colorspace] if colors else None
                range_ = colors.range if colors else 1
                frame = frame.reformat(format=pixels, dst_colorspace=space, src_color_range=2, dst_color_range=range_)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


# Colours -------------------------------------------------------------------------------------------------------------


def pq(nits):
    """Signal of SMPTE ST 2084, section 5."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    y = (nits / 10000) ** m1
    return ((c1 + c2 * y) / (1 + c3 * y)) ** m2


def nits_of_pq(signal):
    """A number whose `pq` is `signal`, by bisection."""
    low, high = 0.0, 10000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if pq(middle) < signal else (low, middle)
    return low


def hlg(scene_light):
    """Signal of ARIB STD-B67 for a channel of scene light, 0 to 1."""
    if scene_light <= 1 / 12:
        return math.sqrt(3 * scene_light)
    return 0.17883277 * math.log(12 * scene_light - 0.28466892) + 0.55991073


def hermite(nits, peak):
    """BT.2390's curve for one level, from `peak` to 203 nits."""
    level, top = min(pq(nits) / pq(peak), 1), pq(203) / pq(peak)
    knee = 1.5 * top - 0.5
    if level >= knee:
        t = (level - knee) / (1 - knee)
        level = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * top
    return nits_of_pq(level * pq(peak))


def as_hdr(picture, transfer):
    """An SDR picture, uint8 RGB, as HDR of the same light on the screen, with white at 203 nits: uint16 RGB."""
    nits = 203 * (picture / 255) ** 2.4 @ TO_BT2020.T
    if transfer == PQ:
        return (65535 * pq(nits)).round().astype("uint16")
    luminance = nits @ [0.2627, 0.6780, 0.0593]
    light = nits / 1000 * (np.maximum(luminance, 1e-9) / 1000)[..., None] ** (1 / 1.2 - 1)
    return (65535 * np.vectorize(hlg)(light)).round().astype("uint16")


@pytest.mark.parametrize("peak", [1000, 4000])
def test_pq_is_what_the_formulas_say(peak):
    for nits in ([0.01, 0.01, 0.01], [40, 40, 40], [90, 70, 80], [203, 203, 203], [900, 500, 300], [peak, 9, 400]):
        share = hermite(max(nits), peak) / max(nits)
        linear = np.linalg.solve(TO_BT2020, np.array(nits)) * share / 203
        expected = np.sign(linear) * np.abs(linear) ** (1 / 2.4)
        converted = to_bt709(np.array([pq(value) for value in nits]), Look(9, PQ, peak))
        np.testing.assert_allclose(converted[linear > 0.01], expected[linear > 0.01], atol=2e-3)
    np.testing.assert_allclose(to_bt709(np.full(3, pq(20000 * 0.5)), Look(9, PQ, peak)), 1, atol=1e-6)


def test_hlg_is_what_the_formulas_say():
    for light in ([0.001, 0.001, 0.001], [0.05, 0.04, 0.06], [0.2, 0.2, 0.2], [0.7, 0.5, 0.5], [1, 1, 1]):
        luminance = float(np.dot(light, [0.2627, 0.6780, 0.0593]))
        nits = [1000 * luminance**0.2 * value for value in light]
        linear = np.linalg.solve(TO_BT2020, np.array(nits)) * hermite(max(nits), 1000) / max(nits) / 203
        converted = to_bt709(np.array([hlg(value) for value in light]), Look(9, HLG, 1000))
        np.testing.assert_allclose(converted, linear ** (1 / 2.4), atol=2e-3)


@pytest.mark.parametrize(("primaries", "matrix"), [(9, TO_BT2020), (DISPLAY_P3, TO_P3)])
def test_wide_gamuts_are_what_the_formulas_say(primaries, matrix):
    colours = np.array([[1, 1, 1], [0.5, 0.5, 0.5], [0.8, 0.2, 0.3], [0.1, 0.7, 0.9], [0.9, 0.6, 0.1]])
    wide = (colours**2.4 @ matrix.T) ** (1 / 2.4)
    np.testing.assert_allclose(to_bt709(wide, Look(primaries, 1, 203)), colours, atol=3e-3)
    np.testing.assert_allclose(to_bt709(np.full(3, 0.4), Look(11, 1, 203)), 0.4, atol=1e-9)  # DCI's own white


@pytest.mark.parametrize(("colors", "name"), [(BT2020_PQ, "PQ"), (BT2020_HLG, "HLG")])
def test_hdr_looks_as_the_same_scene_in_sdr_and_is_painted_as_that(colors, name):
    pictures = [(0.75 * scene(number)).astype("uint8") for number in range(2)]  # below the knee
    source = encode("in.mkv", [as_hdr(picture, colors.transfer) for picture in pictures], colors=colors)
    with pytest.warns(InputNote, match=rf"in.mkv is HDR \({name}\): it is converted to BT.709") as notes:
        paint(source, "out.mp4")
    assert len(notes) == 1
    with pytest.warns(InputNote, match="is HDR"):
        for image, picture in zip(images(source), pictures):
            assert np.abs(image - picture).mean() < 2 and np.abs(image - picture).max() < 20
    assert open_clip("out.mp4").colors == Colors(1, 1, 1, 1)
    assert np.abs(images("out.mp4")[0] - (255 - pictures[0].astype(int))).mean() < 4


@pytest.mark.parametrize(("params", "peak"), [("", 1000), ("max-cll=600,100", 600), ("display", 4000)])
def test_the_level_of_mastering_is_read_where_it_is_there(monkeypatch, params, peak):
    monkeypatch.setattr(video_colors, "CUBE_SIDE", 33)  # quicker, and exact enough for greys
    display = "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(40000000,50):max-cll=600,100"
    params = f"log-level=none:{display if params == 'display' else params}".strip(":")
    frames = [as_hdr(np.full((64, 96, 3), 240), PQ)]
    encode("in.ts", frames, codec="libx265", pixels="yuv420p10le", colors=BT2020_PQ, **{"x265-params": params})
    with pytest.warns(InputNote, match="is HDR"):
        clip = open_clip("in.ts")
    assert clip.look == Look(9, PQ, peak) and clip.frame_count == 1
    (frame,) = clip.frames()
    brightest = 203 * (240 / 255) ** 2.4
    assert np.abs(frame.image - 255 * (hermite(brightest, peak) / 203) ** (1 / 2.4)).max() < 2


@pytest.mark.parametrize(("colors", "matrix"), [(BT2020_SDR, TO_BT2020), (Colors(1, 1, 12, 1), TO_P3)])
def test_wide_gamuts_are_converted(colors, matrix):
    wide = 65535 * ((scene(0) / 255) ** 2.4 @ matrix.T) ** (1 / 2.4)
    source = encode("in.mkv", [wide.round().astype("uint16")], colors=colors)
    with pytest.warns(InputNote, match=r"in.mkv is of the wide gamut (BT.2020|P3): it is converted to BT.709"):
        clip = open_clip(source)
    assert np.abs(next(clip.frames()).image.astype(int) - scene(0)).mean() < 2 and clip.colors == Colors(1, 1, 1, 1)


DEEP = [("ffv1", "yuv444p10le"), ("ffv1", "yuv420p16le"), ("libx265", "yuv420p12le")]


@pytest.mark.parametrize("range_", [1, 2])
@pytest.mark.parametrize(("codec", "pixels"), DEEP)
def test_deep_colours_and_ranges(codec, pixels, range_):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    deep = 257 * scene(0).astype("uint16")
    source = encode("in.mkv", [deep], codec=codec, pixels=pixels, colors=Colors(1, range_, 1, 1), **options)
    assert np.abs(images(source)[0] - scene(0)).mean() < 4


def test_motion_jpeg_has_the_full_range():
    source = encode("in.mov", [scene(0)], codec="mjpeg", pixels="yuvj420p", colors=Colors(5, 2, 1, 1), q="2")
    assert np.abs(images(source)[0] - scene(0)).mean() < 6


# Transparency --------------------------------------------------------------------------------------------------------

HOLDERS = {
    "in.webm": {"codec": "libvpx-vp9", "pixels": "yuva420p", "crf": "4", "b": "0"},
    "vp8.webm": {"codec": "libvpx", "pixels": "yuva420p", "b": "4M", "auto-alt-ref": "0"},
    "in.mov": {"codec": "prores_ks", "pixels": "yuva444p10le"},
    "animation.mov": {"codec": "qtrle", "pixels": "argb"},
    "in.mkv": {"codec": "ffv1", "pixels": "bgra"},
    "in.avi": {"codec": "png", "pixels": "rgba"},
}


def transparent(number):
    """RGBA of the scene, whose left third is hidden and whose middle is half transparent."""
    alpha = np.full(SIZE[::-1], 255, "uint8")
    alpha[:, :32], alpha[:, 32:64] = 0, 128
    return np.dstack([scene(number), alpha])


@pytest.mark.parametrize("name", HOLDERS)
def test_transparent_parts_are_white_for_the_network_and_kept_where_the_output_can(name):
    source = encode(name, [transparent(number) for number in range(3)], **HOLDERS[name])
    clip = open_clip(source)
    frames = list(clip.frames())
    assert len(frames) == 3 and clip.has_alpha
    for number, frame in enumerate(frames):
        visible = scene(number) * (transparent(number)[..., 3:] / 255)
        expected = visible + 255 - transparent(number)[..., 3:].astype(int)
        assert np.abs(frame.image - expected).mean() < 6 and frame.image[:, :30].min() >= 250
        assert np.abs(frame.alpha.astype(int) - transparent(number)[..., 3]).mean() < 3
    paint(source, "out")
    picture = read_image("out/frame_000002.png")
    np.testing.assert_array_equal(picture, np.dstack([255 - frames[1].image, frames[1].alpha]))
    with pytest.warns(InputNote, match=f"{name} has transparent parts, which out.mp4 cannot hold: .* laid on white"):
        paint(source, "out.mp4")


def test_webm_keeps_transparency_over_its_parts(monkeypatch):
    monkeypatch.setattr("ppadaattn.infer.clips.PART", 2)
    source = encode("in.webm", [transparent(number) for number in range(5)], **HOLDERS["in.webm"])
    paint(source, "out.webm")
    clip = open_clip("out.webm")
    frames = list(clip.frames())
    assert [round(frame.pts * clip.time_base * 1000) for frame in frames] == [0, 40, 80, 120, 160]
    for painted, original in zip(frames, open_clip(source).frames()):
        assert np.abs(painted.alpha.astype(int) - original.alpha).mean() < 3
        assert np.abs(painted.image[:, 64:].astype(int) - (255 - original.image[:, 64:].astype(int))).mean() < 12
    with pytest.warns(InputNote, match="laid on white"):
        paint(source, "preview.webm", preview=True)
    with av.open("preview.webm") as container:
        assert "alpha_mode" not in container.streams.video[0].metadata


def test_a_gif_without_transparent_parts_is_opaque():
    paint(make("in.mp4", 3), "in.gif")
    assert not open_clip("in.gif").has_alpha


# Interlacing and sizes -----------------------------------------------------------------------------------------------


def test_interlaced_frames_are_deinterlaced_at_their_rate():
    blocks = np.kron(np.random.RandomState(0).randint(0, 255, (8, 12, 3)), np.ones((8, 8, 1)))
    moments = [np.roll(blocks, 3 * time, 1) for time in range(12)]
    woven = [moment.astype("uint8") for moment in moments[::2]]
    for frame, later in zip(woven, moments[1::2]):
        frame[::2] = later[::2]  # the lower field is the first one, as this encoder says
    options = {"x264-params": "interlaced=1", "crf": "1"}
    source = encode("in.mkv", woven, codec="libx264", pixels="yuv444p", colors=Colors(), **options)
    with pytest.warns(InputNote, match=r"in.mkv is interlaced: its frames are deinterlaced \(bwdif\)") as notes:
        clip = open_clip(source)
        frames = list(clip.frames())
        again = list(clip.frames(frames[2].pts))
    assert len(notes) == 1 and [round(frame.pts * clip.time_base * 25) for frame in frames] == list(range(6))
    for frame, comb, moment in zip(frames, woven, moments[::2]):
        off, before = (np.abs(image - moment).mean() for image in (frame.image, comb.astype(float)))
        assert off < 0.5 * before
    for frame, other in zip(again, frames[3:]):  # as after an interruption
        np.testing.assert_array_equal(frame.image, other.image)


def test_mpeg_2_that_is_interlaced():
    encode("in.mpg", [scene(number) for number in range(3)], codec="mpeg2video", pixels="yuv420p", flags="+ildct+ilme")
    with pytest.warns(InputNote, match="in.mpg is interlaced"):
        assert len(images("in.mpg")) == 3


def test_frames_of_another_size_are_scaled_to_the_first():
    for name, size in (("a.ts", (96, 64)), ("b.ts", (48, 48))):
        encode(name, [np.full((*size[::-1], 3), 90, "uint8")] * 3, codec="libx264", pixels="yuv420p")
    Path("in.ts").write_bytes(Path("a.ts").read_bytes() + Path("b.ts").read_bytes())
    with pytest.warns(InputNote, match="in.ts changes its size: its frames are scaled to the first, 96 x 64") as notes:
        frames = images("in.ts")
    assert len(frames) == 6 and len(notes) == 1
    assert all(frame.shape == (64, 96, 3) and np.abs(frame - 90).max() < 8 for frame in frames)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".gif", ".webm"])
def test_a_film_of_one_frame(suffix):
    assert paint(make("in.mp4", 1), f"out{suffix}").frames == 1
    (image,) = images(f"out{suffix}")
    assert np.abs(image - (255 - scene(0).astype(int))).mean() < 12


# Containers ----------------------------------------------------------------------------------------------------------

CONTAINERS = [
    ("in.vob", "vob", "mpeg2video"),
    ("in.asf", "asf", "wmv2"),
    ("in.f4v", "mp4", "libx264"),
    ("in.ogv", "ogg", "libtheora"),
    ("in.mxf", "mxf", "mpeg2video"),
    ("in.flv", "flv", "flv"),
    ("in.3gp", "3gp", "libx264"),
    ("in.m2ts", "mpegts", "libx264"),
    ("in.y4m", "yuv4mpegpipe", "wrapped_avframe"),
    ("in.h264", "h264", "libx264"),
    ("in.dat", "avi", "mpeg4"),
    ("noext", "matroska", "libx264"),
    ("film.jpg", "mp4", "libx264"),
]


@pytest.mark.parametrize(("name", "container", "codec"), CONTAINERS)
def test_what_ffmpeg_opens_is_a_clip_whatever_its_suffix(name, container, codec):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    encode(name, [scene(number) for number in range(3)], codec=codec, pixels="yuv420p", container=container)
    assert is_clip(name) and are_clips([name], "out.mp4")
    assert paint(name, "out.mp4").frames == 3


def test_a_folder_of_clips_without_suffixes():
    os.mkdir("in")
    encode("in/noext", [scene(number) for number in range(3)], codec="mpeg4", pixels="yuv420p", container="avi")
    Path("in/notes.txt").write_text("no video"), Path("in/.hidden").write_bytes(Path("in/noext").read_bytes())
    assert are_clips(["in"], "out") and are_clips(["in/*"], "out")
    spec = StyleSpec((Path("s.png"),), (None,))
    clips = videos.plan(["in"], [spec], "out", videos.VideoOptions()).clips
    assert clips == [(Path("in/noext"), spec, Path("out/noext_s.mp4"))]


def test_sound_whose_last_frame_has_no_time():
    make("in.asf", 25, codec="wmv2", sound="wmav2")
    with pytest.warns(InputNote, match="out.mp4 cannot hold sound encoded as wmav2: it is encoded again as aac"):
        paint("in.asf", "out.mp4")
    with av.open("out.mp4") as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == pytest.approx(44100, rel=0.1)


def test_pictures_stay_pictures_whatever_their_suffix():
    for suffix in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"):
        Image.fromarray(scene(0)).save("in.mp4", format=suffix)
        assert not is_clip("in.mp4") and not are_clips(["in.mp4"], "out.png")


PLAYLISTS = {
    "list.ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "list.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period/></MPD>\n',
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "list.txt": "nothing but words\n" * 20,
    "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_lists_of_other_files_are_not_opened_and_the_sentence_is_about_the_input(name):
    make("secret.mp4", 2), make("secret.ts", 2)
    Path(name).write_text(PLAYLISTS[name])
    assert not is_clip(name)
    with pytest.raises(InputError, match=f"{name} cannot be read as a video"):
        open_clip(name)
    if not name.endswith(".mp4"):
        with pytest.raises(InputError, match=f"^{name} is neither a picture nor a video that can be read$"):
            are_clips([name], "out.mp4")


def test_a_cover_is_no_film():
    with av.open("in.m4a", "w", format="mp4") as container:
        track = container.add_stream("aac", rate=44100)
        track.layout = "mono"
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(scene(0, (64, 64)), format="rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(frame))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), format="fltp", layout="mono")
        samples.sample_rate, samples.pts = 44100, 0
        container.mux([*cover.encode(None), *track.encode(samples), *track.encode(None)])
    assert os.path.getsize("in.m4a") and not is_clip("in.m4a")
    with pytest.raises(InputError, match="in.m4a holds no video"):
        open_clip("in.m4a")
