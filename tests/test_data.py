"""Training data: what a sample is made of, and that it depends on seed and index alone."""

import os
import shutil

from ppadaattn.errors import InputError
from ppadaattn.media import video_read
from ppadaattn.train.config import TrainData
from ppadaattn.train.data import Clips, Cropper, MissingInputError, Photos, Samples, batches, find_files, resize

import numpy as np
import pytest
from PIL import Image


def write(path, array, **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **save)
    return path


def ramp(height, width):
    """A picture whose pixel tells its place: red is the column, green the row."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, 0 * x], -1).astype("uint8")


@pytest.fixture
def data(tmp_path, rng):
    """TrainData of 5 contents, at several depths, and 3 styles."""
    for number, folder in enumerate(["a", "a/b", "a/b/c", "d", "."]):
        write(tmp_path / "content" / folder / f"{number}.png", rng.randint(0, 256, (40, 50, 3)).astype("uint8"))
    for number in range(3):
        write(tmp_path / "style" / f"{number}.png", rng.randint(0, 256, (33, 60, 3)).astype("uint8"))
    roots = {"content_root": str(tmp_path / "content"), "style_root": str(tmp_path / "style")}
    return TrainData(load_size=36, crop_size=32, batch_size=2, **roots)


def test_files_at_any_depth_through_links_but_not_hidden_ones(tmp_path, data):
    content = tmp_path / "content"
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(content / "4.png", tmp_path / "elsewhere" / "5.PNG")
    os.symlink(tmp_path / "elsewhere", content / "linked")
    os.symlink(content, content / "a" / "back")  # leads back, and is followed once
    shutil.copy(content / "4.png", content / ".hidden.png")
    (content / "notes.txt").write_text("not a picture")
    names = [path.name for path in find_files(content)]
    assert sorted(names) == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.PNG"]


def test_a_sample_is_a_crop_of_the_resized_picture(data):
    samples = Samples(data, 1, seed=0)
    sample = samples[0]
    assert sample["content"].shape == (1, 32, 32, 3) and sample["style"].shape == (32, 32, 3)
    loaded = [resize(np.asarray(Image.open(path)), 36, 36) for path in samples.contents.items]
    windows = [image[y : y + 32, x : x + 32] for image in loaded for y in range(5) for x in range(5)]
    assert any((window == sample["content"][0]).all() for window in windows)


def test_samples_depend_on_seed_and_index_alone(data):
    first, again, other = (Samples(data, 1, seed) for seed in (1, 1, 2))
    forwards = [first[index] for index in range(12)]
    backwards = [again[index] for index in reversed(range(12))][::-1]
    for a, b in zip(forwards, backwards):
        assert (a["content"] == b["content"]).all() and (a["style"] == b["style"]).all()
    assert any((first[i]["content"] != other[i]["content"]).any() for i in range(5))


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_batches_do_not_depend_on_the_number_of_threads(data, workers):
    samples = Samples(data, 1, seed=3)
    stream = batches(samples, 4, 2, workers)
    for first in (4, 6, 8):
        batch = next(stream)
        assert batch["content"].shape == (2, 3, 32, 32) and batch["content"].dtype == np.float32
        for i in range(2):
            expected = samples[first + i]["content"][0].transpose(2, 0, 1) / 255
            np.testing.assert_allclose(batch["content"][i], expected, rtol=1e-6)
            np.testing.assert_allclose(
                batch["style"][i], samples[first + i]["style"].transpose(2, 0, 1) / 255, rtol=1e-6
            )
    stream.close()


def test_processes_share_the_samples_of_one(data):
    samples = Samples(data, 1, seed=3)
    one = batches(samples, 0, 4, 1)
    two = [batches(samples, 2 * rank, 2, 1, step=4) for rank in (0, 1)]
    for _ in range(3):
        together = np.concatenate([next(stream)["content"] for stream in two])
        assert (next(one)["content"] == together).all()
    for stream in (one, *two):
        stream.close()


def test_each_picture_comes_once_before_any_comes_again(data, monkeypatch):
    samples = Samples(data, 1, seed=0)
    monkeypatch.setattr(samples.contents, "read", lambda item, frames, rng: [np.full((40, 40, 3), item, "uint8")])
    seen = [int(samples[index]["content"][0, 0, 0, 0]) for index in range(15)]
    assert all(sorted(seen[start : start + 5]) == [0, 1, 2, 3, 4] for start in (0, 5, 10))
    assert len({tuple(seen[start : start + 5]) for start in (0, 5, 10)}) > 1


def test_files_that_cannot_be_used_are_skipped_and_counted(tmp_path, data):
    (tmp_path / "content" / "broken.jpg").write_bytes(b"no picture")
    write(tmp_path / "content" / "tiny.png", np.zeros((8, 8, 3), "uint8"))
    samples = Samples(data, 1, seed=0)
    for index in range(len(samples.contents)):
        assert samples[index]["content"].shape == (1, 32, 32, 3)
    assert sorted(os.path.basename(name) for name in samples.skipped) == ["broken.jpg", "tiny.png"]
    assert "is not a picture" in samples.skipped[str(tmp_path / "content" / "broken.jpg")]


def test_pictures_smaller_than_the_crop_are_named(data):
    data.load_size, data.crop_size = 0, 256
    with pytest.raises(
        InputError, match=r"cannot be used, for instance .*content.*: 50 x 40 pixels are fewer than the"
    ):
        Samples(data, 1, seed=0)[0]


@pytest.mark.parametrize("flip", [False, True])
def test_two_crops_of_one_photo_are_near_each_other(flip):
    """In a picture that tells places, the second crop is at most `shift` away and, without zoom, of the same scale."""
    crop = Cropper(TrainData(load_size=0, crop_size=40, shift=8, zoom=0.0, flip=flip))
    picture, distances, flipped = ramp(100, 120), [], 0
    for seed in range(40):
        first, second = crop([picture], np.random.RandomState(seed), moved=True)
        assert first.shape == second.shape == (40, 40, 3)
        backwards = int(first[0, 0, 0]) > int(first[0, 1, 0])
        flipped += backwards
        if backwards:
            first, second = first[:, ::-1], second[:, ::-1]
        assert (np.diff(second[0, :, 0].astype(int)) == 1).all()
        distances.append((second[0, 0].astype(int) - first[0, 0])[:2])
    assert np.abs(distances).max() == 8 and len({tuple(d) for d in distances}) > 20
    assert flipped == 0 if not flip else 5 < flipped < 35


def test_the_second_crop_is_zoomed_and_inside():
    crop = Cropper(TrainData(load_size=0, crop_size=40, shift=30, zoom=0.25))
    picture, widths = ramp(60, 60), []
    for seed in range(30):
        _, second = crop([picture], np.random.RandomState(seed), moved=True)
        widths.append(int(second[0, -1, 0]) - int(second[0, 0, 0]))
    assert 28 < min(widths) < 36 and 44 < max(widths) < 52


def test_aspect_is_kept_or_not():
    picture, place = ramp(60, 120), np.random.RandomState(0)
    kept = Cropper(TrainData(load_size=30, crop_size=30, keep_aspect=True))([picture], place)[0]
    squeezed = Cropper(TrainData(load_size=30, crop_size=30))([picture], place)[0]
    assert int(kept[0, -1, 0]) - int(kept[0, 0, 0]) < 62 and int(squeezed[0, -1, 0]) - int(squeezed[0, 0, 0]) > 110


# ---------------------------------------------------------------------------------------------------------------------
# Clips
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clips(tmp_path):
    """A folder with a clip of six frames, each of its number's grey, in folders."""
    for number in range(6):
        write(tmp_path / "clips" / "one" / f"{number:03d}.png", np.full((40, 40, 3), 40 * number, "uint8"))
    return tmp_path / "clips"


