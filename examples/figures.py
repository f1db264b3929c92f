"""Make the pictures in examples/figures with the bundled models: python examples/figures.py [VGG19]

- regions.jpg: each region of a content in the style of the region of the same colour (paper, figure 10)
- interpolation.jpg: mixtures of four styles (paper, figure 8)
- strength.jpg: a content; strength 0, 0.25, 0.5, 0.75 and 1; strength 1 in the colours of the content
- failures.jpg: what the bundled image model does badly (pretrained/README.md)
- video.gif: a clip beside the same clip, stylized by the video model
- full_width.jpg: contents, styles, and pictures of the small model and of the paper's width; where a file of VGG-19 is
  given, which that width needs
"""

import sys
import tempfile
from pathlib import Path

import ppadaattn
from ppadaattn.media.drawing import fill_polygon, paint_mask, show_regions
from ppadaattn.media.images import read_image, scale_to, sheet, write_image
from ppadaattn.model.style import Style

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent
FIGURES = EXAMPLES / "figures"
QUALITY = 85  # of JPEG; write_image's 95 makes files twice as large without a visible difference

RED, GREEN, BLUE = (255, 30, 30), (0, 200, 60), (30, 60, 255)

# Corners, x,y in pixels, of outlines in content/landscape.jpg and style/brush_strokes.jpg.
MOUNTAINS = (
    "0,182 38,150 84,122 138,106 160,108 178,132 204,134 238,100 286,70 312,104 342,100 364,140 402,176 462,196 "
    "510,178 552,144 576,138 600,156 648,150 672,104 710,48 744,26 768,48 768,208 0,208"
)
GRASS = "0,450 120,470 250,492 440,490 560,472 640,455 768,437 768,512 0,512"
FOREST = "0,208 768,208 768,290 0,290"
FIRS = ("40,205 95,465 0,465", "100,298 145,475 70,475", "656,292 690,460 620,460", "718,150 768,260 768,450 660,450")
SWIRLS = "0,0 310,0 330,130 400,170 512,150 512,250 230,270 190,150 80,150 0,190"
TREE = "90,160 150,160 215,300 120,340 30,290"
FIELD = "0,325 512,325 512,512 0,512"

FRAMES, FRAME_SIDE, FRAME_RATE = 28, 160, 10


def example(name):
    """An example picture, as an array."""
    return read_image(EXAMPLES / f"{name}.jpg")


def save(name, rows, cell):
    """Write rows of pictures, None for a gap, as one picture; each is reduced to a long side of `cell` pixels."""
    places = {(r, c): picture for r, row in enumerate(rows) for c, picture in enumerate(row) if picture is not None}
    Image.fromarray(sheet(places, cell)).save(FIGURES / f"{name}.jpg", quality=QUALITY)


def inside(picture, *outlines):
    """The inside of outlines: bool H x W."""
    corners = ([tuple(map(int, corner.split(","))) for corner in outline.split()] for outline in outlines)
    return np.any([fill_polygon(picture.shape[:2], points) for points in corners], axis=0)


def regions(stylizer):
    """Content and style with their regions; stylized without regions, with them, and with two of them exchanged."""
    landscape, strokes = example("content/landscape"), example("style/brush_strokes")
    rocks, woods = inside(landscape, MOUNTAINS, GRASS), inside(landscape, FOREST, *FIRS)
    everything = np.ones_like(rocks)  # rocks and woods are painted over it; sky and lake remain
    mask = paint_mask({RED: everything, BLUE: rocks, GREEN: woods})
    exchanged = paint_mask({BLUE: everything, RED: rocks, GREEN: woods})
    style_mask = paint_mask({RED: inside(strokes, SWIRLS), GREEN: inside(strokes, TREE), BLUE: inside(strokes, FIELD)})
    style = stylizer.prepare_style(strokes, mask=style_mask)
    sources = [landscape, show_regions(landscape, mask), np.hstack([strokes, show_regions(strokes, style_mask)])]
    save("regions", [sources, [stylizer(landscape, style, mask=given) for given in (None, mask, exchanged)]], 389)


