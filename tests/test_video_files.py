"""Videos read and written, without painting."""

import io
from fractions import Fraction

from ppadaattn.errors import InputError, InputNote
from ppadaattn.media import decoding, tracks
from ppadaattn.media.animation import is_moving
from ppadaattn.media.images import is_listed, read_image, to_byte_range, to_unit_range
from ppadaattn.media.tags import clip_tags
from ppadaattn.media.video_formats import COVER, video_format
from ppadaattn.media.video_read import open_clip
from ppadaattn.media.video_write import join_parts, part_writer

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, PngImagePlugin

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


def copy_clip(source, target, stretch, located=False, **options):
    """Write a clip again, in parts of `stretch` frames, with its position or without."""
    clip = open_clip(source, **options)
    clip.metadata = {**clip.metadata, **(clip.location if located else {})}
    frames, parts = list(clip.frames()), []
    for begin in range(0, len(frames), stretch):
        parts.append(target.with_name(f"{target.stem}.{begin}.nut"))
        with part_writer(parts[-1], video_format(target), clip) as writer:
            for frame in frames[begin : begin + stretch]:
                writer.write(frame.image, frame.pts)
    join_parts(parts, frames[-1].pts + frames[-1].duration, target, clip, options.get("end"))


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


# Tracks and tags ------------------------------------------------------------------------------------------------------

SOUNDS = (("Main", "eng", 0), ("Commentary", "ger", 1))  # name, language, flags: the second one is the default
TAGS = {
    "title": "Sea",
    "comment": "calm",
    "date": "2021-05-06",
    "copyright": "someone",
    "creation_time": "2021-05-06T10:11:12.000000Z",
}
CHAPTERS = [(0, 400, "one"), (400, 1000, "two")]
END_OF_PGS = b"\x80\0\0"  # a segment of subtitles that are pictures: its kind and its length
LINES = [(100, 300, "Hello"), (600, 300, "you")]  # begin, length in ms, words


def write_tracks(path, cover=True, attachment=False, subtitles="subrip", **tags):
    """A Matroska file of one second with two sounds, subtitles, chapters and a cover."""
    milliseconds = Fraction(1, 1000)
    with av.open(str(path), "w", format="matroska") as container:
        container.metadata.update({**TAGS, **tags})
        container.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": milliseconds, "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(CHAPTERS, 1)
            ]
        )
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [container.add_stream("aac", rate=48000) for _ in SOUNDS]
        for sound, (title, language, flags) in zip(sounds, SOUNDS):
            sound.metadata.update(title=title, language=language)
            sound.disposition = flags
        words = container.add_mux_stream(subtitles)
        words.metadata["language"] = "eng"
        words.time_base = milliseconds
        if attachment:
            container.add_attachment("a.ttf", "font/ttf", b"a font")
        if cover:
            file = io.BytesIO()
            Image.new("RGB", (32, 48), "red").save(file, "JPEG")
            container.add_attachment("cover.jpg", "image/jpeg", file.getvalue())
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, "uint8"), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
            for sound in sounds:
                silence = av.AudioFrame.from_ndarray(np.zeros((2, 4800), "float32"), format="fltp", layout="stereo")
                silence.sample_rate, silence.pts = 48000, 4800 * number
                container.mux(sound.encode(silence))
        for stream in (video, *sounds):
            container.mux(stream.encode(None))
        for begin, length, text in LINES:
            packet = av.Packet(text.encode() if subtitles == "subrip" else END_OF_PGS)
            packet.pts = packet.dts = begin
            packet.duration, packet.time_base, packet.stream = length, milliseconds, words
            container.mux(packet)
    return path


def lines_of(container):
    """(begin and length in ms, words) of the subtitles of a container."""
    stream, found = container.streams.subtitles[0], []
    for packet in container.demux(stream):
        if packet.pts is not None:
            text = "".join(line.ass.decode().rsplit(",,", 1)[-1] for line in stream.decode(packet))
            unit = packet.time_base * 1000
            found.append((round(packet.pts * unit), round(packet.duration * unit), text))
    return [line for line in found if line[2]]  # MP4 fills the gaps with empty ones


def chapters_of(container):
    unit = 1000
    return [
        (round(c["start"] * c["time_base"] * unit), round(c["end"] * c["time_base"] * unit), c["metadata"]["title"])
        for c in container.chapters()
    ]


needs_tracks = pytest.mark.skipif(not hasattr(av.container.OutputContainer, "add_attachment"), reason="PyAV is older")


