"""The configuration of a report, `tools/evaluate.py report`: every key, its type and what it means.

A default or a list of choices that other code has too is stated there and read from it here.
"""

from dataclasses import dataclass, field
from typing import List, Optional

from ppadaattn.config import option, option_of
from ppadaattn.evaluation.methods import Method
from ppadaattn.evaluation.report import TITLES
from ppadaattn.evaluation.speed import measure
from ppadaattn.evaluation.temporal import FLOWS, read_clip
from ppadaattn.infer.stylizer import STYLE_SIZE


@dataclass
class Sheets:
    """Contact sheets: a row for each pair of a content (or clip) and a style, a column for each method."""

    # Rows at most; the first content goes with the first style, and so on, the shorter list again from its beginning.
    rows: int = option(8, least=1)
    # Contents and styles at most of another sheet: all their pairs by the first method; 0: no such sheet.
    combinations: int = option(6, least=0)
    # Long side of the pictures that are painted, and side of a cell, in pixels.
    size: int = option(512, least=16)
    cell: int = option(192, least=16)


@dataclass
class FlowError:
    """The optical-flow error of table 2."""

    # Frames of each clip, at most, and their long side in pixels (0: as they are).
    frames: int = option(12, least=2)
    size: int = option(512, least=0)
    # computed: by OpenCV from the frames. truth: read, for clips in the folders of MPI Sintel; needs size 0.
    flow: str = option_of(read_clip, "flow", choices=FLOWS)


@dataclass
class Quality:
    """Losses, distances and dead channels, all contents in all styles."""

    # Long side of contents and of styles, in pixels.
    size: int = option(256, least=16)


@dataclass
class Speed:
    """Time and memory, as in table 1."""

    # WIDTHxHEIGHT of the content; the style is as large.
    sizes: List[str] = option(["256x256", "512x256", "512x512", "1024x1024"])
    # Runs of which the median is taken, after one to warm up.
    runs: int = option_of(measure, "runs", least=1)
    # Seconds: a method whose first run takes longer is given up, and not run at larger sizes.
    limit: float = option_of(measure, "limit", above=0)


@dataclass
class Report:
    """A report."""

    title: str = "Comparison of methods"
    parts: List[str] = option(tuple(TITLES), choices=TITLES)
    # The first one is what the others' times are compared with.
    methods: List[Method] = option([])
    # Pictures: files, folders, globs. Clips: video files and folders of frames.
    contents: List[str] = option([])
    styles: List[str] = option([])
    clips: List[str] = option([])
    # A folder of pictures that another network has painted, with content/, style/ and painted/.
    targets: Optional[str] = None
    # Long side to which styles are reduced for sheets and clips.
    style_size: int = option(STYLE_SIZE, least=16)
    # VGG-19 for `quality`, as for a training. null: from the cache, where it is downloaded to.
    encoder_weights: Optional[str] = None
    # cpu, gpu or gpu:N; null: a GPU where one works.
    device: Optional[str] = None
    sheets: Sheets = field(default_factory=Sheets)
    flow: FlowError = field(default_factory=FlowError)
    quality: Quality = field(default_factory=Quality)
    speed: Speed = field(default_factory=Speed)
