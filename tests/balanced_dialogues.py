"""Generated dialogues in which nothing is out of balance, for faults to be planted in."""

from __future__ import annotations

import random
from typing import Any

INTENTS = ("退款", "物流", "账号", "投诉", "症状咨询", "用药", "概念讲解", "作业")
STYLES = ("formal", "concise", "caring", "专业且关怀")
_THINGS = "订单 包裹 发票 手机 账单 积分 密码 疫苗 血糖 函数 作文 单词 药片 课程 会员 优惠券"
_DOINGS = "查询 修改 更换 登记 核对 检查 复习 保存 退回 延长 缩短 升级 准备 整理 咨询"
_TIMES = "今天 明天 上周 周五 早上 晚上 月底 年初 假期 饭后 睡前 开学"
_PLACES = "门店 网站 医院 学校 药房 手机端 柜台 教室 家里 仓库"
_ENDS = (
    "请问您需要我继续帮忙吗？",  # a counter-question
    "跟您确认一下，是这样办理，对吗？",
    "总结一下：先准备，再办理，最后核实结果。",
    "祝您一切顺利。",
)


def balanced(seed: int, rows: int, *, users: int = 60) -> list[dict[str, Any]]:
    """Rows with every intent in every style, all stages, and users alike."""
    chance = random.Random(seed)
    return [_row(chance, at, users) for at in range(rows)]


def _row(chance: random.Random, at: int, users: int) -> dict[str, Any]:
    def pick(some: str) -> str:
        return chance.choice(some.split())

    thing, doing = pick(_THINGS), pick(_DOINGS)
    asked = f"{pick(_TIMES)}我在{pick(_PLACES)}想{doing}{thing}，第{at}次了，应该怎么办？"
    said = "，".join(
        f"{pick(_TIMES)}到{pick(_PLACES)}{pick(_DOINGS)}{pick(_THINGS)}" for _ in "123"
    )
    return {
        "prompt": [{"role": "user", "content": asked}],
        "completion": f"您可以{said}。{chance.choice(_ENDS)}",
        "intent": chance.choice(INTENTS),
        "style": chance.choice(STYLES),
        "user": f"user-{chance.randrange(users)}",
        "language": "zh",
        "source": f"balanced.jsonl:{at + 1}",
    }
