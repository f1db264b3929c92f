"""Draw the example pictures by code: python examples/draw.py [NAME ...] [--output FOLDER] [--scale FLOAT].

Each picture is a function of the size of its sheet alone, so it comes out the same every time. It is drawn at twice its
size and then reduced, which smooths the edges. Images are H x W x 3 float32 RGB in [0, 1] and masks H x W float32 in
[0, 1]. Positions are (x, y) in units of the picture's height: y runs from 0 (top) to 1, x from 0 to width / height.
"""

import argparse
import os
import sys
from typing import Callable, NamedTuple, Tuple

import cv2
import numpy as np

SIZES = {"content": (512, 768), "style": (512, 512)}  # height, width
OVERSAMPLING = 2
JPEG_QUALITY = 92


# Colours and masks


def rgb(code):
    """Turn "#rrggbb" into three numbers in [0, 1]."""
    return np.float32([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def ramp(values, codes):
    """Colour values in [0, 1] by interpolating evenly spaced colours, given as "#rrggbb #rrggbb ..."."""
    colours = np.stack([rgb(code) for code in codes.split()])
    levels = np.linspace(0, len(colours) - 1, 1024)
    shades = np.stack([np.interp(levels, np.arange(len(colours)), channel) for channel in colours.T], axis=-1)
    return shades.astype(np.float32)[(np.clip(values, 0, 1) * 1023).astype(np.int32)]


def mix(first, second, weight):
    """Blend two images or colours, going from first to second as the H x W weight goes from 0 to 1."""
    return first + (second - first) * weight[..., None]


def smoothstep(low, high, values):
    """Rise smoothly from 0 at low to 1 at high (or fall, where high < low)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def blur(image, radius):
    """Gaussian blur with a standard deviation of radius."""
    return cv2.GaussianBlur(image, (0, 0), max(radius * image.shape[0], 0.3))


def depth_inside(mask):
    """Distance of each pixel inside a mask from the mask's edge."""
    return cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / mask.shape[0]


def edges(labels, thickness):
    """Mask of the lines between regions of different labels."""
    same = np.ones(labels.shape, np.uint8)
    same[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    same[1:] &= labels[1:] == labels[:-1]
    distance = cv2.distanceTransform(same, cv2.DIST_L2, 5)
    return np.clip(thickness * labels.shape[0] / 2 - distance + 0.5, 0, 1)


def warp(image, x_shift, y_shift):
    """Sample the image at each pixel's position plus a shift, mirrored at the borders."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    maps = ((places + shift * height).astype(np.float32) for places, shift in ((columns, x_shift), (rows, y_shift)))
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


# Textures that repeat without a seam


def seamless(random, grain, size=512):
    """Smooth noise of mean 0 and deviation 1, size x size; the grain is the width of its bumps in pixels."""
    pad = 4 * grain
    rough = np.pad(random.standard_normal((size, size)).astype(np.float32), pad, mode="wrap")
    smooth = cv2.GaussianBlur(rough, (0, 0), grain)[pad:-pad, pad:-pad]
    return (smooth - smooth.mean()) / smooth.std()


def sample(texture, columns, rows):
    """Interpolate a texture at positions in pixels, given as two arrays of one shape."""
    count = columns.size
    places = np.zeros((count // 256 + 1, 256, 2), np.float32)  # OpenCV takes no rows of more than 32767
    for axis, place in enumerate((columns, rows)):
        size = texture.shape[1 - axis]
        places.reshape(-1, 2)[:count, axis] = (place - size * np.floor(place / size)).ravel()
    values = cv2.remap(texture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return values.ravel()[:count].reshape(columns.shape)


def lookup(texture, x, y):
    """Interpolate a texture at positions in units of its size."""
    return sample(texture, x * texture.shape[1], y * texture.shape[0])


# Outlines


def table(text):
    """Read rows of numbers, in hundredths: "30,50 42,46" becomes [[0.30, 0.50], [0.42, 0.46]]."""
    return np.float32([[float(number) / 100 for number in row.split(",")] for row in text.split()])


def curve(points, samples=12, closed=False):
    """Run a smooth (Catmull-Rom) curve through the points; returns N x 2."""
    points = np.asarray(points, np.float32)
    before, after = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    padded = np.concatenate([before, points, after])
    t = np.linspace(0, 1, samples, endpoint=False, dtype=np.float32)[:, None]
    pieces = [] if closed else [points[-1:]]
    for i in range(len(padded) - 3, 0, -1):
        a, b, c, d = padded[i - 1 : i + 3]
        pieces.insert(0, b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.concatenate(pieces)


def ellipse(x, y, x_radius, y_radius):
    """Outline of an ellipse, 64 x 2."""
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack([x + x_radius * np.cos(turn), y + y_radius * np.sin(turn)], -1)


def to_pixels(points, height):
    """Turn positions into the fixed-point pixel numbers (4 binary digits) that OpenCV's drawing takes."""
    return np.round(np.asarray(points, np.float32) * height * 16).astype(np.int32)


class Sheet:
    """What a picture is drawn on: its size, the position of each pixel's centre (x and y, H x W), and its chance."""

    def __init__(self, height, width, seed):
        self.height, self.width = height, width
        self.random = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        self.x, self.y = (columns + 0.5) / height, (rows + 0.5) / height
        self.columns = self.x[0]

    def noise(self, cells, octaves=5, stretch=1.0, height=None):
        """Fractal noise in [0, 1]; the coarsest bumps are 1 / cells high and `stretch` times as wide."""
        total = np.zeros((height or self.height, self.width), np.float32)
        for octave in range(octaves):
            rows = int(cells * 2**octave) + 2
            columns = int(cells * 2**octave * self.width / self.height / stretch) + 2
            bumps = self.random.standard_normal((rows, columns)).astype(np.float32)
            total += 0.5**octave * cv2.resize(bumps, total.shape[::-1], interpolation=cv2.INTER_CUBIC)
        return cv2.normalize(total, None, 0, 1, cv2.NORM_MINMAX)

    def wander(self, cells, octaves=5):
        """Noise along a line, one number in [0, 1] per column."""
        return self.noise(cells, octaves, height=2)[0]

    def fill(self, *outlines):
        """Mask of the inside of the outlines, each N x 2."""
        mask = np.zeros((self.height, self.width), np.uint8)
        for outline in outlines:
            cv2.fillPoly(mask, [to_pixels(outline, self.height)], 255, cv2.LINE_AA, shift=4)
        return mask.astype(np.float32) / 255

    def lines(self, thickness, *paths, closed=False):
        """Mask of lines along the paths, each N x 2."""
        mask = np.zeros((self.height, self.width), np.uint8)
        pixels = max(1, round(thickness * self.height))
        for path in paths:
            cv2.polylines(mask, [to_pixels(path, self.height)], closed, 255, pixels, cv2.LINE_AA, shift=4)
        return mask.astype(np.float32) / 255

    def below(self, skyline):
        """Mask of everything under a skyline: y for each column."""
        return np.clip((self.y - skyline) * self.height + 0.5, 0, 1)

    def voronoi(self, cells):
        """Number each pixel by the nearest of cells x cells jittered points."""
        places = np.stack(np.mgrid[0:cells, 0:cells]) + self.random.uniform(0.1, 0.9, (2, cells, cells))
        rows, columns = (places * [[[self.height / cells]], [[self.width / cells]]]).astype(int)
        away = np.ones((self.height, self.width), np.uint8)
        away[rows, columns] = 0
        return cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]


# The brush


def follow(angle, starts, length, steps=10):
    """Trace paths through a field of directions (H x W, radians); returns N x (steps + 1) x 2."""
    height, width = angle.shape
    paths = [starts]
    for _ in range(steps):
        columns, rows = np.clip(paths[-1] * height, 0, (width - 1, height - 1)).astype(int).T
        turn = angle[rows, columns]
        paths.append(paths[-1] + np.stack([np.cos(turn), np.sin(turn)], -1) * (length / steps))
    return np.stack(paths, axis=1)


def brush(random, canvas, relief, path, colour, width):
    """Draw one stroke, bristle by bristle, on an 8-bit canvas and an 8-bit relief of how thick the paint lies."""
    height = canvas.shape[0]
    bristles, pixels = max(4, int(400 * width)), max(1, round(0.003 * height))
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], -1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
    streaks = np.convolve(random.normal(0, 0.1, bristles + 2), (0.25, 0.5, 0.25), "valid")
    for offset, streak in zip(np.linspace(-0.5, 0.5, bristles), streaks):
        first, last = random.integers(0, 2 + int(len(path) * 0.6 * abs(offset)), 2)  # ragged ends
        bristle = to_pixels(path + across * offset * width, height)[first : len(path) - last]
        tone = np.clip((colour * (1 + streak) + 0.3 * streak) * 255, 0, 255)
        thickness = int(np.clip(150 - 220 * offset * offset + 500 * streak, 20, 255))
        cv2.polylines(canvas, [bristle], False, tone.tolist(), pixels, cv2.LINE_AA, shift=4)
        cv2.polylines(relief, [bristle], False, thickness, pixels, cv2.LINE_AA, shift=4)


def paint_over(random, guide, angle, layers):
    """Repaint the guide in strokes along the angle, lit from the upper left; layers are (width, length, coverage)."""
    height, width = angle.shape
    canvas, relief = (guide * 0.65 * 255).astype(np.uint8), np.zeros(angle.shape, np.uint8)  # a dark underpainting
    for thickness, length, coverage in layers:
        count = int(coverage * width / height / (thickness * length))
        starts = random.uniform(-0.1, (width / height + 0.1, 1.1), (count, 2))
        paths = follow(angle, starts, length)
        columns, rows = np.clip(paths[:, 5] * height, 0, (width - 1, height - 1)).astype(int).T
        colours = guide[rows, columns] + random.normal(0, 0.045, (count, 3))
        colours += random.normal(0, 0.075, (count, 1))
        for path, colour, size in zip(paths, colours, random.uniform(0.7, 1.2, count)):
            brush(random, canvas, relief, path, colour, thickness * size)
    smooth = blur(relief.astype(np.float32) / 255, 0.0012)
    slope = np.clip(cv2.Sobel(smooth, -1, 1, 0) + cv2.Sobel(smooth, -1, 0, 1), -1, 1)
    return np.clip(canvas.astype(np.float32) / 255 * (1 + 0.45 * slope[..., None]), 0, 1)


# Content: a landscape


def tree_tops(random, size=512, count=3600):
    """A seamless texture of cones: a conifer wood seen from above."""
    away = np.ones((size, size), np.uint8)
    away[tuple(random.integers(0, size, (2, count)))] = 0
    distance = cv2.distanceTransform(np.tile(away, (3, 3)), cv2.DIST_L2, 5)[size:-size, size:-size]
    return np.clip(1 - distance / 6, 0, 1).astype(np.float32)


def ridges(texture, x, z, octaves):
    """Sharp fractal ridges, about 0 to 1: fine ridges grow only on the flanks of coarse ones."""
    total, weight = np.zeros_like(x), np.ones_like(x)
    for octave in range(octaves):
        ridge = np.clip(1 - np.abs(lookup(texture, x, z)) / 1.5, 0, 1) ** 2
        total += 0.5 * 0.47**octave * weight * ridge
        weight = np.clip(1.7 * ridge, 0, 1)
        x, z = 1.6 * x - 1.2 * z + 0.37, 1.2 * x + 1.6 * z + 0.11
    return total


def terrain(texture, trees, x, z, octaves=9):
    """Height of the land at x (to the right) and z (into the distance); the lake's surface is at 0."""
    rough = lookup(texture, x / 40, z / 40)
    shore = np.maximum((z - 7.5) / 3, (np.abs(x + 0.2) - 3.1 - 0.15 * z) / 2.2) + 0.35 * lookup(texture, x / 24, z / 24)
    massif = 9.5 * np.exp(-(((x + 5.5) / 6) ** 2) - ((z - 22) / 8) ** 2) + 5.5 * smoothstep(26, 48, z)
    massif += 7.5 * np.exp(-(((x - 11) / 6) ** 2) - ((z - 22) / 9) ** 2)
    massif *= smoothstep(7, 20, z) * (0.16 + 1.15 * ridges(texture, x / 190 + 0.31, z / 190 + 0.12, octaves))
    land = np.clip(0.22 * shore, -0.2, 0.5) + (massif + 0.10 * rough * np.clip(shore, 0, 1)) * (shore > 0)
    wooded = smoothstep(0.02, 0.10, land) * smoothstep(1.9, 1.2, land + 0.3 * rough)
    return land + 0.085 * wooded * lookup(trees, x / 4.6, z / 4.6)


def ground_colours(texture, x, z, land, slopes, light):
    """Colours of rock, woods, meadows and snow under the light, with haze in the distance."""
    steep = np.sqrt(1 + slopes[0] ** 2 + slopes[1] ** 2)
    rough = 0.5 + 0.2 * lookup(texture, x / 5, z / 5) + 0.16 * lookup(texture, x / 1.3, z / 1.3)
    wooded = np.maximum(smoothstep(2.0, 1.3, land + 0.5 * rough) * smoothstep(3.0, 1.6, steep), land < 0.25)
    snow = smoothstep(1.9, 2.6, land + 0.9 * (rough - 0.5)) * smoothstep(2.6, 1.6, steep)
    colours = mix(ramp(rough, "#4a4238 #6f6658 #8c8272 #a79c8a"), ramp(rough, "#1c3a22 #2c4c28 #4a6a30"), wooded)
    colours = mix(colours, ramp(rough, "#5f7a34 #8f9a48 #b8a860"), smoothstep(0.10, 0.03, land))
    colours = mix(colours, rgb("#f4f6fa"), snow)
    sunlight, skylight = np.float32([1.45, 1.16, 0.82]), np.float32([0.26, 0.33, 0.46])
    colours *= light[..., None] * sunlight + (0.5 + 0.5 / steep)[..., None] * skylight
    haze = ramp(0.6 * smoothstep(0, 3.5, land), "#d6d4d2 #b9c8de #9db8dc")
    return mix(colours, haze, 1 - np.exp(-((z / 46) ** 1.5)))


def evening_sky(sheet, texture, horizon):
    """Blue sky that warms towards the horizon, with clouds that shrink towards it, lit from the left."""
    distance = 0.16 / (np.abs(horizon - sheet.y) + 0.10)
    cloud, towards_sun = np.zeros_like(distance), np.zeros_like(distance)
    for octave in range(6):
        for density, shift in ((cloud, 0), (towards_sun, 0.10)):
            u, v = (sheet.x - 0.75 - shift) * distance, distance * 1.8 + 0.3 * shift
            scale = 0.075 * 2**octave
            density += 0.56**octave * lookup(texture, u * scale + 0.17 * octave + 0.3, v * scale)
    light = ramp(0.62 + 0.35 * cloud - 0.45 * towards_sun, "#7f8fae #a9b3c8 #e6d8cc #fff0da #fffaf0")
    cover = smoothstep(-0.75, 0.7, cloud) * smoothstep(horizon + 0.02, horizon - 0.16, sheet.y)
    return mix(ramp(sheet.y / horizon, "#2f64a8 #4f86c4 #86b2dc #bcd3e6 #ecdcc8 #f6d3a8"), light, 0.95 * cover)


def first_hits(sheet, level):
    """Index of the nearest depth that each pixel sees, from where each depth appears in its column (D x W)."""
    highest, rows = np.minimum.accumulate(level, axis=0), sheet.y[:, 0]
    return np.stack([np.searchsorted(-column, -rows) for column in highest.T], axis=1)


def see(colours, sky, hits):
    """Colour of each pixel: that of the depth which it sees, or the sky where it sees none."""
    last = len(colours) - 1
    return np.where((hits <= last)[..., None], colours[np.minimum(hits, last), np.arange(hits.shape[1])], sky)


def landscape(height, width):
    """A mountain lake with conifers in the evening, rendered from a height field."""
    sheet = Sheet(height, width, seed=3)
    texture, trees = seamless(sheet.random, 8), tree_tops(sheet.random)
    horizon, eye, focal = 0.50, 0.42, 1.15
    sun = np.float32([-0.80, 0.42, -0.38]) / np.linalg.norm([-0.80, 0.42, -0.38])

    # The land is sampled by depth and column of the picture; z grows finely where the mountains are.
    depths = [np.geomspace(1, 8, height // 4), np.linspace(8, 34, height * 3 // 4), np.geomspace(34, 75, height // 8)]
    z = np.repeat(np.concatenate(depths).astype(np.float32)[:, None], width, axis=1)
    x = z * (sheet.columns - width / height / 2) / focal
    land, step = terrain(texture, trees, x, z), 0.0016 * z
    slopes = [(terrain(texture, trees, *near) - land) / step for near in ((x + step, z), (x, z + step))]
    light = sun[1] - slopes[0] * sun[0] - slopes[1] * sun[2]
    light = np.clip(light / np.sqrt(1 + slopes[0] ** 2 + slopes[1] ** 2), 0, 1)
    for reach in np.geomspace(0.2, 6, 6).astype(np.float32):  # shadows of the hills towards the sun
        hill = terrain(texture, trees, x + reach * sun[0], z + reach * sun[2], 4)
        light *= smoothstep(0.35, -0.05, (hill - land - reach * sun[1]) / reach)
    colours = ground_colours(texture, x, z, land, slopes, light)

    sky = evening_sky(sheet, texture, horizon)
    hits = first_hits(sheet, horizon - focal * (np.maximum(land, 0) - eye) / z)
    lake = np.take_along_axis(np.pad(land <= 0, ((0, 1), (0, 0))), hits, axis=0).astype(np.float32)
    # The lake shows, upside down, what an eye as far below its surface would see of the land.
    mirrored = see(colours, sky, first_hits(sheet, horizon - focal * (np.where(land > 0, land, -1e3) + eye) / z))
    down = np.clip(sheet.y - horizon, 1e-3, 1)
    away = 0.9 / down
    ripple = lookup(texture, sheet.x * away * 0.06, away * 0.35) + lookup(texture, sheet.x * away * 0.02, away * 0.11)
    ripple *= 0.03 * down
    water = 0.93 * warp(mirrored, 0.3 * ripple, 2 * (horizon - sheet.y) + ripple)
    water = mix(water, rgb("#1c3f52"), 0.10 + 0.50 * smoothstep(0.05, 0.5, down))
    return foreground(sheet, mix(see(colours, sky, hits), water, blur(lake, 0.0006)))


def draw_lines(canvas, ends, colours, thickness):
    """Draw straight lines (N x 2 x 2) in their own colours (N x 3) on an 8-bit canvas."""
    colours, pixels = np.clip(colours * 255, 0, 255).tolist(), max(1, round(thickness * canvas.shape[0]))
    for (start, end), colour in zip(to_pixels(ends, canvas.shape[0]).tolist(), colours):
        cv2.line(canvas, start, end, colour, pixels, cv2.LINE_AA, 4)


def conifer(random, canvas, foot, tall, spread):
    """Draw a conifer, lit from the left, on an 8-bit canvas: drooping branches, each hung with twigs."""
    draw_lines(canvas, [[foot - (0, 0.95 * tall), foot]], rgb("#261e1a")[None], 0.005)
    for step in np.linspace(0, 1, int(100 * tall) + 24):
        start = foot - (0, tall * (1 - 0.93 * step)) + random.normal(0, 0.003, 2)
        for turn in random.uniform(0, 2 * np.pi, 7):
            reach = spread * (0.05 + 0.95 * step**0.85) * random.uniform(0.5, 1.1)
            side, front = np.cos(turn), np.sin(turn)
            tip = start + (reach * side, reach * (0.32 - 0.14 * step + 0.12 * front))
            branch = curve([start, (start + tip) / 2 - (0, 0.07 * reach), tip], 12)[4:]
            twigs = random.normal((0.25 * side, 0.6), 0.3, branch.shape) * 0.13 * (reach + 0.03)
            tones = 0.30 - 0.34 * side + 0.20 * front + random.normal(0, 0.08) + random.normal(0, 0.06, len(branch))
            colours = ramp(tones, "#0b1712 #15291c #24442a #4b6b34 #98a458")
            draw_lines(canvas, np.stack([branch, branch + twigs], axis=1), colours, 0.002)


def foreground(sheet, scene):
    """Add a grassy bank and conifers close by."""
    random, columns = sheet.random, sheet.columns
    mounds = 0.12 * np.exp(-(((columns - 1.5) / 0.42) ** 2)) + 0.10 * np.exp(-((columns / 0.30) ** 2))
    skyline = 0.975 - mounds + 0.02 * sheet.wander(25)
    soil = ramp(sheet.noise(30, 5, 2), "#17190f #2a2c18 #3f4020 #56502c")
    canvas = (np.clip(mix(scene, soil, sheet.below(skyline)), 0, 1) * 255).astype(np.uint8)
    for x, tall, spread in table("128,34,7 20,36,7.5 140,60,11.5 8,52,10 150,42,9"):
        conifer(random, canvas, np.float32([x, np.interp(x, columns, skyline) + 0.02]), tall, spread)
    x = random.uniform(0, columns[-1], 9000)
    y = np.interp(x, columns, skyline) + 0.16 * random.random(9000) ** 1.5
    roots = np.stack([x, y], -1)[np.argsort(y)]
    blades = np.stack([roots, roots + random.normal((0.003, -0.016), (0.005, 0.006), roots.shape)], axis=1)
    colours = ramp(random.random(9000) ** 1.6, "#1d2412 #3a4a1e #67702c #a89a4c #d8c27a")
    draw_lines(canvas, blades, colours, 0.001)
    return canvas.astype(np.float32) / 255


# Content: a still life


class Thing(NamedTuple):
    """A solid in the room: its signed distance in its own frame, its place, and its looks."""

    distance: Callable  # points (N x 3) to distances (N)
    foot: Tuple[float, float, float]
    lean: float  # turn about the line of sight, radians
    reach: float  # the solid lies in a ball of this radius about the point as far above its foot
    skin: Callable  # points and normals (N x 3, own frame) to colours
    gloss: float

    def inward(self, points):
        """Turn and shift points of the room into the solid's own frame."""
        return (points - np.float32(self.foot)) @ self.axes().T

    def axes(self):
        """The rotation that stands the solid upright."""
        sine, cosine = np.sin(self.lean), np.cos(self.lean)
        return np.float32([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])

    def middle(self):
        """Centre of the ball that holds the solid."""
        return np.float32(self.foot) + self.axes()[1] * self.reach


def lathe(profile):
    """Signed distance of a solid of revolution with a profile of (radius, height) points, looked up in an image."""
    cell, margin = 0.01, 0.06
    outline = curve(profile, 10)
    low, high = np.float32([0, outline[:, 1].min() - margin]), outline.max(axis=0) + margin
    closed = np.concatenate([outline, [[-1, outline[-1, 1]], [-1, outline[0, 1]]]]).astype(np.float32)[:, None]
    radii = np.arange(low[0], high[0] + 2 * cell, cell).tolist()
    heights = np.arange(low[1], high[1] + 2 * cell, cell).tolist()
    image = np.float32([[-cv2.pointPolygonTest(closed, (r, h), True) for r in radii] for h in heights])

    def distance(points):
        spots = np.stack([np.hypot(points[:, 0], points[:, 2]), points[:, 1]], -1)
        inside = np.clip(spots, low, high)
        known = sample(image, *((inside - low) / cell).T)
        beyond = np.hypot(*(spots - inside).T)
        return np.where(beyond > 0, np.hypot(beyond, known), known)

    return distance


def ring(points):
    """Signed distance of the jug's handle."""
    return np.hypot(np.hypot(points[:, 0] + 0.44, 0.8 * (points[:, 1] - 0.72)) - 0.22, points[:, 2]) - 0.045


def gaps(things, points):
    """Distances (N x things) from points to the middles of the things."""
    middles = np.stack([thing.middle() for thing in things])
    squares = np.sum(points**2, axis=1)[:, None] - 2 * points @ middles.T + np.sum(middles**2, axis=1)
    return np.sqrt(np.maximum(squares, 0))


def nearest(things, points):
    """Distance from each point to the nearest thing (a lower bound where that is far), and which it is."""
    best, which = np.full(len(points), 9, np.float32), np.zeros(len(points), np.int32)
    for number, (thing, gap) in enumerate(zip(things, gaps(things, points).T)):
        away = gap - thing.reach + 0.03
        close = np.flatnonzero((away < 0.15) & (away < best))
        away[close] = thing.distance(thing.inward(points[close]))
        which[away < best] = number
        best = np.minimum(best, away)
    return best, which


def passing(things, starts, rays, margin):
    """Numbers of the rays that come within the margin of some thing's ball."""
    middles = np.stack([thing.middle() for thing in things])
    along = rays @ middles.T - np.sum(rays * starts, axis=1)[:, None]
    aside = gaps(things, starts) ** 2 - np.maximum(along, 0) ** 2
    return np.flatnonzero((aside < (np.float32([thing.reach for thing in things]) + margin) ** 2).any(axis=1))


def march(things, eye, rays, limits):
    """Walk along rays up to their limits; returns how far they came and which thing they met (-1: none)."""
    travelled, met = np.full(len(rays), 3.5, np.float32), np.full(len(rays), -1)
    going = passing(things, np.broadcast_to(eye, rays.shape), rays, 0)
    for _ in range(60):
        away, which = nearest(things, eye + rays[going] * travelled[going, None])
        touching = away < 0.002
        met[going[touching]] = which[touching]
        travelled[going] += away
        going = going[~touching & (travelled[going] < limits[going])]
        if not len(going):
            break
    return np.where(met >= 0, travelled, limits).astype(np.float32), met


def shade(things, starts, rays):
    """How much of a broad lamp points see (N): things that the rays narrowly miss hide a part of it."""
    seen, close = np.ones(len(starts), np.float32), passing(things, starts, rays, 0.65)
    travelled = np.full(len(close), 0.04, np.float32)
    for _ in range(16):
        away, _ = nearest(things, starts[close] + rays[close] * travelled[:, None])
        seen[close] = np.minimum(seen[close], 0.5 + 0.5 * np.clip(away * 8 / travelled, -1, 1))
        travelled += np.clip(away, 0.04, 0.4)
    return smoothstep(0.05, 1, seen)


def surface_normals(distance, points):
    """Unit normals of a solid's surface: where its distance grows."""
    steps = 0.012 * np.eye(3, dtype=np.float32)
    grow = np.stack([distance(points + step) - distance(points - step) for step in steps], -1)
    return grow / (np.linalg.norm(grow, axis=1, keepdims=True) + 1e-9)


def window(points, rays, softness):
    """Brightness of the window in the left wall (x = -4), with its bars, where rays from the points end."""
    reach = (-4 - points[:, 0]) / np.minimum(rays[:, 0], -0.01)
    up, deep = np.abs(points[:, 1:] + rays[:, 1:] * reach[:, None] - np.float32([3, -1.4])).T
    panes = smoothstep(1.15 + softness, 1.15 - softness, np.maximum(up, deep))
    return panes * smoothstep(0.05, 0.05 + softness, np.minimum(up, deep)) * (rays[:, 0] < -0.01)


def fruit(texture, codes, stretch, blush=0.0, stalk=9.0):
    """Skin of a fruit: a palette along noise that is stretched from its stalk to its bottom."""

    def skin(points, normals):
        turn, y = np.arctan2(points[:, 2], points[:, 0]) * 80, points[:, 1] * 512
        tone = 0.5 + 0.13 * sample(texture, turn, y * stretch) + 0.09 * sample(texture, turn * 4, y * 4 * stretch)
        colours = ramp(tone + blush * (0.5 * normals[:, 1] - 0.3 * normals[:, 0]), codes)
        wood = (points[:, 1] > stalk) & (np.hypot(points[:, 0], points[:, 2]) < 0.03)
        return np.where(wood[:, None], rgb("#4a3018"), colours)

    return skin


def glaze(points, normals):
    """Skin of the jug: cream, with bands and a wavy ribbon painted in blue."""
    y, turn = points[:, 1], np.arctan2(points[:, 2], points[:, 0])
    bands = [np.abs(y - at) - half for at, half in table("28,1 32,2 72,2 76,1 112,2")]
    ribbon = np.abs(y - 0.52 - 0.07 * np.sin(7 * turn)) - 0.05 * np.abs(np.sin(7 * turn + 0.9))
    paint = smoothstep(0.006, -0.006, np.minimum.reduce([*bands, ribbon]))
    return mix(rgb("#efe6d0"), rgb("#24478f"), 0.9 * paint)


def plain(code):
    """Skin of a single colour."""
    return lambda points, normals: np.broadcast_to(rgb(code), points.shape)


def table_top(texture, folds, x, z):
    """Colours and normals of the table: boards under a linen cloth with folds and a striped hem."""
    grain = sample(texture, x * 30, z * 460) + 0.6 * sample(texture, x * 100, z * 1400)
    wood = ramp(0.5 + 0.17 * grain, "#43281a #6b4226 #8f5e36 #b07a48")
    hem = 0.75 - 0.42 * x - z + 0.05 * sample(texture, x * 100, z * 100)
    stripes = np.minimum.reduce([np.abs(hem - at) - half for at, half in table("13,1.2 18,2.5 23,1.2")])
    linen = mix(rgb("#efe9da"), rgb("#b03a34"), 0.85 * smoothstep(0.004, -0.004, stripes))
    linen = linen * (1 + 0.03 * sample(texture, x * 1500, z * 300) * sample(texture, x * 300, z * 1500))[:, None]
    cloth = smoothstep(0, 0.012, hem)
    shadow = 1 - 0.55 * smoothstep(-0.07, 0, hem) * (1 - cloth)
    lean = [-sample(slope, (x + 3) * 128, (z + 3) * 128) * cloth for slope in folds]
    normals = np.stack([lean[0], np.ones_like(x), lean[1]], -1)
    return mix(wood, linen, cloth) * shadow[:, None], normals / np.linalg.norm(normals, axis=1, keepdims=True)


def cloth_folds(sheet):
    """Slopes (along x and z) of a cloth's folds over a square of 6 x 6 units."""
    bend, relief = sheet.noise(2, 3), 0.01 * sheet.noise(12, 3)
    for turn, count, strength in ((0.5, 5, 0.30), (1.0, 7, 0.18), (2.6, 4, 0.18)):
        phase = (sheet.x * np.cos(turn) + sheet.y * np.sin(turn) + 0.35 * bend) * count
        relief += strength * (1 - np.abs(2 * (phase % 1) - 1)) ** 6 * sheet.noise(3, 2) ** 2
    relief = blur(relief, 0.006) * sheet.height / 48
    return cv2.Sobel(relief, -1, 1, 0), cv2.Sobel(relief, -1, 0, 1)


def arrange(texture):
    """Lay the table; returns the solid things and those of glass."""
    apple = lathe(table("0,5 5,3 12,0 22,6 30,22 31.5,36 27,48 17,53.5 8,51.5 2.5,46 1.8,50 2,64 0,64.5"))
    pear = lathe(table("0,3 8,0 20,4 29.5,18 29,33 21,48 15,60 12.5,71 8,77 2.5,77 1.8,80 2,94 0,94.5"))
    lemon = lathe(table("0,0 4.5,1 7.5,6 17,14 21.5,28 18,42 8.5,51 5,56 0,57.5"))
    jug = lathe(table("0,2 24,0 29,3 38,22 44,46 40,70 27,90 21.5,102 23,115 28.5,124 26,123.5 20.5,114 18,100 0,95"))
    bowl = lathe(table("0,3 20,0 22,3 10,7 28,12 47,28 56,50 58.5,52 53.5,49 44,29 26,15 0,12"))
    bottle = lathe(table("0,4 20,0 24.5,4 25,40 25,86 20,102 10,114 8.5,130 8.5,146 11,148 11,154 8,156 0,156"))
    round_orange = lathe(table("0,1.5 6,0 17,4 27,14 30,28 27,42 18,52 7,56.5 2,55.5 0,55"))
    ball = lathe(table("0,0 8.5,2.3 14.7,8.5 17,17 14.7,25.5 8.5,31.7 0,34"))
    red = fruit(texture, "#e0b040 #d8702a #c02a20 #a81824 #8a1420", 0.12, -0.15, 0.5)
    green = fruit(texture, "#86a02c #b0c040 #d4d860 #e0b458 #cc6040", 0.10, -0.25, 0.5)
    gold = fruit(texture, "#98982a #c8b83c #e4cc52 #e0a044 #c06030", 0.15, -0.12, 0.78)
    orange = fruit(texture, "#d85004 #ee700a #fb8a18", 0.5)
    yellow = fruit(texture, "#e0b010 #f4cc1c #fce050", 0.5)
    plum = fruit(texture, "#301440 #4c2458 #70386a #90608a", 0.5)
    solids = [
        Thing(jug, (-0.95, 0, 0.35), 0, 0.66, glaze, 0.9),
        Thing(ring, (-0.95, 0, 0.35), 0, 0.95, plain("#efe6d0"), 0.9),
        Thing(apple, (-0.28, 0, -0.55), -0.12, 0.42, red, 0.5),
        Thing(apple, (0.42, 0, -0.18), 0.35, 0.42, green, 0.5),
        Thing(pear, (-0.25, 0, 0.25), 0.10, 0.50, gold, 0.35),
        Thing(round_orange, (0.92, 0, -0.75), 0.15, 0.36, orange, 0.3),
        Thing(lemon, (-1.05, 0.215, -0.62), -1.35, 0.33, yellow, 0.35),
    ]
    heap = table("102,15,28 136,18,20 122,17,56 120,36,32 150,30,45 95,30,52")
    for foot, skin in zip(heap, (plum, orange, plum, plum, plum, orange)):
        solids.append(Thing(ball, tuple(foot), 0, 0.18, skin, 0.4))
    glass = [
        Thing(bottle, (0.30, 0, 0.85), 0, 0.80, plain("#287a3c"), 0.75),
        Thing(bowl, (1.22, 0, 0.35), 0, 0.62, plain("#d8e8ea"), 0.12),
    ]
    return solids, glass


def still_life(height, width):
    """Fruit, a jug and glass on a table beside a window, traced ray by ray."""
    sheet = Sheet(height, width, seed=12)
    room = seamless(sheet.random, 6), cloth_folds(Sheet(768, 768, seed=12))
    solids, glass = arrange(room[0])
    eye, focal = np.float32([0.12, 1.75, -5.6]), 2.55
    forward = np.float32([0.12, 0.60, 0.1]) - eye
    forward /= np.linalg.norm(forward)
    right, up = np.float32([1, 0, 0]), np.float32([0, forward[2], -forward[1]])
    x, y = sheet.x, sheet.y
    image, film, shift = (np.zeros((height, width, channels), np.float32) for channels in (3, 4, 2))
    for top in range(0, height, 64):  # in bands, to save memory
        band = slice(top, top + 64)
        rays = forward * focal + (x[band, :, None] - width / height / 2) * right - (y[band, :, None] - 0.5) * up
        rays = (rays / np.linalg.norm(rays, axis=2, keepdims=True)).reshape(-1, 3).astype(np.float32)
        colours, depth = look(room, solids, glass, eye, rays)
        coat, bend = look_at_glass(glass, eye, rays, depth)
        for whole, part in ((image, colours), (film, coat), (shift, bend)):
            whole[band] = part.reshape(whole[band].shape)
    image = warp(image, shift[..., 0], shift[..., 1]) * (1 - film[..., 3:]) + film[..., :3]
    image = image * (1.12 - 0.35 * ((x - 0.65) ** 2 + (y - 0.5) ** 2))[..., None]
    return np.clip(image / (0.80 + 0.28 * image), 0, 1) ** 0.8


def look(room, solids, glass, eye, rays):
    """Colours that rays meet, were there no glass, and the distances."""
    texture, folds = room
    to_table = np.where(rays[:, 1] < 0, eye[1] / np.maximum(-rays[:, 1], 1e-4), 99)
    to_wall = (1.9 - eye[2]) / rays[:, 2]
    depth, met = march(solids, eye, rays, np.minimum(to_table, to_wall))
    points = eye + rays * depth[:, None]
    colours, normals, gloss = np.zeros_like(points), np.zeros_like(points), np.zeros(len(points), np.float32)
    wall, flat = (met < 0) & (to_wall <= to_table), (met < 0) & (to_wall > to_table)
    across, high = points[wall, 0], points[wall, 1]
    plaster = 0.55 + 0.10 * sample(texture, across * 80, high * 80) + 0.06 * sample(texture, across * 500, high * 500)
    colours[wall], normals[wall] = ramp(plaster, "#5c5a48 #86806a #aaa084"), (0, 0, -1)
    colours[flat], normals[flat] = table_top(texture, folds, points[flat, 0], points[flat, 2])
    for number, thing in enumerate(solids):
        mine = met == number
        inside = thing.inward(points[mine])
        normal = surface_normals(thing.distance, inside)
        colours[mine], normals[mine], gloss[mine] = thing.skin(inside, normal), normal @ thing.axes(), thing.gloss
    colours *= illuminate(solids, glass, points, normals, wall, flat)
    facing = np.sum(rays * normals, axis=1)
    shine = window(points, rays - 2 * facing[:, None] * normals, 0.06 + 0.5 * (1 - gloss))
    return colours + ((0.75 * shine + 0.14 * np.clip(1 + facing, 0, 1) ** 4) * gloss)[:, None], depth


def illuminate(solids, glass, points, normals, wall, flat):
    """Light (RGB) that falls on points: from the window, from the room about them and from the table below."""
    lamp = np.float32([-4, 3, -1.4]) - points
    far = np.linalg.norm(lamp, axis=1)
    lamp /= far[:, None]
    starts = points + 0.012 * normals
    window_light = np.clip(0.85 * np.sum(lamp * normals, axis=1) + 0.15, 0, 1) * np.minimum(16 / far**2, 1.3)
    shadows = shade(solids, starts, lamp) * (0.5 + 0.5 * shade(glass, starts, lamp))
    window_light *= np.where(wall, 1, shadows)
    room_light = 0.36 + 0.12 * normals[:, 1] - 0.06 * normals[:, 0]
    for reach in (0.08, 0.3):  # little of it gets between things that are close together
        tips = points + reach * normals
        away = np.minimum(nearest(solids, tips)[0], np.where(flat, reach, tips[:, 1]))
        room_light *= np.clip(0.4 + 0.6 * away / reach, 0, 1)
    warm = 1.35 * window_light + 0.2 * np.clip(-normals[:, 1], 0, 1)
    return warm[:, None] * rgb("#fff0d0") + room_light[:, None] * rgb("#d8eaff")


def look_at_glass(glass, eye, rays, depth):
    """Film of colour and reflections that glass lays over the picture (RGB and opacity), and how far it bends rays."""
    travelled, met = march(glass, eye, rays, depth)
    film, shift = np.zeros((len(rays), 4), np.float32), np.zeros((len(rays), 2), np.float32)
    for number, thing in enumerate(glass):
        mine = (met == number) & (travelled < depth)
        points = eye + rays[mine] * travelled[mine, None]
        normals = surface_normals(thing.distance, thing.inward(points))
        facing = np.clip(-np.sum(rays[mine] * normals, axis=1), 0, 1)
        rim = (1 - facing) ** 2.5
        mirror = rays[mine] + 2 * facing[:, None] * normals
        shine = 0.9 * window(points, mirror, 0.05) + 0.25 * window(points, mirror * np.float32([-1, 1, -1]), 0.1)
        opacity = np.clip(thing.gloss * (0.75 + 0.4 * rim) + 0.35 * rim, 0, 0.97)
        tint = thing.skin(points, normals) * ((0.22 + 0.55 * rim) * opacity)[:, None]
        film[mine] = np.concatenate([tint + (shine + 0.1 * rim)[:, None], opacity[:, None]], -1)
        shift[mine] = normals[:, :2] * np.float32([-0.05, 0.05]) * (1 - facing)[:, None]
    return film, shift


# Style: brush strokes


def swirl(x, y, wind, eddies):
    """Direction (radians) of a wind with eddies in it, each (x, y, radius, speed)."""
    across, down = np.full_like(x, wind[0]), np.full_like(x, wind[1])
    for centre_x, centre_y, radius, speed in eddies:
        push = speed * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2) / radius
        across, down = across - push * (y - centre_y), down + push * (x - centre_x)
    return np.arctan2(down, across)


def windy_sky(sheet):
    """Colours and directions of a sky full of eddies, one of them about the sun."""
    x, y = sheet.x, sheet.y
    eddies = table("30,17,16,500 53,36,11,-400 5,38,10,-400 80,20,17,600")
    angle = swirl(x, y + 0.03 * np.sin(9 * x), (1, 0.12), eddies)
    # Bands of colour wind about the eddies because the noise that makes them is smeared along the wind.
    bands = sheet.noise(16, 2)
    for _ in range(24):
        bands = 0.5 * bands + 0.5 * warp(bands, 0.012 * np.cos(angle), 0.012 * np.sin(angle))
    bands = cv2.normalize(bands, None, 0, 1, cv2.NORM_MINMAX)
    sky = ramp(smoothstep(0.25, 0.8, bands), "#12296f #1f4fa8 #2f7fc4 #7fc0d0 #e9ecc8")
    from_sun = np.hypot(x - 0.80, y - 0.20)
    halo = ramp(from_sun / 0.2, "#fffbe0 #ffe45c #fdbf2a #f39a1f #f7d36a #9cc9b8")
    return mix(sky, halo, smoothstep(0.2, 0.15, from_sun + 0.03 * bands)), angle


def brush_strokes(height, width):
    """A wheat field, a tree and a swirling sky in thick, short strokes."""
    sheet = Sheet(height, width, seed=11)
    x, y, columns = sheet.x, sheet.y, sheet.columns
    guide, angle = windy_sky(sheet)

    far = 0.50 - 0.07 * np.exp(-(((columns - 0.2) / 0.2) ** 2)) + 0.02 * np.sin(7 * columns)
    near = 0.57 + 0.03 * np.sin(6 * columns + 2)
    for skyline, codes in ((far, "#27357c #4b64b0 #7f86c4"), (near, "#1d5c4a #3e8f55 #8dbb57")):
        hill = sheet.below(skyline)
        guide = mix(guide, ramp(1.4 * sheet.noise(14, 3, 3) - 0.2, codes), hill)
        angle = np.where(hill > 0.5, np.arctan(np.gradient(skyline) * height) + 0.25 * np.sin(40 * y), angle)
    field = sheet.below(0.66 - 0.05 * columns)
    stalks = sheet.noise(12, 3, 0.6)
    guide = mix(guide, ramp(stalks + 0.35 * (y - 0.75), "#8a4a12 #d18a1c #f0b92c #f9dd5e #fff1a8"), field)
    angle = np.where(field > 0.5, 0.9 * (x - 0.45) + 0.5 * np.sin(9 * x + 7 * y) - np.pi / 2, angle)
    lane = sheet.fill(curve(table("40,103 51,85 46,73 49,63 51,63 53,73 62,86 70,103")))
    guide = mix(guide, ramp(stalks, "#5c4a86 #a98ab8 #c79a93 #e8cdb0"), lane)
    angle = np.where(lane > 0.5, 0.3 * np.sin(20 * x), angle)

    trunk = sheet.fill(curve(table("16,88 20,75 18,60 25,60 24,75 28,89")))
    guide = mix(guide, ramp(sheet.noise(18, 2), "#2a1a2e #5a3424 #8f5a2e"), trunk)
    angle = np.where(trunk > 0.5, 1.5 + 0.3 * np.sin(30 * y), angle)
    # Each clump of leaves is dark below and light above, and its strokes run about it.
    for clump_x, clump_y, radius in table("10,58,9 32,59,9 21,61,9 13,47,10 31,48,10 22,40,11 22,51,9"):
        clump = sheet.fill(ellipse(clump_x, clump_y, radius, 0.85 * radius))
        tone = 0.55 + 0.5 * (sheet.noise(14, 3) - 0.5) + 0.5 * (clump_y - y + 0.5 * (x - clump_x)) / radius
        guide = mix(guide, ramp(tone, "#0b2440 #0f4038 #2a7238 #78a838 #dcd858"), clump)
        angle = np.where(clump > 0.5, np.arctan2(x - clump_x, clump_y + 0.09 - y), angle)
    layers = table("3,12,320 1.8,7.5,230 1.2,5,60")
    return paint_over(sheet.random, guide, angle, layers)


# Style: stained glass

GLASS = {  # number of the region: colours of its panes
    1: "#f9cf4c #f5a82c",
    2: "#fbe88c #fdd850",
    3: "#ee6a30 #d43c2c",
    4: "#f8a860 #f4825c",
    5: "#5438b0 #8a3cb0",
    6: "#2f64c8 #4a90e0",
    7: "#ffe870 #ffbc34",
    8: "#fffbd0 #fff0a0",
    9: "#6a44b4 #3464cc",
    10: "#128c66 #36b866",
    11: "#5cb030 #b8dc40",
    12: "#1f7cd8 #20a8e4",
    13: "#78e0f0 #c4f6f6",
    14: "#b01c40 #2450c4 #148c5c #e0502a",
}


def glass_regions(sheet):
    """Number each pixel by its region (as in GLASS) and by the pane within it."""
    x, y, columns = sheet.x, sheet.y, sheet.columns
    from_sun, turn = np.hypot(x - 0.5, y - 0.4), np.arctan2(y - 0.4, x - 0.5)
    region = 1 + (turn / np.pi * 12 + 24.5).astype(int) % 2 + 2 * np.digitize(from_sun, (0.30, 0.46))
    region = np.where(from_sun < 0.13, np.where(from_sun < 0.075, 8, 7), region)
    left, right = (np.exp(-(((columns - at) / 0.21) ** 2)) for at in (0.1, 0.95))
    skylines = 0.47 - 0.13 * left - 0.10 * right, 0.60 - 0.09 * np.sin(3.3 * columns - 0.5)
    for number, skyline in enumerate((*skylines, 0.66 + 0.08 * np.sin(3.6 * columns + 0.9))):
        region = np.where(y > skyline, 9 + number, region)
    from_river = x - 0.5 - 0.13 * np.sin(9 * (y - 0.5)) * (y - 0.35)
    stream = np.abs(from_river + 0.03 * np.sin(25 * y)) < 0.12 * (y - 0.5)
    region = np.where(np.abs(from_river) < np.where(y > skylines[0], 0.35 * (y - 0.5), 0), 12 + stream, region)
    region = np.where(np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) > 0.45, 14, region)
    pane = sheet.voronoi(12)
    pane = np.where(region == 14, (x * 20).astype(int) + 20 * (y * 20).astype(int), pane)
    pane = np.where(region == 7, ((turn + np.pi) / np.pi * 6).astype(int), pane)
    return region, np.where(region == 8, 0, pane)


def stained_glass(height, width):
    """The sun rising over hills and a river, in leaded glass with a border."""
    sheet = Sheet(height, width, seed=5)
    region, pane = glass_regions(sheet)
    names, numbers = np.unique(region * 100000 + pane, return_inverse=True)
    numbers = numbers.reshape(region.shape)
    tint, thickness = sheet.random.random((2, len(names)))[:, numbers]
    image = np.zeros((height, width, 3), np.float32)
    for number, codes in GLASS.items():
        inside = region == number
        image[inside] = ramp(tint[inside], codes)

    # The glass is uneven, darker near the lead, and its light spills over the lead a little.
    lead = edges(numbers, 0.0085)
    glow = 0.72 + 0.42 * smoothstep(0, 0.035, depth_inside(1 - lead)) + 0.5 * (sheet.noise(9, 6, 0.5) - 0.5)
    image = np.clip(image * (glow * (0.86 + 0.28 * thickness))[..., None], 0, 1)
    image = 0.95 * image + 0.28 * blur(image**2, 0.02)
    shine = np.clip(cv2.Sobel(blur(lead, 0.002), -1, 1, 1) * 30, 0, 1)
    return mix(image, (0.07 + 0.15 * shine)[..., None] * rgb("#c8d0e0"), lead)


# Style: woodcut


def hatch(phase, darkness):
    """Mask of lines at the whole numbers of the phase, as wide as the darkness (0: no ink, 1: all ink)."""
    return smoothstep(-0.08, 0.08, darkness - np.abs(2 * (phase % 1) - 1))


def cut(ink, mask, drawing, rim):
    """Put a drawing in place of the ink inside a mask, with a rim of the given thickness."""
    line = smoothstep(rim, 0.7 * rim, depth_inside(mask))
    return ink + (np.maximum(drawing, line) - ink) * mask


def night_sky(sheet, lamp_x, lamp_y):
    """Rings about the lamp, thin near it and dark far away, with two beams of light, stars and clouds."""
    away, turn = np.hypot(sheet.x - lamp_x, sheet.y - lamp_y), np.arctan2(sheet.y - lamp_y, sheet.x - lamp_x)
    wobble = 0.5 * sheet.noise(6, 4)
    ink = hatch(away * 52 + wobble, np.clip(0.2 + away, 0, 0.86))
    beams = smoothstep(0.30, 0.26, np.minimum(np.pi - np.abs(turn), 2 * np.abs(turn - 0.12)))
    ink += (hatch(turn * 82 / np.pi, 0.16 + 0.1 * away) - ink) * beams
    spikes = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], -1)
    spikes *= 0.02 * np.where(np.arange(8) % 2, 0.25, 1)[:, None]
    ink *= 1 - sheet.fill(*[spikes + place for place in table("12,10 32,6 43,31 91,8 20,37 93,34 6,34")])
    puffs = table("-11,0,5 -5,-3,6.5 3,-3.5,7.5 10,-1,5.5 0,1,6")
    for cloud_x, cloud_y, size in table("20,50,100 92,46,80 42,53,70"):
        outlines = [ellipse(cloud_x + size * x, cloud_y + size * y, size * r, 0.8 * size * r) for x, y, r in puffs]
        cloud = sheet.fill(*outlines)
        low = np.clip((sheet.y - cloud_y + 0.09 * size) / (0.16 * size), 0, 1)
        ink = cut(ink, cloud, hatch(depth_inside(cloud) * 80, 0.75 * low), 0.006)
    return ink


