"""The shape of the code: pure packages stay pure, dependencies run one way, files and functions stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPURE = {
    "asyncio",
    "aiohttp",
    "redis",
    "aiomysql",
    "prometheus_client",
    "logging",
    "structlog",
    "time",
    "random",
    "secrets",
    "os",
}
PURE = ["chatcore/delivery", "chatcore/presence", "chatcore/ids", "chatcore/frames", "chatcore/stream", "chatcore/push"]
PURE += [
    "chatcore/keys",
    "chatcore/acl",
    "chatcore/trace",
    "chatcore/errors",
    "chatclient/session",
    "delivery_worker/partitions",
    "delivery_worker/pager",
]
SERVICES = {"gateway", "delivery_worker", "presence"}
MAX_LINES = 400
MAX_BODY = 40


def package_of(name: str) -> Path:
    [path] = list(ROOT.glob(f"*/*/src/{name.split('/')[0]}"))
    return path


def files_of(name: str) -> list[Path]:
    package, _, rest = name.partition("/")
    path = package_of(package) / rest if rest else package_of(package)
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert files, f"{name} is empty"
    assert all(file.exists() for file in files), f"{name} does not exist"
    return files


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_package_does_no_input_or_output(name: str) -> None:
    for file in files_of(name):
        assert not imports_of(file) & IMPURE, file


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_imports_another(name: str) -> None:
    for file in files_of(name):
        assert not imports_of(file) & (SERVICES - {name}), file


def test_the_common_ground_knows_no_service_and_no_mysql() -> None:
    for file in files_of("chatcore"):
        assert not imports_of(file) & (SERVICES | {"aiomysql", "pymysql", "sqlalchemy", "chatclient"}), file


def test_the_client_stands_alone() -> None:
    for file in files_of("chatclient"):
        assert not imports_of(file) & (SERVICES | {"chatcore"}), file


def sources() -> list[Path]:
    return [file for name in ("libs", "services", "tools") for file in sorted((ROOT / name).rglob("src/**/*.py"))]


def test_no_file_is_longer_than_an_afternoon_allows() -> None:
    long = {str(f.relative_to(ROOT)): n for f in sources() if (n := len(f.read_text().splitlines())) > MAX_LINES}
    assert long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {}
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if len(node.body) > 1 and isinstance(node.body[0], ast.Expr) else node.body[0]
                if (length := (node.body[-1].end_lineno or 0) - first.lineno + 1) > MAX_BODY:
                    long[f"{file.relative_to(ROOT)}:{node.name}"] = length
    assert long == {}


def test_every_module_says_what_it_owns() -> None:
    assert [str(f) for f in sources() if not ast.get_docstring(ast.parse(f.read_text(encoding="utf-8")))] == []
