"""What must not be loaded is not loaded, and these checks can fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *(
        "torch",
        "torch._dynamo",
        "sympy",
        "fvcore",
        "pandas",
        "numpy",
        "pyarrow",
        "rich",
        "pydantic",
        "tree_sitter",
        "sqlite3",
        "platformdirs",
        "altair",
        "vl_convert",
        "dask",
        "distributed",
    ),
)
TESTS = Path(__file__).parent
PREDICTED = ["compare", "--c", "3", "--o", "64", "--k", "3", "--no-count", "--no-time"]


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter holds after running this code."""
    report = f"{code}\nimport sys\nprint('loaded', *(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def run(words: list[str]) -> str:
    return f"from convcost.cli import main\nmain({words!r})"


def test_import_convcost_is_light() -> None:
    assert loaded("import convcost") == set()


def test_the_predicted_table_in_a_pipe_is_light() -> None:
    assert loaded(run(PREDICTED)) == set()


def test_the_help_of_all_commands_loads_nothing_but_rich() -> None:
    assert loaded(run(["--help"])) <= {"rich"}


def test_the_history_loads_its_database_and_nothing_heavy() -> None:
    assert loaded(run(["history"])) <= {"sqlite3", "platformdirs"}


def test_help_loads_nothing_but_rich() -> None:
    assert loaded(run(["compare", "--help"])) <= {"rich"}


def test_the_pytest_plugin_is_light() -> None:
    assert loaded("import convcost.pytest_plugin") == set()


def test_explain_is_light() -> None:
    assert loaded(run(["explain", "ghost", "--c", "3", "--o", "64", "--k", "3"])) == set()


def test_a_sweep_in_one_process_does_not_load_dask(tmp_path: Path) -> None:
    grid = {"axes": {"c": [8], "o": [8], "k": [3]}, "blocks": ["standard"]}
    sweep = f"import convcost\nconvcost.sweep({grid!r}, {str(tmp_path / 'out')!r})"
    assert {"dask", "distributed"}.isdisjoint(loaded(sweep))


@pytest.mark.parametrize("package", [pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.slow]), "pandas"])
def test_this_check_can_fail(package: str) -> None:
    assert package in loaded(f"import convcost, {package}")


@pytest.mark.slow
def test_what_is_not_marked_passes_without_torch(tmp_path: Path) -> None:
    """In the files of a few rooms that do not import it; processes that they start do not find it either."""
    for name in ("torch", "fvcore"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('kept away', name={name!r})\n")
    imports_torch = re.compile(r"^(import|from) (torch|keras|convcost\.(nn|pytest))\b", re.MULTILINE)
    files = [
        str(path)
        for room in ("cli", "comparison", "models")
        for path in sorted(TESTS.glob(f"{room}/test_*.py"))
        if not imports_torch.search(path.read_text(encoding="utf-8"))
    ]
    assert len(files) > 10
    words = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not torch and not slow and not timing"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(TESTS.parent)])}
    command = [sys.executable, *words, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=TESTS.parent, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.torch
@pytest.mark.slow
def test_a_count_does_load_torch() -> None:
    assert {"torch", "fvcore"} <= loaded(run([*PREDICTED[:-2], "--no-time", "--block", "pointwise"]))


COLLECTIONS = """
import gc, sys, torch, convcost
begun = []
def is_importing(phase, info):
    home = sys.modules.get("convcost.nn.count.model_report")
    begun.append("convcost.nn.count" in sys.modules and not hasattr(home, "report"))
gc.callbacks.append(is_importing)
gc.set_threshold(1, 1, 1)
convcost.count(torch.nn.Linear(2, 3), torch.zeros(1, 2))
print(any(begun), len(begun) > 0, gc.get_threshold())
"""
"""Whether garbage is collected while the first count imports, whether any is, and the thresholds afterwards."""


@pytest.mark.torch
@pytest.mark.slow
def test_the_imports_of_the_first_count_collect_no_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTIONS], capture_output=True, text=True, check=True)
    assert done.stdout == "False True (1, 1, 1)\n"


NETWORKS = """
import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    def __init__(self, width=64, heads=4):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 16, 16), nn.Parameter(torch.zeros(1, 1, width))
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 99), nn.GELU(), nn.Linear(99, width))
        self.heads = heads

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
        x = x + self.out(y)
        return (x + self.perceptron(x))[:, 0]


class Squeeze(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x):
        return x * functional.hardsigmoid(self.up(functional.relu(self.down(functional.adaptive_avg_pool2d(x, 1)))))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(24, 4, 1)
        self.up, self.norm = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.BatchNorm2d(16)

    def forward(self, x):
        a = functional.relu(self.a(x))
        b = functional.relu(self.norm(self.b(functional.max_pool2d(a, 2))), inplace=True)
        wide = functional.interpolate(b, scale_factor=2, mode="bilinear")
        return self.c(torch.cat([a + self.up(b), wide], 1)).softmax(1)


def vit():
    return Attention()


def unet():
    return UNet()


def mobilenet():
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(inplace=True))
    depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU6(inplace=True), Squeeze(16))
    return nn.Sequential(stem, depthwise, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(16, 10))
"""


