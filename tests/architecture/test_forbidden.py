"""Forbidden calls and texts: the linter's rules hold, and a walk over syntax trees adds ours.

Ruff's `S` rules and banned names cover shells, `eval`, unpickling, unverified certificates,
guessable names and open ports. The import contracts cover imports of picklers.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.command import ROOT

MODULES = sorted(path for name in ("sweeper", "trainables") for path in (ROOT / name).rglob("*.py"))
PICKLERS = {"pickle", "cloudpickle", "joblib", "marshal", "shelve"}
LINTED = {
    "subprocess.run('ls', shell=True)": "S602",
    "subprocess.getoutput('ls')": "S605",
    "os.system('ls')": "S605",
    "eval(text)": "S307",
    "exec(text)": "S102",
    "pickle.loads(data)": "S301",
    "pandas.read_pickle(data)": "S301",
    "marshal.loads(data)": "S302",
    "torch.load(data)": "TID251",
    "mlflow.pyfunc.load_model(uri)": "TID251",
    "requests.get(uri, timeout=1, verify=False)": "S501",
    "tempfile.mktemp()": "S306",
    "server.bind(('0.0.0.0', 80))": "S104",
}


def forbidden(source: str) -> list[str]:
    """Return the forbidden things in a module, each with its line."""
    tree = ast.parse(source)
    documentation = {id(text) for text in docstrings(tree)}
    nodes = (node for node in ast.walk(tree) if id(node) not in documentation)
    reasons = ((node, why(node)) for node in nodes for kind, why in RULES if isinstance(node, kind))
    return [f"line {node.lineno}: {reason}" for node, reason in reasons if reason]


def forbidden_import(node: ast.ImportFrom) -> str | None:
    """Return why an import is forbidden, or None."""
    is_loaded = "load_model" in {alias.name for alias in node.names}
    is_mlflow = (node.module or "").startswith("mlflow")
    return "trusts MLflow's models" if is_loaded and is_mlflow else None


def forbidden_words(node: ast.List | ast.Tuple) -> str | None:
    """Return why a command is forbidden, or None."""
    words = [word.value for word in node.elts if isinstance(word, ast.Constant)]
    return "ends every Ray on the host" if words[:2] == ["ray", "stop"] else None


def forbidden_keys(node: ast.Dict) -> str | None:
    """Return why a mapping is forbidden, or None."""
    keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return "installs at run time" if keys & {"pip", "conda", "uv"} else None


def forbidden_text(node: ast.Constant) -> str | None:
    """Return why a constant is forbidden, or None."""
    text = node.value if isinstance(node.value, str) else ""
    if "ray stop" in text:
        return "ends every Ray on the host"
    if text in ("::", "*:0"):
        return "listens to everybody"
    return "pickles" if text in PICKLERS else None


def forbidden_call(call: ast.Call) -> str | None:
    """Return why a call is forbidden, or None."""
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    last = name.rpartition(".")[2]
    reasons = {
        "allow_pickle": given.get("allow_pickle", "False") != "False",
        "trusts MLflow's models": name.startswith("mlflow.") and last == "load_model",
        "unsafe YAML type": name.endswith("YAML") and "unsafe" in given.get("typ", ""),
        "joins any Ray it finds": name == "ray.init" and "address" not in given,
        "trusts the hub's code": given.get("trust_remote_code") == "True",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


RULES = (
    (ast.Call, forbidden_call),
    (ast.ImportFrom, forbidden_import),
    (ast.Constant, forbidden_text),
    (ast.List | ast.Tuple, forbidden_words),
    (ast.Dict, forbidden_keys),
)


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the nodes that are docstrings: they may name what the code may not do."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            yield first.value


def test_no_module_does_anything_forbidden():
    found = {path.relative_to(ROOT): forbidden(path.read_text()) for path in MODULES}
    assert {path: reasons for path, reasons in found.items() if reasons} == {}


@pytest.mark.parametrize(
    "code",
    [
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=trusted)",
        "mlflow.sklearn.load_model(uri)",
        "from mlflow.pytorch import load_model",
        "importlib.import_module('pickle')",
        "runtime_env = {'pip': ['x']}",
        "server.bind(('::', 80))",
        "YAML(typ='unsafe')",
        "ray.init()",
        "run('ray stop --force')",
        "run(['ray', 'stop'])",
        "AutoModel.from_pretrained(f, trust_remote_code=True)",
    ],
)
def test_each_forbidden_thing_is_found(code):
    assert len(forbidden(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        '"""Never `ray stop`: it ends every Ray on the host."""',
        "ray.init(address='local')",
        "YAML(typ='safe')",
        "model.eval()",
    ],
)
def test_what_only_looks_forbidden_is_not(code):
    assert forbidden(code) == []


@pytest.mark.parametrize("where", ["sweeper/execution/cluster.py", "trainables/trainable.py"])
def test_the_linter_finds_the_rest(where):
    modules = sorted({code.partition(".")[0] for code in LINTED if code.split("(")[0].count(".")})
    lines = [
        *(f"import {name}" for name in modules),
        *LINTED,
        "try:",
        "    f()",
        "except:",
        "    g()",
    ]
    command = [sys.executable, "-m", "ruff", "check", "--output-format=json", "--stdin-filename"]
    done = subprocess.run(
        [*command, str(ROOT / where), "-"], input="\n".join(lines), cwd=ROOT, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    found = {(row["location"]["row"], row["code"]) for row in json.loads(done.stdout)}
    missing = {code for code, rule in LINTED.items() if (lines.index(code) + 1, rule) not in found}
    assert missing == set()
    assert (len(lines) - 1, "E722") in found


def test_no_file_escapes_the_linter():
    """A line's `noqa` names its rule; exceptions of whole files are in pyproject.toml alone."""
    assert [path for path in MODULES if "ruff: noqa" in path.read_text()] == []
