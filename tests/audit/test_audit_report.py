"""An audit's report: what it says, that it needs no network, and that programs can read it."""

import json
import re
from pathlib import Path

import browsing
import numpy as np
import pandas as pd
import pytest

from ethical_compression.audit import report
from ethical_compression.errors import InputError
from ethical_compression.statistics import verdicts

CHECKS = {
    "loss": report.Said("Language modelling", "the model is surprised", "nats", 0.05, "5%"),
    "bias": report.Said("BBQ & co", "it blames <one> group", "share", 0.1, "one in ten"),
}
GROUPS = {"worse": 0.4, "better": -0.4, "equivalent": 0.0, "unsure": 0.05}


def page(groups=GROUPS, **changes) -> report.Page:
    draw = np.random.default_rng(0)
    parts = []
    for check, stage_groups in (("loss", {"all text": 0.3}), ("bias", groups)):
        for group, mean in stage_groups.items():
            spread = 2.0 if group == "unsure" else 0.1
            values = draw.normal(mean, spread, 120)
            parts.append(
                pd.DataFrame(
                    {
                        "item": [f"{check} {group} {k}" for k in range(120)],
                        "group": group,
                        "cluster": np.arange(120) // 4,
                        "value": values,
                        "before": None if check == "loss" else "the <b>first</b>",
                        "after": None if check == "loss" else "the second",
                        "check": check,
                        "floor": 0.001,
                        "margin": CHECKS[check].margin,
                    }
                )
            )
    items = pd.concat(parts, ignore_index=True)
    judged = verdicts.judge(items, {"loss": "damage", "bias": "harm"})
    floors = pd.DataFrame(
        [{"check": one, "kind": kind, "floor": 1e-3} for one in CHECKS for kind in ("batch", "b")]
    )
    made = {
        "model": "smollm2-135m",
        "compression": "GPTQ 3-bit",
        "verdicts": judged,
        "items": items.drop(columns=["floor", "margin"]),
        "floors": floors,
        "checks": CHECKS,
        "not_measured": ("what it writes",),
        "command": "ethical-compression audit smollm2-135m",
        "provenance": {"date": "2026-01-02T00:00:00", "code": "abc"},
        "sources": ({"title": "BBQ", "licence": "CC-BY-4.0"},),
        "costs": ({"what": "memory", "full": "1 GB", "compressed": "½ GB"},),
    }
    return report.Page(**made | changes)


def test_the_opening_names_the_worst_and_counts_what_is_not_told():
    said = " ".join(report.opening(page()))
    assert "Damage, 1 comparison: 1 worse." in said
    assert "BBQ & co (worse), by +0.3" in said and "means that it blames <one> group" in said
    assert "“Better” beside damage is no merit" in said
    assert "Not told: 1 of 5." in said


def test_each_verdict_is_explained_by_the_test_that_made_it():
    made = page()
    by = made.verdicts.set_index("group")
    said = {group: report.explained(row, CHECKS[row["check"]]) for group, row in by.iterrows()}
    assert said["worse"].startswith("Beyond the noise floor of 0.001")
    assert said["equivalent"].startswith("Shown to lie within ±0.1 share")
    assert said["unsure"].startswith("Neither: 120 items find a change of")


def test_rows_are_named_by_check_and_group_and_power_is_said():
    made = page()
    found = report.readable(made)
    assert found["title"].tolist()[:2] == ["Language modelling", "BBQ & co: worse"]
    assert set(found["kind"]) == {"damage", "harm"}
    assert "margins four times in five" in report.power_said(made)
    (alike,) = made.verdicts.loc[made.verdicts["verdict"] == "cannot tell", "n"].unique()
    assert report.power_said(made).endswith(f" items instead of {alike}.")  # not "12 to 12"
    assert report.power_said(page(groups={"worse": 0.4})) == "Every row is told."


def test_the_page_needs_no_network_and_escapes_what_data_hold():
    text = report.page_html(page())
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "@import" not in text
    assert "<b>first</b>" not in text
    assert "blames &lt;one&gt; group" in text
    assert text.count("<h1>") == 1
    assert 'lang="en"' in text


