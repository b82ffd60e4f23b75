"""Answers that say the same in Chinese and English, to hold the rewards to fairness."""

import pytest

PAIRS = [
    (
        "您好,您的退款申请已经受理,款项将在三到五个工作日内退回原支付账户。如未按时到账,请您提供订单号,我们会及时为您核实。",
        "Hello, your refund request has been accepted, and the amount will be returned to the "
        "original payment account "
        "within three to five business days. If it does not arrive on time, please provide your "
        "order number and we "
        "will verify it promptly for you.",
    ),
    (
        "失眠可能由压力或作息不规律引起。建议您睡前一小时远离电子设备,并记录睡眠日记。如果症状持续两周以上,请及时就医检查。",
        "Insomnia may be caused by stress or an irregular routine. We recommend that you stay "
        "away from screens for an "
        "hour before sleep and keep a sleep diary. If the symptoms last longer than two weeks, "
        "please see a doctor for "
        "an examination.",
    ),
    (
        "解这道方程可以分为三个步骤。第一步,把未知数移到左边。第二步,合并同类项。第三步,两边同时除以系数,并代入原方程检验。",
        "This equation can be solved in three steps. First, move the variable to the left side. "
        "Second, combine the "
        "like terms. Third, divide both sides by the coefficient and check the solution in the "
        "original equation.",
    ),
    (
        "我理解您现在很着急,给您带来不便非常抱歉。我已经帮您联系了快递公司,今天下午会有结果。需要我到时候打电话通知您吗?",
        "I understand that you are worried, and I am sorry for the inconvenience. I have "
        "already contacted the courier "
        "for you, and there will be a result this afternoon. Would you like me to call you then?",
    ),
    (
        "最近睡不好一定很难受,您辛苦了。偶尔失眠很正常,不用太担心。今晚可以先试试放松呼吸,需要我教您一个简单的方法吗?",
        "Sleeping badly must be hard, and I hear you. Having trouble now and then is completely "
        "normal, so please don't "
        "worry too much. Tonight you could try a breathing exercise first. Shall I show you an "
        "easy one?",
    ),
    (
        "我明白这道题让你有点沮丧,慢慢来,你前面的思路已经做得很好了。我们一起从第二步再看一遍,好吗?",
        "I understand that this problem is a little frustrating. Take your time, your idea so "
        "far was a good one. Shall "
        "we look at the second step again together?",
    ),
    (
        "营业时间是早上九点到晚上六点。",
        "We are open from nine in the morning to six in the evening.",
    ),
    (
        "先重启路由器,再重新连接网络。",
        "Restart the router first, then connect to the network again.",
    ),
    (
        "过去式表示已经发生的动作,现在完成时强调动作对现在的影响。",
        "The past tense describes a finished action; the present perfect stresses its effect on "
        "the present.",
    ),
]


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    return PAIRS
