"""What the README promises: its example runs as it stands, its table says what the lectures say."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import readme_pictures
import site_index
from PIL import Image

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "answer.png").stat().st_size > 20_000
    assert names["answer"].strength.shape == (1, 2)
    assert "random" in capsys.readouterr().out  # the fall stands beside that of random regions


def test_each_lecture_is_in_the_table_with_its_own_minutes(root):
    rows = re.findall(r"^\| \[[^]]+\]\((lectures/[^)]+)\) \| [^|]+ \| (\d+) \|", README, re.M)
    said = {path: f"{minutes} minutes" for path, minutes in rows}
    lectures = sorted((root / "lectures").glob("*.ipynb"))
    own = {
        str(path.relative_to(root)): site_index.minutes(nbformat.read(path, as_version=4))
        for path in lectures
    }
    assert said == own


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:|#)([^)#]+)", README))
def test_what_the_readme_links_is_there(root, target):
    assert (root / target).exists()


def test_the_benchmark_is_one_table_and_its_marks_are_explained():
    shown = README.split("<!-- benchmark -->")[1].split("<!-- /benchmark -->")[0]
    assert shown.count("| --- |") == 1
    assert "*(tie)*:" in shown and "*~*:" in shown


def test_no_pop_up_about_news_covers_the_first_lecture(root):
    import lab
    from jupyterlab_server.settings_utils import _get_overrides

    monkey = pytest.MonkeyPatch()
    with monkey.context() as changed:
        for name, value in lab.settings().items():
            changed.setenv(name, value)
        found, error = _get_overrides(str(root))
    assert not error
    assert found["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_the_strip_shows_what_the_explorer_answers_today(root):
    kept = root / "docs" / "explorer.webp"
    assert "](docs/explorer.webp)" in README and kept.stat().st_size < 300_000
    shown, made = Image.open(kept).convert("RGB"), readme_pictures.strip()
    assert shown.size == made.size
    difference = np.abs(np.asarray(shown, float) - np.asarray(made, float))
    assert difference.mean() < 3 and np.percentile(difference, 99) < 40  # of 255: WebP's own


@pytest.mark.parametrize("row", ["about_a_photo", "about_a_bird"])
def test_no_answer_in_the_first_picture_is_too_weak_to_be_read(row):
    _, (_, titles, strength) = getattr(readme_pictures, row)()
    assert len(titles) == 3 and strength.min() > 0.15  # the README: below 0.1 there is nothing