def sea_and_cliff(sheet, ink):
    """Cut waves, and a cliff with foam about its foot."""
    x, y = sheet.x, sheet.y
    distance = np.clip(y - 0.56, 0.002, 1)
    swell = np.sin(4.5 * x / (distance + 0.12) + 36 * distance**0.5 + 4 * sheet.noise(6, 4))
    waves = hatch(21 * np.log(distance + 0.12) + 0.5 * swell, np.clip(0.5 - 0.42 * swell, 0.06, 0.94))
    sea = sheet.below(0.575 + 0.004 * np.sin(60 * sheet.columns))
    ink = ink + (waves - ink) * sea
    outline = curve(table("37,105 40,90 44,82 44.5,74 50,68 53,61 62,58.5 74,59 83,63 88,70 110,72 110,105"))
    cliff = sheet.fill(outline + sheet.random.normal(0, 0.006, outline.shape))
    foam = (1 - depth_inside(1 - cliff) / 0.05) > 1.3 * sheet.noise(12, 4)
    ink = ink * (1 - sea * foam)
    # The rock breaks into blocks, each hatched along its own slope and darker to the right.
    block = sheet.voronoi(13)
    slope, shade = sheet.random.uniform((0.5, -0.25), (1.3, 0.25), (block.max() + 1, 2))[block].transpose(2, 0, 1)
    tone = np.clip(0.15 + 1.3 * (x - 0.45) + shade + 0.3 * (sheet.noise(20, 3) - 0.5), 0.08, 0.9)
    rock = hatch(62 * (x * np.sin(slope) + y * np.cos(slope)) + 1.2 * sheet.noise(8, 3), tone)
    return cut(ink, cliff, np.maximum(rock, edges(block, 0.006)), 0.008)


