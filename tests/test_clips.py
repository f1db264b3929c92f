"""Clips from file to file: real videos are made, painted and read again."""

import os
import shlex
import signal
import subprocess
import sys
import time
from fractions import Fraction

import ppadaattn
from ppadaattn.errors import InputError, InputNote
from ppadaattn.infer import clips
from ppadaattn.infer.clips import paint_clip
from ppadaattn.infer.options import ClipOptions
from ppadaattn.media import video_formats
from ppadaattn.media.images import read_image
from ppadaattn.media.video_read import open_clip

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT, run_python
from PIL import Image

av = pytest.importorskip("av", "14.2")

SIZE = (96, 64)


def scene(number, size=SIZE):
    """A frame, uint8 H x W x 3: flat colours, and a square that is elsewhere in each frame."""
    width, height = size
    image = np.zeros((height, width, 3), "uint8")
    image[: height // 2], image[height // 2 :, : width // 2] = (200, 30, 30), (20, 160, 60)
    image[8:24, 4 * number % (width - 16) :][:, :16] = (240, 240, 80)
    return image


def make(
    path,
    count=20,
    *,
    rate=25,
    size=SIZE,
    codec="libx264",
    sound=None,
    seconds=None,
    times=None,
    full_range=False,
    space=1,
):
    """Write a video: `times` are pts in 1/1000 s (variable rate); colours in `space` (H.273)."""
    range_ = 2 if full_range else 1
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "4"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = space, range_, 1, 1
        context.time_base = Fraction(1, 1000 if times else rate)
        if sound:
            track = container.add_stream(sound, rate=44100)
            track.layout, track.bit_rate = "stereo", 128_000
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(scene(number, size), format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=video_formats.COLORSPACES[space],
                src_color_range=2,
                dst_color_range=range_,
            )
            frame.pts = times[number] if times else number
            frame.time_base = context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            tone = np.sin(np.arange(int(44100 * (seconds or count / rate))) / 20) * 8000
            planar = track.codec_context.format.is_planar
            for start in range(0, len(tone), 1024):
                part = np.stack([tone[start : start + 1024]] * 2)
                if "flt" in track.codec_context.format.name:
                    part = (part / 32768).astype("float32")
                part = part if planar else part.T.reshape(1, -1)
                part = np.ascontiguousarray(part.astype("float32" if part.dtype == np.float32 else "int16"))
                samples = av.AudioFrame.from_ndarray(part, format=track.codec_context.format.name, layout="stereo")
                samples.sample_rate, samples.pts, samples.time_base = 44100, start, Fraction(1, 44100)
                container.mux(track.encode(samples))
            container.mux(track.encode(None))
    return path


def frame_times(path):
    """Seconds at which each frame is shown."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [float(frame.pts * stream.time_base) for frame in container.decode(stream)]


def packets_of_sound(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def duration(path):
    with av.open(str(path)) as container:
        return container.duration / 1e6


class Painter:
    """Stands for a Stylizer: it paints the negative, so that everything around it can be checked pixel by pixel."""

    fingerprint = "negative"
    network = type("network", (), {"normalizes_content": True})

    def encode(self, contents):
        return contents

    def side_by_side(self, strength, pixels):
        return self, 3

    def paint(self, contents, style, **options):
        return list(255 - contents)


STYLE = ppadaattn.Style({}, "negative")


def paint(content, output, **options):
    return paint_clip(Painter(), content, STYLE, output, **options)


def images(path, **options):
    return [frame.image.astype(int) for frame in open_clip(path, **options).frames()]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".avi"])
def test_frames_times_and_sound_are_kept(suffix):
    source = make("in.mp4", sound="aac")
    result = paint(source, f"out{suffix}")
    assert (result.frames, result.size, result.problem, result.stopped_by) == (20, SIZE, None, None)
    assert result.seconds == pytest.approx(0.8)
    times = np.array(frame_times(f"out{suffix}"))
    np.testing.assert_allclose(times - times[0], np.array(frame_times(source)), atol=1.1e-3)
    assert duration(f"out{suffix}") == pytest.approx(duration(source), abs=0.04)
    assert packets_of_sound(f"out{suffix}") == packets_of_sound(source)
    for painted, original in zip(images(f"out{suffix}"), images(source)):
        assert np.abs(painted - (255 - original)).mean() < 4
    assert sorted(os.listdir(".")) == ["in.mp4", f"out{suffix}"]


def test_sound_that_the_container_cannot_hold_is_encoded_again_and_said():
    source = make("in.mp4", sound="aac")
    with pytest.warns(InputNote, match="out.webm cannot hold sound encoded as aac: it is encoded again as libopus"):
        paint(source, "out.webm")
    with av.open("out.webm") as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)
    assert sound.shape[1] == pytest.approx(0.8 * 48000, rel=0.05) and 0.1 < np.abs(sound).max() < 0.5
    assert len(frame_times("out.webm")) == 20
    with pytest.warns(InputNote, match="without the sound of in.mp4: .gif holds none"):
        paint(source, "out.gif")


def test_gif_in_and_out():
    paint(make("in.mp4"), "out.gif")
    np.testing.assert_allclose(frame_times("out.gif"), np.arange(20) * 0.04, atol=1e-6)
    assert np.abs(images("out.gif")[3] - (255 - scene(3).astype(int))).mean() < 12
    paint("out.gif", "again.mp4")
    np.testing.assert_allclose(frame_times("again.mp4"), np.arange(20) * 0.04, atol=1e-3)
    assert np.abs(images("again.mp4")[3] - scene(3)).mean() < 14


def test_a_transparent_gif_is_laid_on_white():
    pictures = [Image.new("P", (32, 32), 0) for _ in range(3)]
    for number, picture in enumerate(pictures):
        picture.putpalette([0, 0, 0, 255, 0, 0])
        picture.paste(1, (0, 0, 16, 8 * number + 8))
    pictures[0].save("in.gif", save_all=True, append_images=pictures[1:], transparency=0, duration=100, disposal=2)
    first = images("in.gif")[0]  # the note is of the output that cannot hold it
    assert (first[20:] == 255).all() and (first[2, 2] == (255, 0, 0)).all()


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("space", [1, 6])
def test_colours_come_through(space, full_range):
    source = make("in.mp4", space=space, full_range=full_range)
    assert np.abs(images(source)[0] - scene(0)).mean() < 5
    paint(source, "out.mp4")
    assert np.abs(images("out.mp4")[0] - (255 - scene(0).astype(int))).mean() < 5
    with av.open("out.mp4") as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (space, 2 if full_range else 1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif"])
def test_a_variable_frame_rate_is_kept(suffix):
    times = np.cumsum([0, *[40, 100, 70, 40] * 5][:20]).tolist()
    source = make("in.mp4", times=times)
    np.testing.assert_allclose(frame_times(source), np.array(times) / 1000, atol=1e-6)
    paint(source, f"out{suffix}")
    np.testing.assert_allclose(frame_times(f"out{suffix}"), np.array(times) / 1000, atol=0.0051)


def test_avi_gets_a_constant_rate():
    times = [0, 40, 80, 200, 240]
    paint(make("in.mp4", 5, times=times), "out.avi", fps=25)
    np.testing.assert_allclose(np.diff(frame_times("out.avi")), 0.04, atol=1e-6)
    assert len(frame_times("out.avi")) == 7
    for place, number in enumerate([0, 1, 2, 2, 2, 3, 4]):
        assert np.abs(images("out.avi")[place] - (255 - scene(number).astype(int))).mean() < 10


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotation_flag_is_obeyed(degrees):
    source = make("in.mp4", 3)
    turns = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]  # clockwise, as phones write it
    matrix = b"".join(
        int(number * unit).to_bytes(4, "big", signed=True)
        for number, unit in zip([*turns[:2], 0, *turns[2:], 0, 0, 0, 1], [1 << 16] * 8 + [1 << 30])
    )
    data = source_bytes(source)
    place = data.index(b"tkhd") + 4 + 4 + 5 * 4 + 2 * 4 + 4 * 2
    with open(source, "wb") as file:
        file.write(data[:place] + matrix + data[place + 36 :])
    paint(source, "out.mp4")
    upright = np.rot90(255 - scene(1).astype(int), -degrees // 90)
    assert images("out.mp4")[1].shape == upright.shape
    assert np.abs(images("out.mp4")[1] - upright).mean() < 5


def source_bytes(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize(("suffix", "size"), [(".mp4", (52, 40)), (".webm", (51, 39)), (".gif", (51, 39))])
def test_odd_sizes(suffix, size):
    source = make("in.webm", 3, size=(51, 39), codec="libvpx-vp9")
    assert paint(source, f"out{suffix}").size == (51, 39)
    painted, original = images(f"out{suffix}")[1], images(source)[1]
    assert painted.shape == (size[1], size[0], 3)
    assert np.abs(painted[:39, :51] - (255 - original)).mean() < 12


def test_a_folder_of_frames_in_and_out():
    os.mkdir("in")
    for number in range(12):
        Image.fromarray(scene(number)).save(f"in/{number}.png")  # 10 comes after 9
    paint("in", "out.mp4", fps=10)
    np.testing.assert_allclose(frame_times("out.mp4"), np.arange(12) / 10, atol=1e-6)
    assert np.abs(images("out.mp4")[10] - (255 - scene(10).astype(int))).mean() < 6
    paint("in", "out", start=0.08, end=0.4)  # 25 a second
    assert sorted(os.listdir("out")) == sorted(f"{number}.png" for number in range(2, 10))
    np.testing.assert_array_equal(read_image("out/9.png"), 255 - scene(9))
    paint("out.mp4", "frames")
    assert sorted(os.listdir("frames"))[:2] == ["frame_000001.png", "frame_000002.png"]


def test_start_and_end():
    source = make("in.mp4", 25, sound="aac")
    result = paint(source, "out.mp4", start=0.2, end=0.6)
    assert result.frames == 10 and result.seconds == pytest.approx(0.4)
    assert np.abs(images("out.mp4")[0] - (255 - scene(5).astype(int))).mean() < 5
    inside = packets_of_sound("out.mp4")
    assert 0.3 < len(inside) * 1024 / 44100 < 0.5 and set(inside) <= set(packets_of_sound(source))


def test_another_rate_size_and_the_preview():
    source = make("in.mp4", 25)
    paint(source, "slow.mp4", fps=5)
    np.testing.assert_allclose(frame_times("slow.mp4"), np.arange(5) / 5, atol=1e-6)
    assert np.abs(images("slow.mp4")[2] - (255 - scene(10).astype(int))).mean() < 5
    paint(source, "fast.mp4", fps=50)
    assert len(frame_times("fast.mp4")) == 50
    result = paint(source, "preview.mp4", size=48, preview=True)
    assert result.size == (96, 32) and images("preview.mp4")[0].shape == (32, 96, 3)
    small = images(source, size=48)[4]
    assert np.abs(images("preview.mp4")[4] - np.hstack([small, 255 - small])).mean() < 8


def test_quality():
    rough, fine = (paint(make("in.mp4"), f"{crf}.mp4", crf=crf) and os.path.getsize(f"{crf}.mp4") for crf in (45, 5))
    assert fine > 1.2 * rough


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_batches_and_parts(monkeypatch, batch_size):
    monkeypatch.setattr(clips, "PART", 8)
    done = []
    result = paint(make("in.mp4"), "out.mp4", batch_size=batch_size, progress=lambda n, total: done.append((n, total)))
    assert result.frames == 20 == len(frame_times("out.mp4"))
    assert done[-1] == (20, 20) and [n for n, _ in done] == sorted({n for n, _ in done})
    np.testing.assert_allclose(np.diff(frame_times("out.mp4")), 0.04, atol=1e-6)


def interrupt_after(count):
    def progress(done, total):
        if done >= count:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("options", [{}, {"fps": 20}, {"start": 0.2}])
@pytest.mark.parametrize("output", ["out.mp4", "out"])
def test_interrupted_it_leaves_a_playable_file_and_goes_on_from_there(monkeypatch, output, options):
    monkeypatch.setattr(clips, "PART", 6)
    source = make("in.mp4", sound="aac")
    paint(source, "whole.mp4", **options)
    whole = images("whole.mp4")
    result = paint(source, output, progress=interrupt_after(9), **options)
    assert (result.stopped_by, result.frames) == (signal.SIGINT, 9)
    if output == "out.mp4":
        assert len(frame_times(output)) == 9
        assert duration(output) == pytest.approx(9 / (options.get("fps") or 25), abs=0.05)
    first = []
    result = paint(source, output, resume=True, progress=lambda done, _: first.append(done), **options)
    assert first[0] == 10 and result.frames == len(whole) and result.stopped_by is None
    assert len(images(output)) == len(whole) and not os.path.exists(f"{output}.parts")
    for resumed, straight in zip(images(output), whole):
        assert np.abs(resumed - straight).mean() < 4
    if output == "out.mp4":
        assert frame_times(output) == frame_times("whole.mp4")
        assert packets_of_sound(output) == packets_of_sound("whole.mp4")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_what_frames_hand_on_is_kept_over_an_interruption(monkeypatch, tmp_path):
    monkeypatch.setattr(clips, "PART", 3)
    stylizer = ppadaattn.load("adaattn_lite_video", device="cpu")
    style = stylizer.prepare_style(scene(0))
    source, options = make("in.mp4", 8, size=(48, 32)), {"smooth_statistics": 0.8, "flow_blend": 0.5}
    stylizer.stylize_video(source, style, "whole", **options)
    assert stylizer.stylize_video(source, style, "out", progress=interrupt_after(4), **options).frames == 4
    with pytest.raises(InputError, match="begun with another clip, style or other options"):
        stylizer.stylize_video(source, style, "out", resume=True, smooth_statistics=0.8)
    stylizer.stylize_video(source, style, "out", resume=True, **options)
    for name in sorted(os.listdir("whole")):
        np.testing.assert_array_equal(read_image(f"out/{name}"), read_image(f"whole/{name}"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_killed_it_goes_on_from_the_last_part(tmp_path):
    make("in.mp4", 40)
    script = (
        "import sys, os, signal; sys.path.insert(0, sys.argv[1])\n"
        "from ppadaattn.infer import clips; import test_clips\n"
        "clips.PART = 10\n"
        "def progress(done, total):\n"
        "    if done == 25: os.kill(os.getpid(), signal.SIGKILL)\n"
        "test_clips.paint('in.mp4', 'out.mp4', progress=progress)\n"
    )
    killed = run_python("-c", script, ROOT / "tests")
    assert killed.returncode == -signal.SIGKILL and not os.path.exists("out.mp4")
    first = []
    paint("in.mp4", "out.mp4", resume=True, progress=lambda done, _: first.append(done))
    assert first[0] == 21 and len(frame_times("out.mp4")) == 40


def test_a_clip_that_is_cut_short_is_painted_as_far_as_it_goes():
    paint(make("in.mp4", 50), "moved.mp4")  # the index at the front
    data = source_bytes("moved.mp4")
    with open("cut.mp4", "wb") as file:
        file.write(data[: len(data) * 6 // 10])
    result = paint("cut.mp4", "out.mp4")
    assert 10 < result.frames < 45 and len(frame_times("out.mp4")) == result.frames
    assert f"cut.mp4 ends at {result.seconds:.2f} s of 2.00 s: it is cut short" in result.problem


def test_memory_does_not_grow_with_the_length():
    pytest.importorskip("resource")
    script = (
        "import sys, resource; sys.path.insert(0, sys.argv[1])\n"
        "import test_clips\n"
        "test_clips.paint(sys.argv[2], 'out.mp4')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for count in (60, 300):
        make(f"{count}.mp4", count, size=(320, 240))
        done = run_python("-c", script, ROOT / "tests", f"{count}.mp4")
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize(
    ("content", "output", "options", "sentence"),
    [
        ("none.mp4", "o.mp4", {}, "there is no file none.mp4"),
        ("text.mp4", "o.mp4", {}, "text.mp4 cannot be read as a video"),
        ("sound.m4a", "o.mp4", {}, "sound.m4a holds no video"),
        ("empty", "o.mp4", {}, "the folder empty holds no frames"),
        ("mixed", "o.mp4", {}, "2.png is 20 x 20 pixels, the first frame of its folder 32 x 32"),
        ("in.mp4", "in.mp4", {}, "in.mp4 is the clip to read"),
        ("in.mp4", "o.xyz", {}, "o.xyz: videos are written as .mp4"),
        ("in.mp4", "empty/o.mp4/x.mp4", {"size": 10}, "`size` is a number of pixels, 0 or at least 16; got 10"),
        ("in.mp4", "text.mp4/o.mp4", {}, "text.mp4 is not a folder"),
        ("in.mp4", "o.mp4", {"start": 2.0}, "in.mp4 is 0.80 s long, and is to start at 2.0 s"),
        ("in.mp4", "o.mp4", {"start": 0.5, "end": 0.4}, "the `end`, 0.4 s, must be after the `start`, 0.5 s"),
        ("in.mp4", "o.mp4", {"start": -1.0}, "`start` is a time in seconds, 0 or more; got -1.0"),
        ("in.mp4", "o.mp4", {"fps": 0}, "`fps` is a number of frames per second"),
        ("in.mp4", "o.mp4", {"crf": 52}, "`crf`, the quality of the video, is 0 to 51 in .mp4; got 52"),
        ("in.mp4", "o.gif", {"crf": 20}, "`crf`, the quality of the video, is not for .gif; got 20"),
        ("in.mp4", "folder", {"crf": 20}, "`crf` is for video files, and folder is a folder of frames"),
        ("in.mp4", "o.mp4", {"batch_size": 0}, "`batch_size` is a number of frames, 1 or more; got 0"),
        ("in.mp4", "o.mp4", {"flow_blend": 1.0}, "`flow_blend` is a share"),
        ("in.mp4", "done.mp4", {"resume": True}, "done.mp4 is finished, or was not made here"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(content, output, options, sentence):
    make("in.mp4"), make("done.mp4", 2)
    for name in ("text.mp4",):
        with open(name, "w") as file:
            file.write("no video" * 100)
    with av.open("sound.m4a", "w", format="mp4") as container:
        track = container.add_stream("aac", rate=44100)
        track.layout = "mono"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), format="fltp", layout="mono")
        samples.sample_rate, samples.pts = 44100, 0
        container.mux(track.encode(samples))
        container.mux(track.encode(None))
    os.mkdir("empty"), os.mkdir("mixed")
    for number, side in ((1, 32), (2, 20)):
        Image.new("RGB", (side, side)).save(f"mixed/{number}.png")
    before = sorted(os.listdir("."))
    with pytest.raises(InputError) as caught:
        paint(content, output, **options)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert [name for name in sorted(os.listdir(".")) if not name.endswith(".parts")] == before


def test_the_tool_interrupted_says_how_to_go_on():
    make("in.mp4", 200)
    Image.fromarray(scene(0)).save("style.png")
    words = ["--model", "adaattn_lite_video", "--content", "in.mp4", "--style", "style.png", "--output", "o.mp4"]
    command = [sys.executable, str(ROOT / "tools" / "infer.py"), *words, "--device", "cpu"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    deadline = time.time() + 120
    while not os.path.isdir("o.mp4.parts") and time.time() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert f"stopped; to resume: {shlex.join(['python', *command[1:]])}" in err and err.strip().endswith("--resume")
    shown = len(frame_times("o.mp4")) if os.path.exists("o.mp4") else 0
    assert f"o.mp4: {shown} frames" in out
    assert subprocess.run([*command, "--resume"], env=ENVIRONMENT, capture_output=True).returncode == 0
    assert len(frame_times("o.mp4")) == 200


# What went wrong once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("gop", [12, 250])
def test_streams_that_cannot_be_sought_lose_no_frame(suffix, gop):
    codec = "libx264" if suffix == ".ts" else "mpeg2video"
    with av.open(f"in{suffix}", "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": str(gop)})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(100):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(number), format="rgb24")))
        container.mux(stream.encode(None))
    result = paint(f"in{suffix}", "out.mp4", start=2.0, end=3.0)
    assert result.frames == 25
    assert np.abs(images("out.mp4")[0] - (255 - scene(50).astype(int))).mean() < 10


@pytest.mark.parametrize(
    ("source", "sound", "output", "codec"),
    [
        ("in.avi", "pcm_s16le", "out.mp4", None),
        ("in.mkv", "flac", "out.mov", None),
        ("in.ts", "aac", "out.avi", None),
        ("in.mkv", "pcm_s16le", "out.mkv", "pcm_s16le"),
    ],
)
@pytest.mark.filterwarnings("ignore::ppadaattn.errors.InputNote")
def test_any_sound_into_any_format(source, sound, output, codec):
    codec_of_source = "mpeg4" if source.endswith(".avi") else "libx264"
    result = paint(make(source, 25, sound=sound, codec=codec_of_source), output)
    assert result.frames == 25
    times = np.array(frame_times(output))
    # In AVI pictures that begin a little after the sound begin at the next whole frame.
    np.testing.assert_allclose(times - times[0], np.arange(25) / 25, atol=0.041 if output == "out.avi" else 1.1e-3)
    with av.open(output) as container:
        assert codec in (None, container.streams.audio[0].codec_context.name)
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == pytest.approx(44100, rel=0.1)


def test_sound_longer_than_the_pictures_is_no_damage():
    source = make("in.mkv", 10, sound="flac", seconds=4)
    assert duration(source) > 3
    result = paint(source, "out.mp4")
    assert result.problem is None and result.frames == 10


def test_the_last_frame_of_a_gif_is_shown_as_long_as_it_was():
    paint(make("in.mp4", 4, times=[0, 200, 300, 400]), "out.gif", start=0)
    with av.open("out.gif") as container:
        shown = [packet.duration * packet.time_base for packet in container.demux(video=0) if packet.dts is not None]
    assert [float(x) for x in shown[:3]] == pytest.approx([0.2, 0.1, 0.1]) and float(shown[3]) >= 0.04
    paint("in.mp4", "fast.gif", fps=150)
    assert np.diff(frame_times("fast.gif")).min() > 0.009


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_with_a_colon_are_files():
    os.rename(make("in.mp4", 3), "12:30.mp4")
    assert paint("12:30.mp4", "a:b.mp4").frames == 3 and len(frame_times("./a:b.mp4")) == 3


def test_at_the_start_the_frame_that_is_shown_then():
    source = make("in.mp4", 4, times=[0, 1000, 2000, 3000])
    assert paint(source, "out.mp4", start=1.5, end=2.5).frames == 2
    assert np.abs(images("out.mp4")[0] - (255 - scene(1).astype(int))).mean() < 5
    np.testing.assert_allclose(frame_times("out.mp4"), [0, 0.5], atol=1e-6)


def test_a_folder_of_parts_that_is_somebody_elses_is_left_alone(monkeypatch):
    make("in.mp4", 3)
    os.mkdir("out.mp4.parts")
    with open("out.mp4.parts/mine.txt", "w") as file:
        file.write("precious")
    with pytest.raises(InputError, match="out.mp4.parts is needed for the parts of the clip, and holds something else"):
        paint("in.mp4", "out.mp4")
    assert os.listdir("out.mp4.parts") == ["mine.txt"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_what_a_killed_run_was_writing_is_not_taken_for_a_part(monkeypatch):
    monkeypatch.setattr(clips, "PART", 4)
    source = make("in.mp4", 12)
    paint(source, "out.mp4", progress=interrupt_after(6))
    with open("out.mp4.parts/.00000006.123.npz", "wb") as file:
        file.write(b"half")
    assert paint(source, "out.mp4", resume=True).frames == 12
    paint(source, "out.mp4", progress=interrupt_after(6))
    with open("out.mp4.parts/00000000.npz", "wb") as file:
        file.write(b"half")
    with pytest.raises(InputError, match="00000000.npz cannot be read .* start over without `resume`"):
        paint(source, "out.mp4", resume=True)


@pytest.mark.parametrize(("rate", "shown"), [(29.97003, 30), (133.337, 133)])
def test_avi_takes_any_rate(rate, shown):
    result = paint(make("in.mp4", 25), "out.avi", fps=rate)
    assert abs(result.frames - shown) <= 1


@pytest.mark.parametrize("options", [{"start": float("nan")}, {"end": float("inf")}, {"fps": 1e-9}])
def test_numbers_that_are_none_are_refused(options):
    with pytest.raises(InputError, match="is a (time in seconds|number of frames per second)"):
        paint(make("in.mp4", 3), "out.mp4", **options)


def test_frames_of_one_name_are_refused():
    os.mkdir("in")
    for name in ("1.png", "1.jpg"):
        Image.new("RGB", (32, 32)).save(f"in/{name}")
    with pytest.raises(InputError, match="the folder in holds several frames named 1"):
        paint("in", "out")


def test_styles_of_all_kinds_and_options_as_an_object(picture):
    stylizer = ppadaattn.load("adaattn_lite_video", device="cpu")
    source, paths = make("in.mp4", 2, size=(48, 32)), [picture("a.png"), picture("bb.png")]
    options = ClipOptions(style_scale=1.0, strength=0.5)
    stylizer.stylize_video(source, paths, "by_object", options, style_weights=[1, 3])
    stylizer.stylize_video(source, paths, "by_names", style_scale=1.0, strength=0.5, style_weights=[1, 3])
    styles = [stylizer.prepare_style(path, style_size=48, enlarge=True) for path in paths]
    mixed = ppadaattn.Style.mix(styles, [1, 3])
    for frame, original in zip(sorted(os.listdir("by_object")), images(source)):
        painted = read_image(f"by_object/{frame}")
        np.testing.assert_array_equal(painted, read_image(f"by_names/{frame}"))
        expected = stylizer(original.astype("uint8"), mixed, strength=0.5)
        assert np.abs(painted.astype(int) - expected).max() <= 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_smaller_batches_may_resume(monkeypatch):
    monkeypatch.setattr(clips, "PART", 4)
    source = make("in.mp4", 12)
    paint(source, "out.mp4", batch_size=4, progress=interrupt_after(6))
    with pytest.raises(InputError, match="give the same to resume, or start over without `resume`"):
        paint(source, "out.mp4", preview=True, resume=True)
    assert paint(source, "out.mp4", batch_size=1, resume=True).frames == 12


def test_two_processes_do_not_mix_in_one_output():
    make("in.mp4", 40)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_clips\n"
        "def progress(done, total):\n"
        "    if done == 1: print('painting', flush=True); input()\n"
        "test_clips.paint('in.mp4', sys.argv[2], progress=progress)\n"
    )
    for output in ("out.mp4", "out"):
        words = [sys.executable, "-c", script, str(ROOT / "tests"), output]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
        with subprocess.Popen(words, **pipes) as first:
            assert first.stdout.readline() == "painting\n"
            for resume in (False, True):
                with pytest.raises(InputError, match=f"{output} is being written by process {first.pid} on"):
                    paint("in.mp4", output, resume=resume, preview=True)
            first.communicate("\n")
        assert first.returncode == 0 and len(images(output)) == 40 and images(output)[0].shape == (64, 96, 3)
    assert sorted(os.listdir()) == ["in.mp4", "out", "out.mp4"]


def odd_times(path, time_base, times):
    """A video whose frames are shown at `times`, in an odd time base, in NUT, which keeps any."""
    with av.open(str(path), "w", format="nut") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = time_base
        for number, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(scene(number), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = pts, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".gif"])
@pytest.mark.parametrize(
    "time_base",
    [
        Fraction(1, 2_000_000_000),
        Fraction(1, 2**31 - 1),
        Fraction(2**31 - 1, 2**31 - 2),
        Fraction(1, 10**9),
        Fraction(2),
    ],
)
def test_time_bases_that_encoders_refuse(suffix, time_base):
    step = max(1, round(Fraction(1, 5) / time_base))
    odd_times("in.avi", time_base, [step * number for number in range(5)])
    paint("in.avi", f"out{suffix}")
    seconds = float(step * time_base)
    times = frame_times(f"out{suffix}")
    if suffix == ".avi":  # at a constant rate
        assert abs(times[-1] - 4 * seconds) < seconds
    else:
        np.testing.assert_allclose(times, [seconds * number for number in range(5)], atol=0.011)


def test_frames_that_share_a_microsecond_are_all_kept():
    odd_times("in.avi", Fraction(1, 2_000_000_000), [0, 1, 2, 3, 10**9])
    assert [frame.pts for frame in open_clip("in.avi").frames()] == [0, 1, 2, 3, 500_000]
    assert paint("in.avi", "out.mkv").frames == 5


@pytest.mark.parametrize("options", [{"fps": 25}, {"constant_rate": True}])
def test_a_frame_that_would_be_repeated_for_hours_is_refused(options):
    hour = 3600 * 1000
    odd_times("in.mkv", Fraction(1, 1000), [0, 40, 40 + 10 * hour, 80 + 10 * hour])
    with pytest.raises(InputError, match=r"shows one frame for 10\.0 hours from 0\.04 s on, .* set an `end` before"):
        list(open_clip("in.mkv", **options).frames())
    assert len(list(open_clip("in.mkv", end=2, fps=25).frames())) == 50
    assert paint("in.mkv", "out.mkv").frames == 4


def test_frames_that_an_encoder_refuses_are_a_sentence():
    odd_times("in.avi", Fraction(3600 * 24 * 365), range(5))
    with pytest.raises(InputError, match="cannot be encoded by libvpx-vp9: .*; choose another format"):
        paint("in.avi", "out.webm")
