"""From files to a folder that trains: every format, layouts, the split, twins, workers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhf.data.records import read_records, split
from rlhf.files import sha256_file
from rlhf.prepare.folder import verify
from rlhf.prepare.pipeline import Prepared, prepare
from rlhf.prepare.settings import PrepareConfig

Call = Callable[..., tuple[int, str, str]]
DISHES = ("红烧肉", "清蒸鱼", "麻婆豆腐", "酸辣汤", "宫保鸡丁", "番茄炒蛋", "回锅肉", "葱油饼")
WAYS = ("怎么做才入味", "要放多少盐", "能不能隔夜吃", "热量高不高", "适合老人吗", "用什么锅好")
ROWS = [
    {
        "context": f"用户:{dish}{way}？",
        "response": f"模型:做{dish}时{n}分钟就够，{way}看火候{n * 7}度。",
    }
    for n, (dish, way) in enumerate((dish, way) for dish in DISHES for way in WAYS)
]


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def run(here: Path, out: str = "out", **values: Any) -> Prepared:
    return prepare(PrepareConfig.model_validate(values), here, here / out)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def everything(folder: Path) -> list[dict[str, Any]]:
    return lines(folder / "train.jsonl") + lines(folder / "held_out.jsonl")


def said(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((row["prompt"][-1]["content"], row["completion"]) for row in rows)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("rows")
    jsonl(folder / "d.jsonl", ROWS)
    return said(everything(run(folder, sources="d.jsonl", twins={"near": False}).folder))


def write(kind: str, here: Path) -> str:
    if kind == "array":
        (here / "d.json").write_text(json.dumps(ROWS, ensure_ascii=False, indent=1))
        return "d.json"
    if kind == "csv":
        with (here / "d.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["context", "response"])
            writer.writeheader()
            writer.writerows(ROWS)
        return "d.csv"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), here / "d.parquet")
        return "d.parquet"
    (here / "many/deep").mkdir(parents=True)
    jsonl(here / "many/a.jsonl", ROWS[:20])
    jsonl(here / "many/deep/b.jsonl", ROWS[20:])
    (here / "many/README.md").write_text("not rows")
    return "many"


@pytest.mark.parametrize("kind", ["array", "csv", "parquet", "folder"])
def test_every_format_gives_the_same_rows(
    here: Path, kind: str, expected: list[tuple[str, str]]
) -> None:
    made = run(here, sources=write(kind, here), twins={"near": False})
    assert said(everything(made.folder)) == expected
    assert len(expected) == len(ROWS)


def test_other_columns_are_read_by_a_layout(here: Path, expected: list[tuple[str, str]]) -> None:
    foreign = [
        {
            "talk": [{"from": "human", "value": row["context"].removeprefix("用户:")}],
            "out": {"text": row["response"].removeprefix("模型:")},
            "context": "a column of that name that is none of ours",
            "who": n % 5,
            "topic": "k" if n % 2 else "",
        }
        for n, row in enumerate(ROWS)
    ]
    jsonl(here / "d.jsonl", foreign)
    layout = {
        "fields": {"prompt": "talk", "completion": "out.text", "user": "who", "intent": "topic"},
        "values": {"intent": {"k": "kitchen"}},
        "defaults": {"intent": "other"},
        "turns": {"role": "from", "content": "value", "roles": {"human": "user"}},
    }
    rows = everything(run(here, sources="d.jsonl", layout=layout, twins={"near": False}).folder)
    assert said(rows) == expected
    assert {row["intent"] for row in rows} == {"kitchen", "other"}
    users = {row["user"] for row in rows}
    assert len(users) == 5 and not users & set("01234"), "users go by a hash"


def test_the_split_is_the_one_that_reading_the_rows_gives(here: Path) -> None:
    jsonl(here / "d.jsonl", ROWS * 2)
    made = run(here, sources="d.jsonl", held_out=0.3, twins={"near": False})
    both = [read_records(made.folder / f"{name}.jsonl") for name in ("train", "held_out")]
    train, held_out = split(both[0] + both[1], 0.3)
    assert train == both[0] and held_out == both[1] and held_out
    assert made.report["twins"]["exact"] == len(ROWS)


def test_rows_that_repeat_a_held_out_file_are_left_out(here: Path) -> None:
    jsonl(here / "test.jsonl", ROWS[:5])
    other = {**ROWS[1], "response": "模型:这个问题应该去问厨师，他们天天和灶台打交道。"}
    near = {**ROWS[2], "response": ROWS[2]["response"] + "。"}
    jsonl(here / "d.jsonl", [*ROWS[4:], other, near])
    made = run(here, sources="d.jsonl", held_out_sources="test.jsonl", held_out=0)
    assert [row["source"] for row in lines(made.folder / "held_out.jsonl")] == [
        f"test.jsonl:{n}" for n in range(1, 6)
    ]
    assert len(lines(made.folder / "train.jsonl")) == len(ROWS) - 5
    assert made.report["twins"]["across_the_split"] == 3
    assert made.report["twins"]["leaked_prompts"] == 1


def test_rows_of_opposite_votes_are_no_twins(here: Path) -> None:
    rows = [
        {"prompt": "茶怎么泡？", "completion": "用热水泡。", "label": up} for up in (True, False)
    ]
    jsonl(here / "d.jsonl", rows * 2)
    made = run(here, sources="d.jsonl", held_out=0)
    assert [row["label"] for row in lines(made.folder / "train.jsonl")] == [True, False]


@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_bytes(here: Path) -> None:
    jsonl(here / "d.jsonl", ({**row, "user": f"u{n}"} for n in range(60) for row in ROWS))
    one, two = (
        run(here, out, sources="d.jsonl", workers=n, twins={"exact": False, "near": False})
        for n, out in ((1, "one"), (2, "two"))
    )
    for name in ("train.jsonl", "held_out.jsonl", "rejected.jsonl", "report.json", "report.html"):
        assert sha256_file(one.folder / name) == sha256_file(two.folder / name), name
    verify(one.folder)


def test_texts_are_cleaned_and_anonymised_and_counted(here: Path) -> None:
    row = {
        "context": "用户:<b>我叫张伟民</b>，电话13812345678！！！！",
        "response": "模型:好的&nbsp;记下了。",
    }
    jsonl(here / "d.jsonl", [row])
    made = run(here, sources="d.jsonl", held_out=0)
    (kept,) = lines(made.folder / "train.jsonl")
    assert "13812345678" not in json.dumps(kept) and "<b>" not in kept["prompt"][0]["content"]
    assert kept["completion"] == "好的 记下了。" and kept["source"] == "d.jsonl:1"
    assert made.report["texts"]["identifiers"]["PHONE"] == 1
    assert made.report["texts"]["cleaned_texts"] == 2


def test_own_columns_are_kept_where_they_are_named_and_without_persons(here: Path) -> None:
    own = {"mood": "焦虑", "sources": [{"of": "call 13812345678"}], "secret": "x"}
    jsonl(here / "d.jsonl", [{**row, **own} if n else row for n, row in enumerate(ROWS)])
    made = run(here, sources="d.jsonl", keep=["mood", "sources"], twins={"near": False})
    rows = everything(made.folder)
    told = [row for row in rows if "mood" in row]
    assert len(told) == len(rows) - 1 and not any("secret" in row for row in rows)
    assert told[0]["mood"] == "焦虑" and told[0]["sources"] == [{"of": "call <PHONE>"}]
    assert made.report["texts"]["identifiers"]["PHONE"] == len(told)
    records = read_records(made.folder / "train.jsonl")
    assert records[-1].columns["sources"] == [{"of": "call <PHONE>"}]
    layout = {"fields": {"prompt": "context", "completion": "response"}}
    mapped = run(here, "mapped", sources="d.jsonl", keep=["mood"], layout=layout)
    assert {row.get("mood") for row in everything(mapped.folder)} == {"焦虑", None}
    with pytest.raises(ValueError, match="`user` is no column of the rows' own"):
        run(here, sources="d.jsonl", keep=["user"])


def test_the_command_names_its_folder_by_what_went_in(rlhf: Call, here: Path) -> None:
    jsonl(here / "tea.jsonl", ROWS)
    (here / "c.yaml").write_text("sources: tea.jsonl\n")
    code, out, err = rlhf("data", "prepare", "c.yaml", "held_out=0.2", "--json")
    assert code == 0, err
    folder = Path(json.loads(out)["folder"])
    assert folder.parent == Path("runs") and folder.name.startswith("data-tea-")
    assert json.loads(rlhf("data", "prepare", "c.yaml", "held_out=0.2", "--json")[1]) == json.loads(
        out
    )
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("train.jsonl", "held_out.jsonl", "rejected.jsonl"),
        *("report.json", "report.html", "config.yaml", "manifest.json"),
    }
    assert "<html" in (folder / "report.html").read_text()
