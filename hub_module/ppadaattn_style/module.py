"""ppadaattn as a module of PaddleHub: its decorators around `ppadaattn.hub.Module`."""

import argparse
import ast

import ppadaattn

from paddle import nn
from paddlehub.module.module import moduleinfo, runnable, serving


# Literals, because PaddleHub reads them without running the file.
@moduleinfo(
    name="ppadaattn_style",
    version="0.1.0",
    type="cv/style_transfer",
    summary="AdaAttN: paints any picture in the style of any others, in one pass of one network.",
    author="ppadaattn",
    author_email="",
)
class PpadaattnStyle(nn.Layer):
    """Paints pictures. It is a Layer because PaddleHub runs the methods of anything else in static mode."""

    def __init__(self):
        nn.Layer.__init__(self)  # super() fails: PaddleHub makes a new class of this one
        self.painter = ppadaattn.hub.Module(directory=self.directory)

    def style_transfer(
        self, images=None, paths=None, alpha=1, use_gpu=False, output_dir="transfer_result", visualization=False
    ):
        """As `ppadaattn.hub.Module.style_transfer`."""
        return self.painter.style_transfer(images, paths, alpha, use_gpu, output_dir, visualization)

    @serving
    def serving_method(self, images, alpha=1, use_gpu=False):
        """As `ppadaattn.hub.Module.serving_method`; for `hub serving`."""
        return self.painter.serving_method(images, alpha, use_gpu)

    @runnable
    def run_cmd(self, words):
        """Paint one picture into a file; for `hub run`."""
        parser = argparse.ArgumentParser(prog=f"hub run {self.name}", description=self.summary)
        parser.add_argument("--content", required=True, help="path of a picture")
        parser.add_argument("--styles", required=True, help="paths of pictures, with commas between them")
        parser.add_argument("--weights", help="numbers with commas between them, one a style (default: equal)")
        parser.add_argument("--alpha", type=float, default=1, help="how much of the style, 0 to 1 (default: 1)")
        parser.add_argument("--use_gpu", type=ast.literal_eval, default=False, help="True or False (default)")
        parser.add_argument("--output_dir", default="transfer_result", help="a folder (default: %(default)s)")
        args = parser.parse_args(words)
        item = {"content": args.content, "styles": args.styles.split(",")}
        if args.weights is not None:
            item["weights"] = args.weights.split(",")
        return self.style_transfer(None, [item], args.alpha, args.use_gpu, args.output_dir, True)
