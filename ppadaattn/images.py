"""The former home of pictures in files, kept for programs that import them from here."""

from ppadaattn.media.images import (
    FORMATS,
    contact_sheet,
    find_images,
    flatten,
    image_size,
    keep_colors,
    read_image,
    reduce_to,
    scale_to,
    sheet,
    thumbnail,
    write_image,
)