@needs_tracks
@pytest.mark.parametrize(
    ("suffix", "words", "lost"),
    [
        (".mkv", "srt", None),
        (".mp4", "mov_text", None),
        (".m4v", "mov_text", None),
        (".mov", "mov_text", "the cover"),
        (".webm", "webvtt", "the cover"),
    ],
)
def test_tracks_and_tags_are_kept(tmp_path, recwarn, suffix, words, lost):
    """The rows of `docs/formats.md` on tracks."""
    copy_clip(write_tracks(tmp_path / "in.mkv"), tmp_path / f"out{suffix}", 5)
    notes = [str(warning.message) for warning in recwarn.list if "encoded again" not in str(warning.message)]
    assert len(notes) == bool(lost) and all(f"is without {lost} of" in text for text in notes), notes
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert {key: container.metadata.get(key, container.metadata.get(key.upper())) for key in TAGS} == TAGS
        assert chapters_of(container) == CHAPTERS
        assert container.streams.subtitles[0].codec_context.name == words
        assert container.streams.subtitles[0].language == "eng"
        sounds = [
            (sound.metadata.get("title") or sound.metadata["handler_name"], sound.language, int(sound.disposition) & 1)
            for sound in container.streams.audio
        ]
        assert sounds == list(SOUNDS)
        assert sum(bool(stream.disposition & COVER) for stream in container.streams.video) == (0 if lost else 1)
        assert lines_of(container) == LINES


@needs_tracks
@pytest.mark.parametrize("suffix", [".avi", ".gif", ".webp", ".png"])
def test_what_a_format_cannot_hold_is_named_in_one_note(tmp_path, recwarn, suffix):
    copy_clip(write_tracks(tmp_path / "in.mkv"), tmp_path / f"out{suffix}", 5)
    (text,) = [str(warning.message) for warning in recwarn.list if "encoded again" not in str(warning.message)]
    assert all(word in text for word in ("subtitles", "chapters", "cover", "creation time", f"{suffix} holds none"))
    assert ("the sound" in text) == ("the title" in text) == (suffix != ".avi")
    assert ("names and languages" in text) == (suffix == ".avi") and text.endswith(".mkv does")


# Rows of the table in docs/formats.md, and how the note names each.
NAMES = {
    "tracks of sound, all of them": "the sound",
    "their names, languages and default flags": "the names and languages",
    "subtitles of text": "the subtitles",
    "chapters": "the chapters",
    "cover": "the cover",
    "attachments, such as fonts": "the attachment",
    "title, comment, date, copyright": "the title, the comment, the date, the copyright",
    "creation time": "the creation time",
    "make and model of the camera": "the make, the model",
    "description": "the description",
    "position (GPS), with `--keep-location`": "the location",
}


@needs_tracks
@pytest.mark.parametrize("column", range(1, 7))
def test_the_table_of_tracks_and_tags_is_true(tmp_path, recwarn, column):
    lines = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    begin = next(number for number, row in enumerate(cells) if len(row) == 7 and row[0] == "what")
    header, rows = cells[begin], {row[0]: row[column] for row in cells[begin + 2 :] if len(row) == 7}
    pictures = rows.pop("subtitles that are pictures")
    assert set(rows) == set(NAMES)
    more = {"make": "Apple", "model": "X", "description": "waves", "location": "+48.8577+002.2950/"}
    write_tracks(tmp_path / "in.mkv", attachment=True, **more)
    copy_clip(tmp_path / "in.mkv", tmp_path / f"out.{header[column]}", 5, located=True)
    lost = [str(warning.message) for warning in recwarn.list if "is without" in str(warning.message)]
    assert len(lost) == (header[column] != "mkv")
    text = "".join(lost)
    for name, cell in rows.items():
        named = all(word in text for word in NAMES[name].split(", "))
        assert (cell == "no") == (named or (name.startswith("their") and "the sound" in text)), (name, text)
    recwarn.clear()
    write_tracks(tmp_path / "in.mkv", cover=False, subtitles="hdmv_pgs_subtitle")
    copy_clip(tmp_path / "in.mkv", tmp_path / f"out.{header[column]}", 5)
    assert pictures.startswith("no") == any("the subtitles" in str(warning.message) for warning in recwarn.list)


@needs_tracks
def test_subtitles_that_are_pictures_are_named_where_the_container_holds_none(tmp_path):
    write_tracks(tmp_path / "in.mkv", cover=False, subtitles="hdmv_pgs_subtitle")
    with pytest.warns(InputNote, match=r"the subtitles \(eng, pgssub\) of .*: .mp4 holds none of it, .mkv does"):
        copy_clip(tmp_path / "in.mkv", tmp_path / "out.mp4", 5)
    copy_clip(tmp_path / "in.mkv", tmp_path / "out.mkv", 5)
    with av.open(str(tmp_path / "out.mkv")) as container:
        stream = container.streams.subtitles[0]
        assert [bytes(packet) for packet in container.demux(stream) if packet.size] == [END_OF_PGS] * 2


