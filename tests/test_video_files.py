"""Videos read and written, without painting."""

from fractions import Fraction

from ppadaattn.media.images import is_listed, to_byte_range, to_unit_range
from ppadaattn.media.video_formats import video_format
from ppadaattn.media.video_read import open_clip
from ppadaattn.media.video_write import join_parts, part_writer

import numpy as np
import pytest

av = pytest.importorskip("av", "14.2")


def write_clip(path, times, **metadata):
    """A video of random frames at `times`, in ms."""
    rng = np.random.RandomState(0)
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(rng.randint(0, 256, (48, 64, 3)).astype("uint8"), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def copy_clip(source, target, stretch):
    """Write a clip again, in parts of `stretch` frames."""
    clip = open_clip(source)
    frames, parts = list(clip.frames()), []
    for begin in range(0, len(frames), stretch):
        parts.append(target.with_name(f"{target.stem}.{begin}.nut"))
        with part_writer(parts[-1], video_format(target), clip) as writer:
            for frame in frames[begin : begin + stretch]:
                writer.write(frame.image, frame.pts)
    join_parts(parts, frames[-1].pts + frames[-1].duration, target, clip)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_parts_of_a_variable_rate_are_joined_at_their_own_times_with_metadata_and_without_sound(tmp_path, suffix):
    times = [0, 40, 130, 140, 300, 333, 500, 510, 700, 1000]
    write_clip(tmp_path / "in.mp4", times, title="Sea", artist="Me", comment="calm", copyright="2020", genre="none")
    copy_clip(tmp_path / "in.mp4", tmp_path / f"out{suffix}", 4)
    clip = open_clip(tmp_path / f"out{suffix}")
    assert [round(frame.pts * clip.time_base * 1000) for frame in clip.frames()] == times
    assert clip.metadata == {"title": "Sea", "artist": "Me", "comment": "calm", "copyright": "2020"}
    assert clip.problem is None and not clip.has_sound


def test_every_byte_survives_the_conversion_to_floats_and_back():
    values = np.arange(256, dtype="uint8")
    floats = to_unit_range(values)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, np.arange(256) / 255, rtol=1e-6)
    np.testing.assert_array_equal(to_byte_range(floats), values)
    np.testing.assert_array_equal(to_byte_range(np.array([-1, 0.499 / 255, 0.501 / 255, 2])), [0, 0, 1, 255])


def test_a_folder_lists_pictures_by_suffix_without_hidden_files(tmp_path):
    names = ["a.PNG", "b.txt", "._a.png", "c.jpeg", "png"]
    assert [name for name in names if is_listed(tmp_path / name)] == ["a.PNG", "c.jpeg"]
    assert is_listed(tmp_path / "a.mp4", (".mp4",)) and not is_listed(tmp_path / "a.png", (".mp4",))