def woodcut(height, width):
    """A lighthouse on a cliff above the sea, cut in lines that follow the forms."""
    sheet = Sheet(height, width, seed=21)
    x, y = sheet.x, sheet.y
    ink = sea_and_cliff(sheet, night_sky(sheet, 0.66, 0.185))
    side = (x - 0.66) / (0.033 + 0.058 * (y - 0.235))  # -1 to 1 across the tower
    dark = np.floor((y - 0.235) / 0.075 - 0.12 * side**2) % 2
    tone = np.clip((0.35 + 0.75 * side) * 0.8 + 0.5 * dark, 0.04, 0.96)
    ink = cut(ink, sheet.fill(table("60.5,61 62.7,23.5 69.3,23.5 71.5,61")), hatch(y * 75 - 0.5 * side**2, tone), 0.007)
    ink *= 1 - sheet.fill(ellipse(0.66, 0.185, 0.05, 0.05)) * (y < 0.226)
    door, roof = table("64.5,61 64.5,56 66,54.5 67.5,56 67.5,61"), table("63,15 66,10 69,15")
    panes = [ellipse(0.655, at, 0.008, 0.014) for at in (0.345, 0.47)]
    ink = np.maximum(ink, sheet.fill(door, roof, table("61.2,22.5 70.8,22.5 70.8,24 61.2,24"), *panes))
    ink = np.maximum(ink, sheet.lines(0.005, *[[(at, 0.15), (at, 0.235)] for at in (0.637, 0.66, 0.683)]))
    # The block prints unevenly: the ink is thin along the grain of the wood, and rough at the frame.
    grain = sheet.noise(90, 3, 10)
    ink = smoothstep(0.25, 0.6, blur(ink, 0.0012)) * (0.97 - 0.55 * smoothstep(0.68, 0.85, grain))
    ink *= smoothstep(0.489, 0.485, np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) + 0.006 * grain)
    return mix(ramp(sheet.noise(30, 4), "#e6d6ae #f1e5c6 #f6edd4"), rgb("#15120f"), ink)


