"""Pictures, masks, optical flow and clips in files: read, converted, written."""

import os
from typing import Union

PathLike = Union[str, "os.PathLike[str]"]
