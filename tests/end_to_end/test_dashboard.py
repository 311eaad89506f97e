"""Ray's dashboard, in a browser, while a sweep runs: workers say which trial they are at."""

import signal
from pathlib import Path

from selenium.webdriver.common.by import By

from tests.support import tiny_sweep
from tests.support.browser import browser, needs_chromium
from tests.support.command import Shell

pytestmark = [needs_chromium]


def test_the_dashboard_names_sweep_trial_and_stage_of_each_worker_job_and_actor(
    tmp_path, ray_head, data_home
):
    shell = Shell(tmp_path, {**ray_head.environment, "SWEEPER_HOME": str(data_home)})
    file = tiny_sweep.write(tmp_path, name="watched", trials=200)
    with shell.start("launch", str(file), "--address", ray_head.address) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Ray dashboard:"):
                url = line.split()[2]
            if "refine 1/4" in line:
                break
        with browser() as chromium:
            chromium.open(f"{url}/#/cluster")
            chromium.wait_for("Authentication Token Required")
            token = Path(ray_head.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
            chromium.find("input[type=password]")[0].send_keys(token)
            chromium.driver.find_element(By.XPATH, "//button[.='Submit']").click()
            chromium.wait_for("Node summary fetched")
            chromium.driver.refresh()  # the first table was asked for without the token
            # Titles reach the page with Ray's next look at its workers, late on a busy machine.
            chromium.wait_for("ray::sweeper watched mona/pdebench/", timeout_s=120)
            chromium.open(f"{url}/#/jobs")
            chromium.wait_for("sweeper.driver watched")
            chromium.open(f"{url}/#/actors")
            chromium.wait_for("sweeper watched")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "SIGTERM: stopped; go on with: sweeper resume watched" in err
