"""The page: one file, complete, safe, and true to the ledger."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sweeper.driver.pages import report_of
from sweeper.model import Study, StudyFacts, TrialState
from sweeper.render.page.report import render_comparison, study_page
from sweeper.results.compare import compare
from sweeper.results.usage import TITLES
from sweeper.text import readable
from tests.support.browser import browser, needs_chromium
from tests.support.compared_ledgers import Scores, write
from tests.support.ledgers import EPOCHS, TASK, new_ledger, objective, rate_of, script, tuned_study
from tests.support.printed import needs_poppler, sheets
from tests.support.trials import sampled

MARGIN = 14 / 25.4 * 72  # of a printed page, in points


class Text(HTMLParser):
    """Collects what is text, and the tags that were opened and not closed."""

    VOID = ("meta", "br", "wbr")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href") and not v.startswith("#")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.parts.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.parts).split())


@pytest.fixture(scope="module")
def page(large_ledger):
    return report_of(large_ledger)


@pytest.mark.slow
def test_the_page_is_well_formed_and_refers_to_nothing_outside(page):
    text = Text(page)
    assert text.open == []
    assert text.addresses == []
    assert "@import" not in page.split("<script")[0]


def test_the_page_is_small(page):
    assert len(page.encode()) < 120_000, "of 48 trials"


@pytest.mark.soak
def test_the_page_of_24_studies_of_38_trials_stays_under_its_limit(tmp_path):
    tasks = [f"pdebench/task_{number}_{number % 2 + 1}d" for number in range(6)]
    studies = [
        Scores(
            method=method, task=task, best=(0.1234567,), num_trials=38, epochs=20,
            parameters=[f"refine.parameter_{n}" for n in range(6)],
        )
        for method in ("nft", "orca", "pare", "mona") for task in tasks
    ]  # fmt: skip
    page = report_of(write(tmp_path, "large", studies))
    assert len(page.encode()) < 1_500_000


def test_the_page_says_question_answer_and_numbers_without_any_script(page):
    text = str(Text(page))
    assert "Which of MoNA and NFT solves pdebench/advection_1d best" in text
    values = {m: readable(1.1 * objective(m, rate_of(7), EPOCHS)) for m in ("mona", "nft")}
    assert f"MoNA has the lowest test nRMSE, {values['mona']} (one seed, one draw of" in text
    assert re.search(rf"\d+ % below NFT \({values['nft']}\)\.", text)
    assert "Where a number is of one seed, a small difference may be chance" in text
    assert "24 trials: 11 complete, 9 pruned and 4 failed." in text
    assert "the loss is <nan> at refine epoch 4" in text
    assert "worse than its peers at refine epoch 2" in text
    assert "c0ffeec0ffee" in text
    assert "# <b>who</b> wins?" in text
    assert "Published numbers on pdebench/advection_1d: 1" in text
    assert re.search(r"ORCA\s+0\.0098\s+nRMSE\s+one-shot\s+official\s+10000\s+Shen et al", text)
    assert "By OTDD, closer is better for MoNA on pdebench/advection_1d" in text
    assert re.search(r"\d+ minutes of CPU for 48 trials and \d+ epochs\.", text)
    told = "The control has the preset's settings and is not tuned; a tuned one is a study of NFT."
    assert told in text


def test_the_result_comes_first_and_distances_last(page):
    text = str(Text(page))
    order = [
        "Results", "Validation value of each trial of the search", "Validation value by epoch",
        "Complete sampled trials", "Importance of each parameter alone",
        "Does the distance predict the error?", "Trials that did not complete",
    ]  # fmt: skip
    places = [text.rindex(part) for part in order]
    assert places == sorted(places)


def test_in_the_table_of_trials_what_was_searched_comes_before_the_rest(ledger):
    page = study_page(tuned_study(ledger, f"mona/{TASK}"))
    head = re.findall(r"<th(?: [^>]*)?>(.*?)</th>", page)
    assert [re.sub("<wbr>", "", name) for name in head] == [
        "trial", "kind", "state", "val/nrmse", "test/nrmse", "refine.lr", "refine.optimizer",
        "meta.epochs", "best epoch",
    ]  # fmt: skip


def test_a_cell_holds_the_number_that_it_rounds(page):
    best = 1.1 * objective("mona", rate_of(7), EPOCHS)
    assert f'<td title="{best:.9g}">{readable(best)}</td>' in page


def test_a_sweep_with_one_method_is_asked_about_vanilla_fine_tuning(tmp_path):
    ledger = new_ledger(tmp_path)
    for _ in script(ledger, tmp_path):
        if len(ledger.trials()) == 3 and ledger.trials()[2].state is TrialState.COMPLETE:
            break
    text = str(Text(report_of(ledger)))
    assert "How well does MoNA solve pdebench/advection_1d once tuned" in text
    assert "does it beat untuned vanilla fine-tuning for as many epochs?" in text
    assert "3 of 5 trials ended" in text


def test_every_text_of_a_user_is_escaped(tmp_path):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b"
    ledger = new_ledger(tmp_path)
    study = Study(name=f"nft/{attack}", method=attack, task=attack, objective=attack, seed=0)
    ledger.add_study(study, StudyFacts.from_json({"backbone": attack, "baselines": {attack: 1.0}}))
    for number in range(12):
        ledger.add_trial(
            sampled(
                study.name, number, params={attack: number}, sampled=(attack,),
                state=TrialState.COMPLETE, value=1.0 + number, test={attack: 1.0}, reason=attack,
            )
        )  # fmt: skip
    told = {"state": TrialState.FAILED, "reason": attack, "failure": attack}
    ledger.add_trial(sampled(study.name, 12, params={attack: attack}, **told))
    page = report_of(ledger)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert Text(page).open == []
    assert "\u202e" not in page
    assert r"\u202e" in str(Text(page))
    tips = " ".join(re.findall(r'data-tips="([^"]*)"', page))
    assert r"\u202e" in tips, "as text, which the script shows as it is"


def test_a_sweep_that_has_just_begun_has_a_page(tmp_path):
    ledger = new_ledger(tmp_path)
    assert "mona_pdebench" in str(Text(report_of(ledger)))
    study = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)
    ledger.add_study(study)
    assert "No answer on t yet" in str(Text(report_of(ledger)))


@pytest.mark.slow
def test_a_page_can_be_written_after_every_event(tmp_path):
    ledger = new_ledger(tmp_path)
    for count, _ in enumerate(script(ledger, tmp_path)):
        if count % 12 == 0:
            assert Text(report_of(ledger)).open == []


def test_a_studys_page_is_about_it_alone(large_ledger):
    text = str(Text(study_page(tuned_study(large_ledger, f"nft/{TASK}"))))
    assert "NFT on pdebench/advection_1d" in text
    assert "MoNA" not in text


def test_the_page_marks_the_best_over_replicates(tmp_path):
    lucky = Scores(method="mona", task=TASK, best=[0.65, 0.3], num_trials=3)
    ledger = write(tmp_path, "s", [lucky])
    tuned = tuned_study(ledger, f"mona/{TASK}")
    assert min(t.value for t in tuned.searched if t.number != 1) == 0.6, "the preset's"
    assert tuned.best.number == 2
    marked = re.findall(r'<tr class="marked"><td[^>]*>(\d+)', study_page(tuned))
    assert marked == ["2"]


WIDE = "pdebench/diffusion_reaction_2d@hard"
SIX = (0.20, 0.21, 0.19, 0.22, 0.20, 0.18)


def replicated(*tasks: str, **options) -> list[Scores]:
    return [
        Scores(
            method=method, task=task, best=[v + more for v in SIX], control=[0.3] * 6,
            parameters=[f"refine.parameter_{n}" for n in range(6)], **options,
        )
        for task in tasks
        for method, more in (("contrastive_pare", 0.0), ("orca", 0.01), ("mona", 0.1))
    ]  # fmt: skip


@pytest.mark.slow
def test_one_table_has_each_result_with_the_floor_and_its_legend_what_occurs(sweep):
    studies = replicated(TASK, WIDE, facts={"baselines": {"mean": 1.0, "ridge": 0.3}})
    page = report_of(sweep(*studies))
    text = " ".join(str(Text(page)).split())
    row = r"ORCA 0\.21 0\.\d+ to 0\.\d+ 6 0\.01414 0\.21 2 0\.6 0\.3 0\.3 \(ridge\) 3"
    assert len(re.findall(row, text)) == 2
    assert f"Predictors without a network on {TASK}: mean 1, ridge 0.3." in text
    assert "nRMSE is the normalised root mean square error" in text
    assert "vanilla fine-tuning for as many epochs" in text
    assert "NFT is" not in text, "no study is of NFT"
    assert "jaggedness" not in text
    comparison = render_comparison(compare([sweep(*studies, name="again")]))
    assert len(re.findall(row, " ".join(str(Text(comparison)).split()))) == 2


@pytest.mark.slow
@needs_chromium
def test_no_table_is_cut_off_at_1300_pixels(sweep, tmp_path):
    ledger = sweep(*replicated(TASK, WIDE))
    pages = {"report": report_of(ledger), "comparison": render_comparison(compare([ledger]))}
    cut = (
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(each => each.scrollWidth > each.clientWidth).map(each => each.innerText)"
    )
    with browser() as chromium:
        for name, page in pages.items():
            file = tmp_path / f"{name}.html"
            file.write_text(page)
            chromium.open(file.as_uri(), width=1300)
            chromium.run("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert chromium.run(cut) == []


CUT_LABELS = """
return [...document.querySelectorAll('.plot text')].filter((text) => {
  const [inner, outer] = [text, text.closest('svg')].map((each) => each.getBoundingClientRect());
  return inner.left < outer.left || inner.right > outer.right || inner.top < outer.top
    || inner.bottom > outer.bottom;
}).map((text) => text.textContent);
"""


@pytest.mark.slow
@needs_chromium
def test_the_page_fits_wide_and_narrow_in_light_and_dark(page, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page)
    with browser() as chromium:
        for width in (1400, 420):
            papers = set()
            for dark in (False, True):
                chromium.open(file.as_uri(), width=width, dark=dark)
                assert len(chromium.find(".plot svg")) == 12
                assert chromium.run("return document.documentElement.scrollWidth") == width
                papers.add(chromium.run("return getComputedStyle(document.body).backgroundColor"))
                ink = chromium.run(
                    "return getComputedStyle(document.querySelector('.plot text')).fill"
                )
                assert ink == chromium.run("return getComputedStyle(document.body).color")
                assert chromium.run(CUT_LABELS) == []
                chromium.screenshot(tmp_path / f"{width}-{dark}.png", width=width, whole_page=True)
            assert papers == {"rgb(255, 255, 255)", "rgb(20, 24, 30)"}
        assert chromium.run("return performance.getEntriesByType('resource').length") == 0
        assert chromium.errors() == []


@pytest.mark.slow
@needs_chromium
def test_the_page_prints_every_figure_and_cuts_no_table(page, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page)
    with browser() as chromium:
        chromium.open(file.as_uri(), width=1000, dark=True)  # a landscape A4 between its margins
        chromium.printed()
        drawn = (
            "return [...document.querySelectorAll('.plot svg')].filter(s => s.clientWidth > 300)"
        )
        assert len(chromium.run(drawn)) == 12
        assert chromium.run("return document.documentElement.scrollWidth") == 1000
        assert chromium.run("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def point(chromium, kind: str, index: int = 0, *, caption: str) -> None:
    """Send a pointer event to a point of the first figure with this caption."""
    chromium.run(
        f"""
        const figure = [...document.querySelectorAll('figure')].find(
          (f) => f.querySelector('figcaption').textContent.startsWith({caption!r}));
        const svg = figure.querySelector('.plot svg');
        const at = [...svg.querySelectorAll('g[data-name]')].flatMap(
          (g) => g.dataset.tips ? pointsOf(g) : []);
        const [x, y] = at[{index}];
        svg.scrollIntoView({{block: 'center'}});
        const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
        svg.dispatchEvent(new PointerEvent({kind!r}, {{bubbles: true, pointerId: 1,
          clientX: box.left + x * scale, clientY: box.top + y * scale}}));
        """
    )


@pytest.mark.slow
@needs_chromium
def test_the_script_shows_values_hides_series_and_sorts_tables(page, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page)
    with browser() as chromium:
        chromium.open(file.as_uri())
        assert chromium.run("return document.querySelector('.tip').hidden")
        point(chromium, "pointermove", caption="Validation value of each trial")
        shown = chromium.find(".tip")[0].text
        assert shown.startswith("trial: 0\nkind: preset\nstate: complete\nval/nrmse: 0."), shown
        point(chromium, "pointermove", caption="Validation value by epoch")
        assert re.match(r"trial \d+: refine\nepoch 1: 0\.\d+", chromium.find(".tip")[0].text)
        point(chromium, "pointerleave", caption="Validation value by epoch")
        assert chromium.run("return document.querySelector('.tip').hidden")

        hidden = "return document.querySelectorAll('.plot g.hidden').length"
        assert chromium.run(hidden) == 0
        button = "document.querySelector('.legend button[data-name=pruned]')"
        chromium.run(f"{button}.click()")
        assert chromium.run(f"return {button}.getAttribute('aria-pressed')") == "false"
        assert chromium.run(hidden) == 1
        chromium.run(f"{button}.click()")
        assert chromium.run(hidden) == 0

        column = """
        const table = [...document.querySelectorAll('table')].find(
          (t) => t.tHead.textContent.includes('best epoch'));
        """
        values = column + "return [...table.tBodies[0].rows].map((r) => r.cells[3].textContent)"
        for is_falling in (False, True):
            chromium.run(column + "table.tHead.rows[0].cells[3].click()")
            found = [float(v) for v in chromium.run(values) if v != "–"]
            assert found == sorted(found, reverse=is_falling)
        # A difference with its interval is a text, and goes by its number.
        cells = ["-0.1 (-0.2 to 0.1)", "–", "0.25 (0.1 to 0.3)", "-0.02 (-0.1 to 0.1)"]
        give = column + f"const rows = [...table.tBodies[0].rows], cells = {cells};"
        chromium.run(give + "rows.forEach((r, i) => { r.cells[3].removeAttribute('title');"
                            " r.cells[3].textContent = cells[i % 4]; })")  # fmt: skip
        chromium.run(column + "table.tHead.rows[0].cells[3].click()")
        rises = list(dict.fromkeys(chromium.run(values)))
        assert rises == [cells[0], cells[3], cells[2], cells[1]]
        assert chromium.errors() == []


@pytest.mark.slow
@needs_chromium
def test_parallel_coordinates_are_brushed(page, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page)
    drag = """
    const svg = document.querySelector('svg[data-parallel]');
    svg.scrollIntoView({block: 'center'});
    svg.setPointerCapture = () => {};
    const points = [...svg.querySelectorAll('g[data-name]')].flatMap(pointsOf);
    const [top, bottom] = [Math.min, Math.max].map((end) => end(...points.map((p) => p[1])));
    const x = Math.max(...points.map((p) => p[0]));
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const send = (kind, y) => svg.dispatchEvent(new PointerEvent(kind, {bubbles: true,
      pointerId: 1, clientX: box.left + x * scale, clientY: box.top + y * scale}));
    """
    state = """
    const svg = document.querySelector('svg[data-parallel]');
    return [svg.querySelectorAll('g[data-name]').length, svg.querySelectorAll('g.out').length,
      svg.closest('figure').querySelector('.said').textContent];
    """
    with browser() as chromium:
        chromium.open(file.as_uri())
        total, out, _ = chromium.run(state)
        assert (total, out) == (9, 0)
        half = "(top + bottom) / 2"
        chromium.run(
            f"{drag} send('pointerdown', {half}); send('pointermove', bottom); "
            "send('pointerup', bottom);"
        )
        _, out, said = chromium.run(state)
        assert 0 < out < total
        assert said == f"{total - out} of {total} trials in the chosen ranges."
        chromium.run(f"{drag} send('pointerdown', {half}); send('pointerup', {half});")
        assert chromium.run(state)[1] == 0, "a click ends the range"
        point(chromium, "pointermove", caption="Complete sampled trials")
        assert chromium.find(".tip")[0].text.startswith("trial: ")
        assert len(chromium.find("svg[data-parallel] g.lit")) == 1
        assert chromium.errors() == []


@pytest.fixture(scope="module")
def wide_page(tmp_path_factory):
    """The page of a sweep with long names, replicates and many settings."""
    folder = tmp_path_factory.mktemp("wide")
    tasks = ("pdebench/diffusion_reaction_1d@hard", "pdebench/shallow_water_2d")
    errors = [0.21, 0.19, 0.22, 0.2, 0.18, 0.205]
    studies = [
        Scores(
            method=method, task=task, best=[error + more for error in errors], control=errors,
            num_trials=9, parameters=SETTINGS,
        )
        for method, more in (("contrastive_pare", 0.0), ("mona", 0.1)) for task in tasks
    ]  # fmt: skip
    alone = Scores(method="nft", task=tasks[0], best=[0.3], num_trials=9, parameters=SETTINGS)
    return report_of(write(folder, "contrastive_pare_pdebench", [*studies, alone]))


SETTINGS = (
    "contrast.temperature", "contrast.lambda_mean", "contrast.learning_rate_of_embedder",
    "contrast.epochs", "replace.k_start", "replace.k_end", "replace.weight_decay",
    "replace.layerwise_decay", "replace.warmup_epochs", "refine.lr",
)  # fmt: skip


@pytest.mark.slow
@needs_chromium
@needs_poppler
def test_on_paper_nothing_overlaps_or_is_cut_and_no_page_is_half_empty(page, wide_page, tmp_path):
    with browser() as chromium:
        for name, content in {"one_task": page, "two_tasks": wide_page}.items():
            file, pdf = tmp_path / f"{name}.html", tmp_path / f"{name}.pdf"
            file.write_text(content)
            chromium.open(file.as_uri(), width=1400, dark=True)
            chromium.pdf(pdf)
            _check_paper(sheets(pdf))


def _check_paper(printed) -> None:
    assert all(sheet.width > sheet.height for sheet in printed)
    for number, sheet in enumerate(printed, start=1):
        assert sheet.beyond(MARGIN - 1) == [], f"page {number}"
        assert not sheet.has_ink_beyond(MARGIN - 2), f"page {number}"
        assert sheet.covered() == [], f"page {number}"
    assert [n for n, sheet in enumerate(printed[:-1], start=1) if sheet.blank > 0.5] == []
    words = {word.text for sheet in printed for word in sheet.words}
    assert {"epoch", "trial", "candidates"} <= words, "titles of axes: figures are drawn"


@pytest.mark.slow
def test_the_page_says_that_nothing_was_predicted(ledger):
    text = str(Text(report_of(ledger)))
    assert "Nothing was predicted" in text
    assert "How full its slots were is not known" in text


def test_the_page_sets_what_was_predicted_against_what_it_took(tmp_path):
    ledger = new_ledger(tmp_path)
    span = {"low": 1, "expected": 2, "high": 3}
    ledger.start({"slots": 1, "prediction": dict.fromkeys(TITLES, span)})
    ledger.end("finished")
    text = str(Text(report_of(ledger)))
    assert "Trials ran in 0 % of the time of its slots." in text
    assert "hours driven" in text
    assert "below" in text


@pytest.mark.slow
def test_a_validation_split_too_small_to_decide_is_noted(large_ledger):
    tuned = tuned_study(large_ledger, f"mona/{TASK}")
    facts = replace(tuned.facts, samples={"train": 40, "val": 12, "test": 12})
    small = replace(tuned, facts=facts)
    noted = f"{TASK}: 12 samples validate, under 30"
    assert noted in str(Text(study_page(small)))
    assert noted not in str(Text(study_page(tuned)))
