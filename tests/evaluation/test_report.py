import math
import re
from html.parser import HTMLParser
from io import StringIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rlhf.evaluation.charts import interval_chart, line_chart, tick_text, ticks
from rlhf.evaluation.compare import compare, number, terminal_table
from rlhf.evaluation.curves import curves
from rlhf.evaluation.evaluate import Sample
from rlhf.evaluation.gate import GateSettings, decide
from rlhf.evaluation.measurements import Measurements, SideMeasures
from rlhf.evaluation.metrics import summarise
from rlhf.evaluation.report import ReportData, render_report, write_report

HOSTILE = "<script>alert('x')</script>\" onload=alert(1) {{ 7*7 }} \x00\ud800\u202e & 你好"
VOID = {"meta", "line", "circle", "rect", "polyline", "br"}


class Page(HTMLParser):
    """Collects what a browser would make of a page, and refuses tags left open."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def side(policy, value):
    rows = [{"reward/length": value + i / 100, "compliance": 1.0, "bleu": None} for i in range(40)]
    return SideMeasures(policy=policy, rows=rows, means=summarise(rows))


def measured(**changes):
    fields = {
        "candidate": side("policy-new", 0.6),
        "champion": side("policy-old", 0.5),
        "clusters": list(range(40)),
        "judge": "reward style",
        "outcomes": [1.0] * 30 + [0.5] * 4 + [0.0] * 6,
        "outcome_clusters": list(range(40)),
    }
    return Measurements.model_validate(fields | changes)


SETTINGS = GateSettings.model_validate({"guardrails": [{"metric": "reward/length", "margin": 0.1}]})


def sample(**changes):
    fields = {
        "messages": [{"role": "user", "content": "Where is it?"}],
        "champion": "No idea.",
        "candidate": "It left on Monday.",
        "verdict": "candidate",
        "candidate_scores": {"total": 0.75, "compliance": 1.0},
    }
    return Sample.model_validate(fields | changes)


def test_the_report_tells_the_whole_story(tmp_path):
    m = measured()
    data = ReportData(
        title="Cycle 3",
        measurements=m,
        decision=decide(m, SETTINGS),
        samples=[sample(), sample(candidate_scores={"compliance": 0.0}, verdict="tie")],
        curves=[{"stage": "dpo", "step": i, "loss": 1 / (i + 1)} for i in range(5)],
        lineage=[{"kind": "base", "id": "tiny"}, {"kind": "dpo", "id": "policy-new", "votes": 12}],
    )
    write_report(tmp_path / "report.html", data)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    for told in (
        "Cycle 3",
        "Promote",
        "policy-new",
        "policy-old",
        "80.0%",
        "30 won",
        "4 tied",
        "6 lost",
        "judged by reward style",
        "reward/length",
        "+0.100",
        "pass",
        "Training: dpo",
        "loss",
        "Where is it?",
        "No idea.",
        "It left on Monday.",
        "preferred",
        "tie",
        "breaks a rule",
        "votes 12",
        "total 0.750",
    ):
        assert told in page.text, told
    assert page.text.count("✓") == 4 and "✗" not in page.text
    assert page.tags.count("svg") == 1 + 2 + 1  # win rate, two differences, one curve
    assert "simulated" not in page.text.lower()


def test_a_refusal_is_told_with_its_marks():
    m = measured(outcomes=[0.0] * 40, simulated=True)
    page = Page(render_report(ReportData("x", measurements=m, decision=decide(m, SETTINGS))))
    assert "Refused" in page.text and page.text.count("✗") == 1
    assert "Simulated users." in page.text and "(simulated users)" in page.text


def test_simulated_training_votes_are_told_without_measurements():
    page = Page(render_report(ReportData("x", simulated=True)))
    assert "Simulated users." in page.text and "Training report" in page.text


def test_hostile_texts_stay_texts(tmp_path):
    m = measured(judge=HOSTILE, candidate=side(HOSTILE, 0.6).model_dump())
    messages = [{"role": HOSTILE, "content": HOSTILE}] * 2
    data = ReportData(
        title=HOSTILE,
        measurements=m,
        decision=decide(m, SETTINGS),
        samples=[
            sample(
                messages=messages,
                champion=HOSTILE,
                candidate=HOSTILE,
                reference=HOSTILE,
                style=HOSTILE,
                candidate_scores={f"reward/{HOSTILE}": 1.0},
            )
        ],
        curves=[{"stage": HOSTILE, "step": i, HOSTILE: i, f"eval_{HOSTILE}": 1} for i in range(3)],
        lineage=[{"kind": HOSTILE, "id": HOSTILE, HOSTILE: HOSTILE}],
    )
    write_report(tmp_path / "report.html", data)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags and "49" not in page.text
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count("<script>alert('x')</script>") > 15


def test_the_page_needs_nothing_from_outside():
    html = render_report(ReportData("x", measurements=measured(), samples=[sample()]))
    assert not re.search(r"https?://|url\(|@import|<script|<link|<img|src=", html)
    assert "default-src 'none'" in html and "prefers-color-scheme: dark" in html
    assert "@media print" in html and "width=device-width" in html


def test_an_empty_report_is_still_a_page():
    assert "Decision" not in Page(render_report(ReportData("nothing yet"))).text


def test_only_some_samples_are_shown():
    data = ReportData("x", samples=[sample()] * 9, most_samples=4)
    page = Page(render_report(data))
    assert page.tags.count("article") == 4 and "first 4 of 9" in page.text


finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(finite, finite, st.booleans())
def test_ticks_enclose_the_data_in_few_round_steps(a, b, whole):
    low, high = min(a, b), max(a, b)
    marks = ticks(low, high, whole=whole)
    step = marks[1] - marks[0]
    slack = 1e-6 * max(step, abs(low) * 1e-3, abs(high) * 1e-3)
    assert marks[0] <= low + slack and marks[-1] >= high - slack
    assert 2 <= len(marks) <= 9
    assert all(x < y for x, y in pairwise(marks))


def test_ticks_read_well():
    assert ticks(0, 93, whole=True) == [0, 20, 40, 60, 80, 100]
    assert ticks(0, 2, whole=True) == [0, 1, 2]
    assert [tick_text(t, 0.05) for t in (0.0, 0.05, 0.1)] == ["0", "0.05", "0.10"]
    assert tick_text(1e-4, 5e-5) == "1.0e-4" and tick_text(2e6, 1e6) == "2.0e6"


@given(st.lists(st.tuples(finite, st.floats() | finite), max_size=30))
def test_any_series_gives_a_chart_within_its_frame(points):
    svg = line_chart({"loss": points}, label="loss")
    Page(str(svg))
    for pair in re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall(r'points="(.*?)"', svg))):
        assert 0 <= float(pair[0]) <= 560 and 0 <= float(pair[1]) <= 250
    assert "nan" not in svg and "inf" not in svg


def test_a_nan_leaves_a_gap():
    points = [(i, math.nan if i == 3 else i) for i in range(7)]
    assert line_chart({"loss": points}, label="l").count("<polyline") == 2
    assert "No finite value" in line_chart({"loss": [(0, math.nan)]}, label="l")


def test_long_runs_are_thinned_and_keep_their_end():
    svg = line_chart({"loss": [(i, i) for i in range(5001)]}, label="l")
    drawn = re.search(r'points="(.*?)"', svg).group(1).split()
    assert len(drawn) <= 402 and drawn[-1] == "546.0,14.0"


@pytest.mark.parametrize(
    ("low", "high", "side"), [(0.51, 0.7, "good"), (0.4, 0.6, "open"), (0.1, 0.3, "bad")]
)
def test_the_win_chart_is_coloured_by_what_the_interval_shows(low, high, side):
    svg = interval_chart(low, (low + high) / 2, high, 0.5, label="w")
    assert f'class="dot {side}"' in svg


def test_curves_put_held_out_beside_training_and_leave_counters_out():
    rows = [
        {"stage": "sft", "step": 1, "loss": 2.0, "epoch": 0.1, "train_runtime": 5.0, "note": "x"},
        {"stage": "sft", "step": 2, "loss": 1.5, "eval_loss": 1.6, "grad_norm": 1.0, "ok": True},
        {"stage": "sft", "step": 3, "eval_loss": 1.4, "grad_norm": 2.0},
        {"stage": "dpo", "step": 1, "rewards/chosen": 1.0, "rewards/rejected": 0.0},
        {"stage": "dpo", "step": 2, "rewards/chosen": 2.0, "rewards/rejected": -1.0, "loss": 1.0},
    ]
    found = curves(rows)
    assert [(c.stage, c.name, list(c.series)) for c in found] == [
        ("sft", "loss", ["loss", "eval_loss"]),
        ("sft", "grad_norm", ["grad_norm"]),
        ("dpo", "rewards", ["rewards/chosen", "rewards/rejected"]),
    ]
    assert found[0].series["loss"] == [(1.0, 2.0), (2.0, 1.5)]
    assert curves([]) == []


def test_curves_of_ppo_are_each_reward_with_the_held_out_prompts_beside_it():
    row = {
        "held_out/total": 0.4,
        "held_out/se": 0.1,
        "held_out/length": 30.0,
        "length": 31.0,
        "length_se": 1.0,
        "reward/style": 0.2,
        "reward/style/invalid": 0.0,
        "reward/style/constant": 0.0,
        "reward/invalid": 0.0,
        "reward/total": 0.5,
        "kl": 1.0,
        "tokens_per_second/rollout": 370.0,
    }
    found = curves([{"stage": "ppo", "step": i, **row} for i in (1, 2)])
    assert [(c.name, list(c.series)) for c in found] == [
        ("reward/total", ["held_out/total", "reward/total"]),
        ("reward/style", ["reward/style"]),
        ("kl", ["kl"]),
        ("length", ["held_out/length", "length"]),
    ]


def test_the_terminal_tells_the_same():
    m = measured(outcomes=[0.0] * 40, judge="[red]odd[/red]")
    out = StringIO()
    Console(file=out, width=120).print(terminal_table(decide(m, SETTINGS), m))
    for told in (
        "refused",
        "reward/length",
        "+0.100",
        "pass",
        "fail",
        "win rate",
        "[red]odd[/red]",
    ):
        assert told in out.getvalue()


def test_comparisons_hold_the_paired_difference():
    rows = {c.metric: c for c in compare(measured(), None)}
    assert rows["reward/length"].difference.mean == pytest.approx(0.1)
    assert rows["compliance"].side("candidate")[0] == "100.0%"
    assert [number(v) for v in (1234.5, 123.45, 12.345, -0.00123)] == [
        "1234",
        "123.5",
        "12.35",
        "−0.001",
    ]
