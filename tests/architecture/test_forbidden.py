"""What the packages never do, looked for in their syntax trees."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.command import ROOT

MODULES = sorted(path for name in ("sweeper", "trainables") for path in (ROOT / name).rglob("*.py"))
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
SHELLS = ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput")
UNPICKLER = ROOT / "trainables/tasks/formats/restricted_pickle.py"  # refuses all but arrays


def forbidden(source: str) -> list[str]:
    """The forbidden things in a module, each with its line."""
    tree = ast.parse(source)
    documentation = {id(text) for text in docstrings(tree)}
    found = []
    for node in ast.walk(tree):
        reason = None
        if isinstance(node, ast.Call):
            reason = forbidden_call(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            reason = forbidden_import(node)
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            reason = "bare except"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in documentation:
                reason = forbidden_text(node.value)
        elif isinstance(node, ast.List | ast.Tuple):
            words = [word.value for word in node.elts if isinstance(word, ast.Constant)]
            if words[:2] == ["ray", "stop"]:
                reason = "ends every Ray on the host"
        elif isinstance(node, ast.Dict):
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            reason = "installs at run time" if keys & {"pip", "conda", "uv"} else None
        if reason:
            found.append(f"line {node.lineno}: {reason}")
    return found


def forbidden_import(node: ast.Import | ast.ImportFrom) -> str | None:
    """Says why an import is forbidden, or None."""
    module = getattr(node, "module", None) or ""
    names = {alias.name for alias in node.names}
    roots = {name.partition(".")[0] for name in (module, *(names if not module else ()))}
    reasons = {
        "pickles": roots & PICKLERS or names & PICKLERS,
        "another reader of YAML": "yaml" in roots,
        "opens pickles": module in ("torch", "numpy") and "load" in names,
        "trusts MLflow's models": module.startswith("mlflow") and "load_model" in names,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def forbidden_text(text: str) -> str | None:
    """Says why a constant is forbidden, or None."""
    if "ray stop" in text:
        return "ends every Ray on the host"
    if text in ("0.0.0.0", "::", "*:0"):
        return "listens to everybody"
    return "pickles" if text in PICKLERS - {"dill"} else None


def forbidden_call(call: ast.Call) -> str | None:
    """Says why a call is forbidden, or None."""
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    last = name.rpartition(".")[2]
    reasons = {
        "allow_pickle": given.get("allow_pickle", "False") != "False",
        "runs a shell": given.get("shell", "False") != "False" or name in SHELLS,
        "runs text": name in ("eval", "exec"),
        "opens pickles": name == "torch.load" and given.get("weights_only") != "True",
        "trusts MLflow's models": name.startswith("mlflow.") and last == "load_model",
        "opens pickles as tables": last in ("read_pickle", "to_pickle"),
        "trusts any certificate": given.get("verify") == "False",
        "a name that others can guess": name == "tempfile.mktemp",
        "unsafe YAML type": name.endswith("YAML") and "unsafe" in given.get("typ", ""),
        "joins any Ray it finds": name == "ray.init" and "address" not in given,
        "trusts the hub's code": given.get("trust_remote_code") == "True",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """The nodes that are docstrings: they may name what the code may not do."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            yield first.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_does_nothing_forbidden(path):
    expected = ["pickles"] if path == UNPICKLER else []
    assert [reason.partition(": ")[2] for reason in forbidden(path.read_text())] == expected


@pytest.mark.parametrize(
    "code",
    [
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=trusted)",
        "mlflow.pyfunc.load_model(uri)",
        "from mlflow.pytorch import load_model",
        "import yaml",
        "from yaml import safe_load",
        "from torch import load",
        "importlib.import_module('pickle')",
        "import cloudpickle.cloudpickle",
        "pd.read_pickle(f)",
        "runtime_env = {'pip': ['x']}",
        "server.bind(('0.0.0.0', 80))",
        "requests.get(url, verify=False)",
        "subprocess.getoutput('ls')",
        "tempfile.mktemp()",
        "subprocess.run('ls', shell=True)",
        "os.system('ls')",
        "eval(text)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "YAML(typ='unsafe')",
        "import pickle",
        "from cloudpickle import loads",
        "ray.init()",
        "run('ray stop --force')",
        "run(['ray', 'stop'])",
        "try:\n    f()\nexcept:\n    pass",
        "AutoModel.from_pretrained(f, trust_remote_code=True)",
    ],
)
def test_each_forbidden_thing_is_found(code):
    assert len(forbidden(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        '"""Never `ray stop`: it ends every Ray on the host."""',
        "torch.load(f, weights_only=True)",
        "ray.init(address='local')",
        "YAML(typ='safe')",
        "model.eval()",
    ],
)
def test_what_only_looks_forbidden_is_not(code):
    assert forbidden(code) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_the_public_functions_of_the_science_say_what_they_do(path):
    tree = ast.parse(path.read_text())
    if path.name != "__init__.py":
        assert ast.get_docstring(tree), "a module opens with its docstring"
    if path.is_relative_to(ROOT / "trainables"):
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        public = [node for node in functions if not node.name.startswith("_")]
        assert [node.name for node in public if not ast.get_docstring(node)] == []
