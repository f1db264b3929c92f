"""Run the lab's trainer, ../shared/lab/fit.py, for a few steps on given data, in float32: for tests/test_recipe.py.

    python lab_step.py FOLDER    with PyTorch; FOLDER holds plan.json, batch.npz, weights and the targets' pictures

What the lab draws at random is taken from the plan instead. Writes FOLDER/losses.json: one {name: value} for each step.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

folder = Path(sys.argv[1])
plan = json.loads((folder / "plan.json").read_text())
sys.path.insert(0, plan["lab"])
import fit  # noqa: E402


class Draws:
    """Stands in for `random`: each call takes the next value of the plan."""

    def __init__(self, values):
        self.values = {name: iter(list(value)) for name, value in values.items()}

    def __getattr__(self, name):
        return lambda *_, **__: next(self.values[name])

    def choices(self, painted, k):
        names = [next(self.values["choices"]) for _ in range(k)]
        return [next(item for item in painted if Path(item[2]).name == name) for name in names]

    def random(self):
        return 1.0

    def seed(self, value):
        pass


def planned_permutation(draws):
    return lambda count, **_: torch.tensor(next(draws.values["randperm"]))


batch = np.load(folder / "batch.npz")
streams = iter([torch.from_numpy(batch["content"]), torch.from_numpy(batch["style"])])
fit.data.read_pack = lambda path: []
fit.data.batches = lambda *_, **__: iter([next(streams)])
# The lab computes in bfloat16; here both compute in float32.
torch.autocast = lambda *_, **__: contextlib.nullcontext()
torch.Tensor.bfloat16 = lambda self: self
torch.nn.Module.bfloat16 = lambda self: self

draws = Draws(plan["draws"])
fit.random = draws
fit.torch.randperm = planned_permutation(draws)
fit.Mirror.__init__.__defaults__ = (plan["crop_size"], 2, plan["num_style_points"], plan["refresh_interval"])

names, steps, seen = plan["names"], [], []
backward, as_tensor = torch.Tensor.backward, torch.as_tensor


def noted_backward(self, *arguments, **options):
    steps.append({"total": float(self)})
    return backward(self, *arguments, **options)


def noted_as_tensor(value, *arguments, **options):
    found = as_tensor(value, *arguments, **options)
    seen.append(float(found))
    return found


torch.Tensor.backward, torch.as_tensor = noted_backward, noted_as_tensor
sys.argv = ["fit.py", *plan["words"]]
fit.main()
for number, step in enumerate(steps):
    step.update(zip(names, seen[number * len(names) : (number + 1) * len(names)]))
(folder / "losses.json").write_text(json.dumps(steps))
