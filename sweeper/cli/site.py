"""The command that writes the pages of the benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.options import AsJson


def site(
    evidence: Annotated[
        list[Path] | None,
        typer.Argument(
            help="JSON files of evidence; by default all that come with the package.",
            metavar="[EVIDENCE]...",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="The folder of the pages.")
    ] = Path("benchmark"),
    as_json: AsJson = False,
) -> None:
    """Write the pages of the benchmark: methods by tasks by size, with floors and closed forms.

    A verdict stands in place of a rank where paired seeds do not separate methods, cost beside
    quality, and every seed can be downloaded. The pages say which evidence is of other code or
    data, and how many of its seeds were trained again. A value that does not follow from the seeds
    of its file is a fault, and no page is written.

        sweeper site -o benchmark
        sweeper site trainables/evidence/trust.json -o benchmark
    """
    from sweeper.commands.benchmark import site as app

    output.show(app.site(evidence or (), out), command="site", as_json=as_json)