# Style: pointillism


def river_scene(sheet):
    """A river at sunset with poplars and a sailing boat, smoothly painted."""
    x, y, horizon = sheet.x, sheet.y, 0.5
    rise = np.abs(y - horizon) / horizon
    sky = ramp(1 - rise + 0.14 * (sheet.noise(5, 3, 3) - 0.5), "#3f62bc #6f8fd4 #b8a8d8 #ee9fa8 #f8a468 #f58a3c")
    sun = np.hypot(x - 0.56, y - 0.33)
    scene = mix(sky, rgb("#fff3a0"), np.clip(smoothstep(0.07, 0.055, sun) + 0.5 * smoothstep(0.28, 0.04, sun), 0, 1))
    hills = sheet.below(0.455 + 0.02 * np.sin(8 * sheet.columns) - 0.06 * smoothstep(0.6, 1, sheet.columns))
    scene = mix(scene, ramp(1 - 2.5 * rise, "#8a70c0 #4a5aa8 #2f6f7a"), hills)
    for tree_x, top, girth in table("9,12,5 20,4,5.8 31,16,4.6"):
        half = np.float32([(0, top), (1, 0.30), (0.7, 0.47), (0, 0.51), (-0.7, 0.47), (-1, 0.30)])
        tree = sheet.fill(curve(half * (girth, 1) + (tree_x, 0), closed=True))
        lit = 0.45 + 6 * (x - tree_x) + 0.6 * (sheet.noise(12, 3) - 0.5)
        scene = mix(scene, ramp(lit, "#1a2a68 #1c5a5a #3f8a48 #c0b848 #ffc84a"), tree)
    sail = np.concatenate([curve(table("73.5,22 75,38 74.5,50")), table("62,50 67,36")])
    scene = mix(scene, ramp((x - 0.62) / 0.14, "#fffaf0 #fbe0c0 #f0988a"), sheet.fill(sail))
    scene = mix(scene, ramp((y - 0.25) / 0.25, "#fbe0d0 #d0709a"), sheet.fill(table("75.5,26 83,50 75.5,50")))
    hull = sheet.fill(curve(table("60,51.2 64,54.5 79,54.5 85,50.8")))
    scene = mix(scene, rgb("#6a1f3a"), hull)
    # The water mirrors the scene above it in ripples, which grow towards the viewer.
    ripple = np.maximum(y - horizon, 0) * 0.25 * (sheet.noise(22, 3, 5) - 0.5)
    water = warp(scene, 3 * ripple, 2 * np.minimum(horizon - y, 0) + ripple)
    water = mix(water, rgb("#2f50a8"), 0.4 * smoothstep(0.5, 0.9, y))
    scene = mix(scene, water, (y > horizon) * (1 - hull))
    grass = ramp(sheet.noise(9, 4, 2) + 0.25 * (0.9 - y), "#2a2a78 #1f6068 #5a9a40 #ccc040 #ffe070 #f0a050")
    return mix(scene, grass, sheet.below(0.80 + 0.16 * sheet.columns - 0.04 * np.sin(5 * sheet.columns)))