@needs_tracks
def test_tracks_of_a_stretch_are_counted_from_its_begin(tmp_path):
    write_tracks(tmp_path / "in.mkv")
    copy_clip(tmp_path / "in.mkv", tmp_path / "out.mp4", 5, start=0.2, end=0.7)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert chapters_of(container) == [(0, 200, "one"), (200, 500, "two")]
        assert lines_of(container) == [(0, 200, "Hello"), (400, 100, "you")]


@needs_tracks
def test_no_more_chapters_than_are_quick_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(tracks, "MOST_CHAPTERS", 1)
    write_tracks(tmp_path / "in.mkv", cover=False)
    with pytest.warns(InputNote, match=r"in.mkv has 2 chapters: the first 1 are kept") as notes:
        copy_clip(tmp_path / "in.mkv", tmp_path / "out.mkv", 5)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert chapters_of(container) == CHAPTERS[:1] and len(notes) == 1


@needs_tracks
def test_a_cover_alone_is_no_film(tmp_path):
    write_tracks(tmp_path / "in.mkv")
    with av.open(str(tmp_path / "in.mkv")) as source, av.open(str(tmp_path / "a.mp4"), "w") as target:
        cover = next(stream for stream in source.streams.video if stream.disposition & COVER)
        sound = target.add_stream_from_template(source.streams.audio[0])
        picture = target.add_stream_from_template(cover, opaque=True)
        picture.disposition = COVER
        for packet in source.demux(source.streams.audio[0], cover):
            if packet.size:
                packet.stream = sound if packet.stream.type == "audio" else picture
                packet.pts, packet.dts = packet.pts or 0, packet.dts or 0
                target.mux(packet)
    with pytest.raises(InputError, match="a.mp4 holds no video"):
        open_clip(tmp_path / "a.mp4")


def test_the_tags_of_a_silent_clip_and_of_a_phone(tmp_path):
    write_clip(tmp_path / "in.mp4", [0, 40], **TAGS)
    copy_clip(tmp_path / "in.mp4", tmp_path / "out.mp4", 4)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert {key: container.metadata.get(key) for key in TAGS} == TAGS
    place = "+48.8577+002.2950+035/"
    apple = {
        "com.apple.quicktime.location.ISO6709": place,
        "com.apple.quicktime.creationdate": "2024-05-06T10:11:12+0200",
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.content.identifier": "secret",
    }
    expected = {"date": "2024-05-06T10:11:12+0200", "make": "Apple"}
    assert clip_tags(apple) == (expected, {"location": place})
    assert clip_tags({"LOCATION": place, "TITLE": "Sea"}) == ({"title": "Sea"}, {"location": place})


# Pictures that move ---------------------------------------------------------------------------------------------------

SAVE = {".gif": {"disposal": 2}, ".webp": {"lossless": True}, ".png": {}}
COLOURS = [(250, 20, 20), (20, 240, 20), (20, 20, 230), (240, 240, 20)]
LENGTHS = [100, 300, 50, 200]


def write_moving(path, loop=3, mode="RGB", **options):
    """A picture that moves, by Pillow."""
    frames = [Image.new(mode, (48, 32), (*colour, 255)[: len(mode)]) for colour in COLOURS]
    for frame in frames:
        frame.paste((0, 0, 0, 0)[: len(mode)], (0, 0, 8, 8))
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=LENGTHS, loop=loop, **SAVE[path.suffix], **options
    )
    return path


def read_moving(path):
    """(colours in the middle, milliseconds, loop) of a picture that moves, by Pillow."""
    colours, lengths = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            colours.append(np.array(image.convert("RGB"))[20, 30])
            lengths.append(image.info["duration"])
        return np.array(colours, int), lengths, image.info.get("loop")


@pytest.mark.parametrize("source", SAVE)
@pytest.mark.parametrize("target", SAVE)
def test_pictures_that_move_keep_their_frames_times_and_loops(tmp_path, source, target):
    """Rows of `docs/formats.md`. GIF counts how often its frames are repeated, the others how often they are shown."""
    write_moving(tmp_path / f"in{source}")
    copy_clip(tmp_path / f"in{source}", tmp_path / f"out{target}", 3)
    colours, lengths, loop = read_moving(tmp_path / f"out{target}")
    assert lengths == LENGTHS and np.abs(colours - COLOURS).max() < 12
    assert loop == 3 + (source == ".gif") - (target == ".gif")