def test_examples_stand_behind_a_fold_with_a_warning_and_only_of_harm():
    found = report.examples(page())
    assert set(found["check"]) == {"bias"}
    assert len(found) == report.EXAMPLES
    text = report.page_html(page())
    fold = text.index("Warning: they hold stereotypes")
    assert '<details class="warned">' in text[fold - 60 : fold]
    assert text.index("the second") > fold


def test_the_model_card_is_read_by_the_hubs_own_library():
    hub = pytest.importorskip("huggingface_hub")
    made = page()
    card = hub.ModelCard(report.model_card(made))
    results = card.data.eval_results
    assert len(results) == len(made.verdicts)
    by = made.verdicts.iloc[1]
    one = next(r for r in results if r.dataset_name.endswith(by["group"]))
    assert one.metric_value == pytest.approx(by["difference"], abs=1e-6)
    assert one.metric_args["verdict"] == by["verdict"]


def test_what_must_be_known_of_the_model_stands_before_the_tables():
    text = report.page_html(page(caveat="Its weights are on a grid already."))
    assert text.index("on a grid already") < text.index("<table")
    assert "Race × SES" in report.page_html(page(groups={"Race_x_SES": 0.4}))


def test_the_folder_holds_tables_and_json_without_the_answers_themselves(tmp_path):
    made = page()
    report.write(made, tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {
        "index.html",
        "model-card.md",
        "verdicts.parquet",
        "items.parquet",
        "audit.json",
    }
    said = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert [row["verdict"] for row in said["verdicts"]] == made.verdicts["verdict"].tolist()
    items = pd.read_parquet(tmp_path / "report" / "items.parquet")
    assert len(items) == len(made.items)
    assert not items["before"].dropna().str.contains("first").any()
    documented = {name for key in said["schema"] for name in key.split(", ")}
    assert set(said["verdicts"][0]) - documented == {"se", "df"}


def test_a_second_report_takes_the_place_of_the_first_whole(tmp_path):
    report.write(page(), tmp_path / "report")
    report.write(page(groups={"worse": 0.4}), tmp_path / "report")
    found = pd.read_parquet(tmp_path / "report" / "verdicts.parquet")
    assert found["group"].tolist() == ["all text", "worse"]


def test_a_folder_that_a_model_lies_in_is_not_told():
    text = report.page_html(page(model=str(Path("/").joinpath("home", "somebody", "mine"))))
    assert "somebody" not in text
    assert "mine" in text


def test_a_report_takes_no_other_files_place(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="would be lost"):
        report.write(page(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_label_means_nothing_to_markdown():
    made = page(compression="a|b\n# <i>c</i>", groups={"a|b": 0.4})
    text = report.model_card(made)
    assert "# smollm2-135m, a\\|b \\# \\<i\\>c\\</i\\>" in text
    assert "\n# <i>" not in text.partition("\n---\n")[2]
    assert "| BBQ & co | a\\|b |" in text


# What is wider than its place, of all that is on the page: what a reader would have to push aside.
WIDER = """() => [document.documentElement, ...document.querySelectorAll(".scroll")]
    .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.outerHTML.slice(0, 80))"""


@browsing.NEEDED
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (390, "light")])
def test_the_page_is_read_at_any_width_and_axe_finds_nothing(browser, tmp_path, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    made = page(
        groups=GROUPS | {"a_group_whose_name_is_long_and_has_no_spaces_at_all": 0.1},
        model="somebody/a-model-with-a-name-that-is-longer-than-any-telephone-is-wide-8B-instruct",
        command=f"ethical-compression audit --compressed {'a' * 90} --output report --items 40",
    )
    place = tmp_path / "index.html"
    place.write_text(report.page_html(made), encoding="utf-8")
    shown, wrong = browsing.visit(browser, place, width, scheme)
    for opened in (False, True):
        if opened:
            shown.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
        assert shown.evaluate(WIDER) == []
        found = Axe().run(shown, options={"resultTypes": ["violations"]}).response["violations"]
        assert not [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
    assert not wrong
    # A heading sorts, at every width.
    first = "table.cards tbody tr:first-child .title + td"
    before = shown.locator(first).nth(1).inner_text()
    shown.locator("table.cards").nth(1).get_by_role("button", name="group").click()
    assert before == "worse" and shown.locator(first).nth(1).inner_text().startswith("a group")
    shown.close()