def divide(random, colours):
    """Split colours (N x 3) into purer ones that mix to them: neighbours in hue, and some complements."""
    hue, saturation, value = cv2.cvtColor(colours[None].clip(0, 1), cv2.COLOR_RGB2HSV)[0].T
    hue = hue + random.normal(0, 18, len(hue)) + 180 * (random.random(len(hue)) < 0.11)
    saturation = np.clip(saturation * random.uniform(0.8, 1.5, len(hue)) + 0.05, 0, 1)
    value = np.clip(value + random.normal(0.03, 0.11, len(hue)), 0, 1)
    return cv2.cvtColor(np.float32([hue % 360, saturation, value]).T[None], cv2.COLOR_HSV2RGB)[0]


def pointillism(height, width):
    """A river at sunset in dots of pure colour."""
    sheet = Sheet(height, width, seed=8)
    random, scene = sheet.random, river_scene(sheet)
    canvas = np.full(scene.shape, rgb("#f3ead2") * 255, np.uint8)
    for radius, coverage in table("0.9,160 0.7,170 0.52,90"):
        count = int(coverage / (np.pi * radius**2))
        spots = random.random((count, 2))
        columns, rows = (spots * height).astype(int).T
        colours = divide(random, scene[rows, columns]) * 255
        axes = to_pixels(radius * random.uniform(0.75, 1.15, (count, 2)), height).tolist()
        for spot, size, colour in zip(to_pixels(spots, height).tolist(), axes, colours.tolist()):
            cv2.ellipse(canvas, spot, size, random.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


# Style: ink wash


class WetPaper(NamedTuple):
    """How the paper draws ink aside (x and y) and how unevenly it takes it, each H x W in [0, 1]."""

    x_pull: np.ndarray
    y_pull: np.ndarray
    granules: np.ndarray

    def wash(self, mask, darkness, bleed=0.004):
        """Let a shape run: a ragged outline, granules, and a darker rim where the ink dried last."""
        wet = warp(mask, bleed * (self.x_pull - 0.5), bleed * (self.y_pull - 0.5))
        rim = np.clip(wet - blur(wet, 0.008), 0, 1)
        return np.clip((0.85 * blur(wet, 0.0012) + 1.1 * rim) * darkness * (0.72 + 0.5 * self.granules), 0, 1)


def misty_mountains(sheet, paper):
    """Three ranges of mountains, each fading downwards into the mist."""
    ink = 0.1 * smoothstep(0.25, 0, sheet.y) * sheet.noise(4, 5, 2)
    ranges = [  # peaks (x, height, width); base, darkness, depth of the mist
        ("30,20,11 50,13,8 85,17,14", 0.46, 0.30, 0.26),
        ("62,34,9 74,20,6 97,28,12", 0.60, 0.55, 0.24),
        ("5,16,16 88,16,10 100,20,8", 0.72, 0.85, 0.16),
    ]
    for peaks, base, darkness, depth in ranges:
        rise = np.max([h * np.exp(-(np.abs((sheet.columns - x) / w) ** 1.5)) for x, h, w in table(peaks)], axis=0)
        skyline = base - rise * (0.85 + 0.35 * sheet.wander(9, 2)) - 0.16 * rise * sheet.wander(40)
        under = sheet.y - skyline
        folds = smoothstep(0.45, 0.75, sheet.noise(6, 6, 0.5) + 0.2 * smoothstep(0.1, 0, under))
        body = sheet.below(skyline) * smoothstep(depth, 0, under)
        ink = 1 - (1 - ink) * (1 - paper.wash(body, darkness * (0.55 + 0.5 * folds), 0.016))
    return ink


def boat_and_birds(sheet, paper):
    """A fisherman in his boat, ripples about it and birds above."""
    hull = curve(table("60,79.5 65,82.5 74,82.5 80,78.5 74,80.8 66,81"), closed=True)
    fisher = [curve(table("75.2,81 75.7,78 76.5,77.2 77.5,78.5 77.7,80.8")), table("74.5,77.3 76.6,75.5 78.8,77.4")]
    boat = sheet.fill(hull, *fisher)
    roof = 0.55 * sheet.fill(curve(table("65.5,81 66,78.5 69,77.5 72,78.5 72.5,81")))
    wings = table("-100,-40 -40,-50 0,0 50,-60 100,-30")
    birds = [curve(wings * size + (x, y)) for x, y, size in table("58,14,1.8 63,11.5,1.4 66,16,1.2")]
    thin = 0.75 * sheet.lines(0.0028, table("77.2,78.5 83,70"), table("64,85 78,85.2"), *birds)
    starts = sheet.random.uniform((0.35, 0.76), (0.95, 0.93), (16, 1, 2))
    ripples = starts + table("0,0 5,0.4 12,0") * sheet.random.uniform(0.6, 1.3, (16, 1, 1))
    return np.maximum(paper.wash(np.maximum(boat, roof), 1.0), np.maximum(thin, 0.25 * sheet.lines(0.0025, *ripples)))


def leaf(base, turn, length, width):
    """Outline of a leaf that grows from its base in a direction (radians) and bends down."""
    along = np.linspace(0, 1, 14)[:, None]
    bend = turn + 0.35 * along * np.cos(turn)
    spine = base + length * along * np.concatenate([np.cos(bend), np.sin(bend)], -1)
    half = width * np.sin(np.pi * along**0.7).clip(0) ** 1.2 * np.concatenate([-np.sin(bend), np.cos(bend)], -1)
    return np.concatenate([spine + half, (spine - half)[::-1]])


def bamboo(sheet, paper, ink, foot, top, girth, darkness):
    """Add a stalk of jointed, streaky strokes, with leaves that hang in groups from its joints."""
    streaks = 0.45 + 0.75 * smoothstep(0.3, 0.6, sheet.noise(3, 6, 0.03))
    joints = np.linspace((foot, 1.05), (top, -0.05), 8)
    shape = table("56,3 46,18 46,82 56,97")  # half the width, place along
    for lower, upper in zip(joints, joints[1:]):
        middle = lower + (upper - lower) * shape[:, 1:]
        left, right = (middle + shape[:, :1] * (side * girth, 0) for side in (-1, 1))
        stalk = sheet.fill(np.concatenate([left, right[::-1]]))
        ink = np.maximum(ink * (1 - stalk), paper.wash(stalk, darkness) * streaks)
    for joint in joints[1:-1]:
        for side in (-1, 1):
            tip = joint + sheet.random.uniform((0.05, -0.08), (0.13, 0)) * (side, 1)
            twig = sheet.lines(0.004, curve([joint, (joint + tip) / 2 - (0, 0.02), tip]))
            for turn in np.pi / 2 - side * sheet.random.uniform(0.1, 1.15, 4):
                outline = leaf(tip, turn, sheet.random.uniform(0.10, 0.19), sheet.random.uniform(0.009, 0.014))
                tone = darkness * sheet.random.uniform(0.65, 1.1)
                ink = np.maximum(ink, paper.wash(sheet.fill(outline), tone))
            ink = np.maximum(ink, darkness * twig)
    return ink


def ink_wash(height, width):
    """Bamboo before misty mountains and a small boat, in washes of black ink on rice paper, with a red seal."""
    sheet = Sheet(height, width, seed=17)
    paper = WetPaper(sheet.noise(9, 6), sheet.noise(9, 6), sheet.noise(5, 7))
    ink = np.maximum(misty_mountains(sheet, paper), boat_and_birds(sheet, paper))
    ink = bamboo(sheet, paper, ink, 0.20, 0.32, 0.020, 0.5)
    ink = bamboo(sheet, paper, ink, 0.10, 0.13, 0.034, 0.88)
    drops = [ellipse(x, y, 0.003 * r, 0.003 * r) for x, y, r in sheet.random.random((50, 3))]
    ink = np.maximum(ink, paper.wash(sheet.fill(*drops), 0.5))
    fibres = sheet.random.random((260, 1, 2)) + np.cumsum(sheet.random.normal(0, 0.012, (260, 5, 2)), axis=1)
    sheet_colour = ramp(sheet.noise(8, 7), "#e3d7bb #eee5cf #f5efdf")
    sheet_colour = sheet_colour - 0.05 * sheet.lines(0.001, *[curve(fibre, 4) for fibre in fibres])[..., None]
    image = mix(sheet_colour, rgb("#14161b"), np.clip(ink, 0, 0.95))
    signs = "87.3,86.5 89.9,86.5 89.9,88.5 87.5,88.5 87.5,92.2 89.7,92.2 | 88.6,88.5 88.6,91 | 91.2,86.3 91.2,92.3"
    signs += " | 91.2,87.5 93.5,87.5 93.5,89.8 91.2,89.8 | 92.2,91 93.6,92.4"
    seal = paper.wash(sheet.fill(table("86.2,85.2 94.4,85 94.6,93.4 86.3,93.6")), 1.1)
    seal *= 1 - sheet.lines(0.0065, *[table(sign) for sign in signs.split("|")])
    return mix(image, rgb("#b3261c"), 0.92 * seal * smoothstep(0.2, 0.42, sheet.noise(40, 3)))


# Style: wave print

INDIGO, CREAM = rgb("#14264a"), rgb("#f4ecd6")


def breaking_wave(sheet, image, grain, x, base, size, codes):
    """Draw one wave: striped along its outline, with foam on its crest; a negative size mirrors it."""
    crest = table("-190,0 -130,10 -80,30 -40,62 0,90 38,100 68,93 84,75 82,58 70,52 62,58")
    face = table("60,70 46,76 28,68 20,48 30,25 60,8 110,-5 210,-60 210,-200 -190,-200")
    outline = curve(np.concatenate([crest, face]) * (size, -abs(size)) + (x, base), 10)
    size, body = abs(size), sheet.fill(outline)
    inside = depth_inside(body) / size
    bands = (3.2 * inside + 0.12 * np.sin(9 * sheet.x)) % 1 > 0.5
    stripes = hatch(12.8 * inside + 0.1 * grain, 0.3 * smoothstep(0.75, 0.1, inside))
    image = mix(image, mix(ramp(0.75 * bands + 0.25 * grain, codes), CREAM, stripes), body)
    image = mix(image, INDIGO, sheet.lines(0.006, outline, closed=True))
    # Foam: scallops along the crest, larger towards the curl, with drops of spray about them.
    along = np.arange(25, 110, 4)
    drops = outline[sheet.random.choice(along, 26)] + sheet.random.normal((0, -0.08), 0.16, (26, 2)) * size
    scallop_sizes = (0.035 + 0.05 * (along / 110) ** 2) * sheet.random.uniform(0.75, 1.25, len(along))
    radii = size * np.concatenate([scallop_sizes, sheet.random.uniform(0.004, 0.02, 26)])
    spots = np.concatenate([outline[along], drops])
    foam = [ellipse(*spot, radius, radius) for spot, radius in zip(spots, radii)]
    return mix(mix(image, INDIGO, sheet.lines(0.009, *foam, closed=True)), CREAM, sheet.fill(*foam))


def wave_print(height, width):
    """Breaking waves before a red sun, in the flat colours and dark outlines of a woodblock print."""
    sheet = Sheet(height, width, seed=23)
    grain = sheet.noise(50, 4, 12)
    image = ramp(sheet.y / 0.75 + 0.06 * grain, "#1e3a66 #6f93a8 #e9dcb8 #f1e3c0 #f4cfa6 #efb491")
    sun = ramp((sheet.y - 0.15) / 0.3 + 0.15 * grain, "#b7261f #d4472e #ea8a5c")
    image = mix(image, sun, sheet.fill(ellipse(0.66, 0.30, 0.15, 0.15)))
    for x, y, length in table("30,20,34 42,23.5,30 83,38,36 74,34.5,20 12,40,25"):
        bar = [(x - length / 2, y), (x + length / 2, y)]
        image = mix(mix(image, INDIGO, sheet.lines(0.034, bar)), CREAM, sheet.lines(0.026, bar))
    image = breaking_wave(sheet, image, grain, 0.80, 0.66, -0.17, "#86b3ae #5f97a0")
    image = breaking_wave(sheet, image, grain, 0.16, 0.70, 0.20, "#6aa3a6 #3f7f98")
    image = breaking_wave(sheet, image, grain, 0.98, 0.84, -0.32, "#4a8fa0 #23598a")
    image = breaking_wave(sheet, image, grain, 0.20, 0.98, 0.42, "#2f74a0 #173a70")
    image = breaking_wave(sheet, image, grain, 0.78, 1.08, -0.26, "#2a5f94 #12294f")
    return np.clip(image * (0.90 + 0.16 * grain[..., None]) + 0.05 * (sheet.noise(80, 2)[..., None] - 0.5), 0, 1)


PICTURES = {
    "content/landscape": landscape,
    "content/still_life": still_life,
    "style/brush_strokes": brush_strokes,
    "style/stained_glass": stained_glass,
    "style/woodcut": woodcut,
    "style/pointillism": pointillism,
    "style/ink_wash": ink_wash,
    "style/wave_print": wave_print,
}


# Command line


def draw(name, scale):
    """Draw one picture; returns H x W x 3 uint8 RGB."""
    height, width = (max(16, round(side * scale)) for side in SIZES[name.split("/")[0]])
    image = PICTURES[name](height * OVERSAMPLING, width * OVERSAMPLING)
    image = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def save(image, path):
    """Write an RGB image as JPEG: under a temporary name first, so that no half-written picture is left."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    temporary = path + ".part"
    with open(temporary, "wb") as file:
        file.write(data.tobytes())
    os.replace(temporary, path)


def main(arguments=None):
    """Draw the pictures named on the command line."""
    parser = argparse.ArgumentParser(description="Draw the example pictures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as style/woodcut (default: all)")
    parser.add_argument("--output", default=os.path.dirname(os.path.abspath(__file__)), help="folder to write to")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the size of the pictures")
    options = parser.parse_args(arguments)
    if not 0 < options.scale <= 16:
        parser.error("--scale must be above 0 and at most 16")
    unknown = [name for name in options.names if name not in PICTURES]
    if unknown:
        print(f"Unknown picture {', '.join(unknown)}; known are {', '.join(PICTURES)}.", file=sys.stderr)
        return 2
    for name in options.names or PICTURES:
        path = os.path.join(options.output, name + ".jpg")
        save(draw(name, options.scale), path)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