@pytest.mark.parametrize("gap", [1, 3])
def test_two_frames_of_a_folder_are_at_most_the_gap_apart(clips, gap):
    source = Clips(str(clips), "key", gap)
    gaps = set()
    for seed in range(40):
        first, second = source.read(0, 2, np.random.RandomState(seed))
        gaps.add((int(second[0, 0, 0]) - int(first[0, 0, 0])) // 40)
    assert gaps == set(range(1, gap + 1)) and len(source.read(0, 1, np.random.RandomState(0))) == 1


def test_frames_of_a_clip_are_cropped_at_one_place(tmp_path, data):
    for number in range(3):
        write(tmp_path / "clips" / "one" / f"{number}.png", ramp(60, 70))
    data.content_kind, data.content_root, data.load_size = "clips", str(tmp_path / "clips"), 0
    content = Samples(data, 2, seed=0)[0]["content"]
    assert (content[0] == content[1]).all() and content.shape == (2, 32, 32, 3)


def write_video(path, count=30, size=(64, 64), rate=10):
    """A video whose frame n is grey of value 8 n; keyframes are ten frames apart. Skips where PyAV is missing."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height = size
        stream.gop_size = 10
        for number in range(count):
            grey = np.full((size[1], size[0], 3), 8 * number % 256, "uint8")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_frames_of_a_folder_follow_their_numbers(tmp_path):
    """Frames 1, 2, 3, 10 come in this order, not as their names are sorted; black, then lighter by 40 each."""
    for place, number in enumerate((1, 2, 3, 10)):
        write(tmp_path / "clips" / "one" / f"frame{number}.png", np.full((40, 40, 3), 40 * place, "uint8"))
    source, seen = Clips(str(tmp_path / "clips"), "key", 1), set()
    for seed in range(40):
        first, second = (int(frame[0, 0, 0]) for frame in source.read(0, 2, np.random.RandomState(seed)))
        assert second - first == 40
        seen.add(first)
    assert seen == {0, 40, 80}


def test_frames_of_a_folder_are_laid_on_white(tmp_path):
    for number in (1, 2):
        write(tmp_path / "clips" / "one" / f"{number}.png", np.zeros((40, 40, 4), "uint8"))
    (frame,) = Clips(str(tmp_path / "clips"), "key").read(0, 1, np.random.RandomState(0))
    assert frame.shape == (40, 40, 3) and (frame == 255).all()


def test_frames_of_a_video(tmp_path):
    path = write_video(tmp_path / "clips" / "grey.mp4")
    source, seen = Clips(str(path.parent), "key", 2), []
    for seed in range(30):
        first, second = source.read(0, 2, np.random.RandomState(seed))
        assert first.shape == second.shape == (64, 64, 3)
        assert 3 < second.mean() - first.mean() < 24  # steps of 8, one or two, less exactly after compression
        seen.append(round(first.mean() / 8))
    assert max(seen) > 20 and min(seen) < 8 and len(set(seen)) > 10
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"grey\.mp4 cannot be read as a video"):
        Clips(str(path.parent), "key", 2).read(0, 2, np.random.RandomState(0))


def test_a_rotation_flag_of_a_video_is_obeyed(tmp_path):
    """As `media.video_read` shows the video; the training used to see it as it lies in the file."""
    path = write_video(tmp_path / "clips" / "phone.mp4", count=5, size=(64, 32))
    content = path.read_bytes()
    place = content.index(b"tkhd") + 40  # of the matrix in the track's header: a quarter turn
    numbers = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    matrix = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(content[:place] + matrix + content[place + len(matrix) :])
    (frame,) = Clips(str(path.parent), "key").read(0, 1, np.random.RandomState(0))
    assert frame.shape == (64, 32, 3)


def test_a_sample_of_a_long_video_decodes_only_around_its_frames(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clips" / "long.mp4", count=300)
    source = Clips(str(path.parent), "key")
    everything = list(video_read.open_clip(path).frames())
    decoded, decode = [], video_read.VideoFile._decode

    def counted(*arguments):
        for frame in decode(*arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(video_read.VideoFile, "_decode", counted)
    source.read(0, 2, np.random.RandomState(0))  # the first look also opens the clip
    for seed in range(1, 9):
        decoded.clear()
        first, second = source.read(0, 2, np.random.RandomState(seed))
        assert len(decoded) <= 30  # a second and the way from a keyframe, not up to 300
        matches = [i for i, frame in enumerate(everything) if (frame.image == first).all()]
        assert any((everything[i + 1].image == second).all() for i in matches if i + 1 < len(everything))


def test_samples_of_clips_depend_on_seed_and_index_alone(tmp_path, clips, data):
    write_video(clips / "grey.mp4")
    data.content_kind, data.content_root, data.frame_gap = "clips", str(clips), 3
    first, again = (Samples(data, 2, seed=1) for _ in range(2))
    forwards = [first[index] for index in range(8)]
    backwards = [again[index] for index in reversed(range(8))][::-1]
    for a, b in zip(forwards, backwards):
        assert (a["content"] == b["content"]).all() and (a["style"] == b["style"]).all()


def test_a_video_of_one_frame_is_no_clip(tmp_path):
    path = write_video(tmp_path / "clips" / "still.mp4", count=1)
    source = Clips(str(path.parent), "key")
    assert len(source.read(0, 1, np.random.RandomState(0))) == 1
    with pytest.raises(InputError, match=r"still\.mp4 has one frame; a clip needs at least two"):
        source.read(0, 2, np.random.RandomState(0))


@pytest.mark.parametrize(
    "kind, prepare, sentence",
    [
        (Photos, None, "key: there is no folder .*folder; expected a folder of pictures .*any depth"),
        (Photos, "empty", "key: the folder .*folder holds no pictures; expected pictures"),
        (Clips, "empty", "key: the folder .*folder holds no clip; expected clips: folders of frames"),
        (Clips, "single", r"holds no clip \(in .*one there is only one frame; a clip needs two\)"),
    ],
)
def test_folders_that_do_not_hold_what_they_should(tmp_path, kind, prepare, sentence):
    folder = tmp_path / "folder"
    if prepare:
        folder.mkdir()
    if prepare == "single":
        write(folder / "one" / "0.png", ramp(20, 20))
    with pytest.raises(InputError, match=sentence):
        kind(str(folder), "key")


def test_a_root_that_is_not_set():
    with pytest.raises(InputError, match=r"dataset\.train\.style_root is not set; set it to a folder of pictures"):
        Photos(None, "dataset.train.style_root")


def test_both_folders_that_are_missing_are_named():
    with pytest.raises(InputError) as error:
        Samples(TrainData("/nowhere", None), 1, seed=0)
    assert len(error.value.errors) == 2 and all(isinstance(one, MissingInputError) for one in error.value.errors)
    assert str(error.value).startswith(
        "2 things are missing or wrong:\n  - dataset.train.content_root: there is no folder /nowhere; expected"
    )