def added_to_torch(words: list[str]) -> set[str]:
    """The top-level packages that a command loads, without its own and those of `import torch`; torch's compiler too."""
    code = (
        f"import sys, torch\nbefore = set(sys.modules)\n{run(words)}\n"
        "names = {name if name == 'torch._dynamo' else name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print('loaded', *sorted(names - {name.partition('.')[0] for name in before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name for name in done.stdout.splitlines()[-1].split()[1:] if not name.startswith("_")}
    return packages - {"convcost", "typer", "annotated_doc", "shellingham"}


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("network", ["vit", "unet", "mobilenet"])
def test_counting_a_network_loads_neither_sympy_nor_the_compiler(network: str, tmp_path: Path) -> None:
    (tmp_path / "networks.py").write_text(NETWORKS, encoding="utf-8")
    words = ["model", f"{tmp_path}/networks.py:{network}", "--input", "1x3x64x64", "--no-cross-check"]
    assert added_to_torch(words) == {"networks"}


OPERATORS = """
import sys, torch, convcost
from torch.nn import functional as F

x, image = torch.randn(2, 7, 8), torch.randn(2, 4, 8, 8)
CASES = {
    "sinusoids": (lambda x: x[..., :4] / 10000 ** (torch.arange(0, 8, 2, device=x.device) / 8) + torch.arange(4.0), x),
    "roll": (lambda x: x[:, :3].roll(1, 1), x),
    "mask": (lambda x: x.mT.masked_fill(torch.ones(8, 1, dtype=torch.bool, device=x.device), -1e9), x),
    "mask in place": (lambda x: x.masked_fill_(torch.ones(7, 1, dtype=torch.bool, device=x.device), -1e9), x),
    "loss": (lambda x: F.cross_entropy(x[:, 0], torch.zeros(2, dtype=torch.long, device=x.device)), x),
    "loss of images": (lambda x: F.cross_entropy(x, torch.zeros(2, 8, 8, dtype=torch.long, device=x.device)), image),
    "eye": (lambda x: x @ torch.eye(8, device=x.device), x),
    "polar": (lambda x: torch.view_as_real(torch.polar(x, x)), x),
    "fold": (lambda x: F.fold(F.unfold(x, 3, padding=1), (8, 8), 3, padding=1), image),
    "one image unfolded": (lambda x: F.unfold(x[0], 3), image),
    "grid": (lambda x: F.grid_sample(x, F.affine_grid(x[:, 0, :2, :3].contiguous(), (2, 4, 6, 6), False), align_corners=False), image),
    "distances": (lambda x: torch.cdist(x, x), x),
    "scatter": (lambda x: torch.zeros_like(x).scatter_(2, x.topk(2, 2)[1], 1.0).scatter(2, x.topk(2, 2)[1], 1.0), x),
    "shuffle": (torch.nn.ChannelShuffle(2), image),
    "weight norm": (lambda x: torch._weight_norm(x, x[:, :1, :1]), x),
    "bag": (torch.nn.EmbeddingBag(10, 4), torch.zeros(5, 4, dtype=torch.long)),
}
for name, (model, data) in CASES.items():
    convcost.count(model, data)
    assert not {"sympy", "torch._dynamo"} & set(sys.modules), name
"""


@pytest.mark.torch
@pytest.mark.slow
def test_counting_everyday_operators_loads_neither_sympy_nor_the_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OPERATORS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


PYDANTIC = {"pydantic", "pydantic_core", "annotated_types", "typing_inspection"}
TOML = {*PYDANTIC, "tree_sitter", "tree_sitter_toml"}
"""What checks the files of networks and budgets."""
ADDED: dict[str, tuple[list[str], set[str]]] = {
    "compare": (PREDICTED, set()),
    "explain": (["explain", "standard", *PREDICTED[1:7]], set()),
    "history": (["history"], set()),
    "model": (["model", "network:resnet50", "--no-cross-check"], TOML),
    "check": (["check", "--config", f"{TESTS.parent}/configs/budgets.toml", "--only", "resnet50"], TOML),
}
"""By command, its words and what it adds to `import torch`."""


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("command", ADDED)
def test_what_a_command_adds_to_torch(command: str) -> None:
    words, added = ADDED[command]
    assert added_to_torch(words) == added
