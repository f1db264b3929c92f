"""The former home of masks and regions, kept for programs that import them from here."""

from ppadaattn.media.drawing import fill_outlines, fill_polygon, grow_region, paint_mask, show_regions
from ppadaattn.media.masks import mask_for, read_mask
from ppadaattn.model.regions import split_mask