@pytest.mark.parametrize("target", [".mp4", ".mkv", ".webm", ".avi"])
def test_pictures_that_move_become_videos(tmp_path, target):
    write_moving(tmp_path / "in.webp")
    copy_clip(tmp_path / "in.webp", tmp_path / f"out{target}", 3, constant_rate=target == ".avi")
    clip = open_clip(tmp_path / f"out{target}")
    frames = list(clip.frames())
    begins = [round(frame.pts * clip.time_base * 1000) for frame in frames]
    if target == ".avi":
        assert begins == list(range(0, sum(LENGTHS), min(LENGTHS)))
        frames = [frames[begins.index(begin)] for begin in (0, 100, 400, 450)]
    else:
        assert begins == [0, 100, 400, 450]
    assert np.abs([frame.image[20, 30].astype(int) for frame in frames] - np.array(COLOURS)).max() < 25


@pytest.mark.parametrize("suffix", SAVE)
def test_stretches_and_rates_of_a_picture_that_moves(tmp_path, suffix):
    path = write_moving(tmp_path / f"in{suffix}")
    frames = list(open_clip(path, start=0.2, end=0.42).frames())
    assert [(frame.pts, frame.duration) for frame in frames] == [(0, 200), (200, 20)]
    assert [tuple(frame.image[20, 30]) for frame in frames] == COLOURS[1:3]
    shown = [tuple(frame.image[20, 30]) for frame in open_clip(path, fps=10).frames()]
    assert shown == [COLOURS[number] for number in (0, 1, 1, 1, 2, 3, 3)]
    assert [frame.pts for frame in open_clip(path).frames(after=100)] == [400, 450]
    with pytest.raises(InputError, match=r"is 0.65 s long, and is to start at 2 s"):
        open_clip(path, start=2)


@pytest.mark.parametrize("source", SAVE)
@pytest.mark.parametrize("target", [*SAVE, ".webm"])
def test_transparent_parts_of_a_picture_that_moves_are_kept(tmp_path, source, target):
    clip = open_clip(write_moving(tmp_path / f"in{source}", mode="RGBA"))
    frames = list(clip.frames())
    assert clip.has_alpha and all((frame.image[:7, :7] == 255).all() for frame in frames)
    assert [tuple(frame.image[20, 30]) for frame in frames] == COLOURS
    alpha = np.full((32, 48), 255, "uint8")  # what was hidden is visible now, and the other way round
    alpha[10:20, 8:24] = 0
    frames[1] = frames[1]._replace(alpha=alpha)
    part = tmp_path / "part"
    with part_writer(part, video_format(tmp_path / f"out{target}").with_alpha(), clip) as writer:
        for frame in frames:
            writer.write(np.dstack([frame.image, frame.alpha]), frame.pts)
    join_parts([part], frames[-1].pts + frames[-1].duration, tmp_path / f"out{target}", clip)
    copies = list(open_clip(tmp_path / f"out{target}").frames())
    assert len(copies) == len(frames)
    for frame, copy in zip(frames, copies):
        assert np.abs(copy.alpha.astype(int) - frame.alpha).mean() < (8 if target == ".webm" else 0.1)
        assert np.abs(copy.image[20, 30].astype(int) - frame.image[20, 30]).max() < 12


def comment(text):
    found = PngImagePlugin.PngInfo()
    found.add_text("comment", text)
    return found


def test_pages_do_not_move_and_stills_do_not(tmp_path):
    pages = [Image.new("RGB", (32, 32), colour) for colour in COLOURS]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.webp")
    pages[0].save(tmp_path / "a.png", pnginfo=comment("acTL"))
    (tmp_path / "a.txt").write_text("GIF89a")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    stills = ("a.tif", "a.webp", "a.png", "cut.png", "a.txt", "missing.gif", ".")
    assert not any(is_moving(tmp_path / name) for name in stills)
    assert tuple(read_image(tmp_path / "a.tif")[0, 0]) == COLOURS[0]
    with pytest.warns(InputNote, match="in.webp: it moves: its first frame is taken"):
        assert np.abs(read_image(write_moving(tmp_path / "in.webp"))[20, 30, :3] - np.array(COLOURS[0])).max() < 3


def test_damaged_and_hostile_pictures_that_move(tmp_path, monkeypatch):
    path = write_moving(tmp_path / "in.gif")
    (tmp_path / "cut.gif").write_bytes(path.read_bytes()[:-60])
    clip = open_clip(tmp_path / "cut.gif")
    assert 1 <= len(list(clip.frames())) <= 4
    monkeypatch.setattr(decoding, "MOST_FRAMES", 3)
    with pytest.raises(InputError, match=r"in.gif has 4 frames of 48 x 32 pixels, expected 3 at most"):
        open_clip(path)
