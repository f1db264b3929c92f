"""The former home of `FramePainter`, kept for programs that import it from here."""

from ppadaattn.infer.frames import FramePainter, Memory, is_cut
