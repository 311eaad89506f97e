"""The page "Your own task" of trainables/tasks/README.md, followed literally in an empty folder."""

import re
import subprocess
import sys

from tests.support.command import ROOT, Shell

PAGE = ROOT / "trainables" / "tasks" / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_page_works_as_it_is_written(tmp_path):
    text = PAGE.read_text(encoding="utf-8").partition("## Your own task\n")[2]
    blocks = [(kind, block) for kind, block in BLOCK.findall(text.partition("\n## ")[0])]
    assert [kind for kind, _ in blocks] == ["python", "yaml", "sh", "yaml", "sh"]
    (_, script), (_, task), (_, commands), (_, sweep), (_, checks) = blocks
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    (tmp_path / "wafer.task.yaml").write_text(task)
    (tmp_path / "wafers.yaml").write_text(sweep)
    shell = Shell(tmp_path, {"SWEEPER_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"})
    shell.run("validate", "wafers.yaml")  # also before the import
    shell.run("plan", "wafers.yaml", code=2)
    for line in (commands + checks).splitlines():
        words = line.partition("#")[0].split()
        assert words[0] == "sweeper"
        out = shell.run(*words[1:])
        assert "mine/wafer" in out.out + out.err or "wafers" in out.out
    assert (tmp_path / "wafer.png").stat().st_size > 1000