def interpolation(stylizer, side=4):
    """Mixtures of the four styles beside the corners: the nearer a corner, the more of its style."""
    content = scale_to(example("content/landscape")[:432, 180:612], 384)
    pictures = [example(f"style/{name}") for name in ("brush_strokes", "pointillism", "woodcut", "stained_glass")]
    styles = [stylizer.prepare_style(picture) for picture in pictures]
    rows = []
    for down in np.linspace(0, 1, side):
        weights = [[(1 - down) * (1 - r), (1 - down) * r, down * (1 - r), down * r] for r in np.linspace(0, 1, side)]
        rows.append([None, *(stylizer(content, Style.mix(styles, shares)) for shares in weights), None])
    rows[0][0], rows[0][-1], rows[-1][0], rows[-1][-1] = pictures
    save("interpolation", rows, 190)


def strength(stylizer):
    """From the content to the style, and the style in the colours of the content."""
    content, style = example("content/landscape")[40:472, 190:478], example("style/pointillism")
    row = [content, *(stylizer(content, style, strength=share) for share in (0, 0.25, 0.5, 0.75, 1))]
    save("strength", [[*row, stylizer(content, style, preserve_color=True)]], 243)


def grid_of_colours(side=512):
    """A style of a few large shapes: black bars around white, red, blue and yellow rectangles."""
    picture = np.full((side, side, 3), 245, np.uint8)
    for colour, (left, top, right, bottom) in (
        ((215, 25, 30), (180, 0, 512, 330)),
        ((20, 60, 160), (0, 345, 165, 512)),
        ((245, 215, 30), (440, 430, 512, 512)),
    ):
        picture[top:bottom, left:right] = colour
    for left, top, right, bottom in ((165, 0, 180, 512), (0, 330, 512, 345), (0, 150, 165, 165), (425, 345, 440, 512)):
        picture[top:bottom, left:right] = 15
    return picture


def failures(stylizer):
    """Content, style and picture: blots in a flat sky; a grid, of which colours come and the shapes do not."""
    landscape, still_life = example("content/landscape"), example("content/still_life")
    pairs = ((landscape, example("style/woodcut")), (still_life, grid_of_colours()))
    save("failures", [[content, style, stylizer(content, style)] for content, style in pairs], 320)


def full_width(small, full):
    """Content, style, and the pictures of both models."""
    names = (("landscape", "wave_print"), ("still_life", "stained_glass"), ("landscape", "ink_wash"))
    pairs = [(example(f"content/{content}")[:, 128:640], example(f"style/{style}")) for content, style in names]
    save("full_width", [[content, style, small(content, style), full(content, style)] for content, style in pairs], 300)


def video(stylizer):
    """A camera that sways before a mountain and returns to its first position, so that the animation repeats."""
    landscape = Image.fromarray(example("content/landscape"))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(FRAMES):
            angle = 2 * np.pi * number / FRAMES
            side, x, y = 330 + 40 * np.cos(angle), 290 + 70 * np.sin(angle), 200 + 10 * np.cos(angle)
            box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
            frame = landscape.resize((FRAME_SIDE, FRAME_SIDE), Image.LANCZOS, box)
            write_image(Path(folder, f"{number:03d}.png"), np.asarray(frame))
        glass = stylizer.prepare_style(EXAMPLES / "style" / "stained_glass.jpg", style_size=256)  # finer strokes
        stylizer.stylize_video(folder, glass, FIGURES / "video.gif", fps=FRAME_RATE, preview=True)


if __name__ == "__main__":
    FIGURES.mkdir(exist_ok=True)
    image_model = ppadaattn.load("adaattn_lite_image")
    for figure in (regions, interpolation, strength, failures):
        figure(image_model)
    video(ppadaattn.load("adaattn_lite_video"))
    if sys.argv[1:]:
        full_width(image_model, ppadaattn.load("adaattn_image", encoder=sys.argv[1]))
