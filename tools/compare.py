"""Train the compared methods alike, then write the report: `python tools/compare.py configs/compare`.

Words after the folder are keys of the training with other values, such as dataset.train.content_root=photos. It is
`tools/main.py -c FOLDER`, then `tools/evaluate.py report configs/evaluate/compare.yaml`, which reads the weights in
output_dir/compare; start it again to resume.
"""

import sys

from _launch import run

REPORT = ("report", "evaluate/compare.yaml", "--output", "output/compare")

if __name__ == "__main__":
    folder, *overrides = sys.argv[1:] or ["compare"]
    status = run("train", ["-c", folder, *(["-o", *overrides] if overrides else [])])
    sys.exit(status or run("evaluate", REPORT))
