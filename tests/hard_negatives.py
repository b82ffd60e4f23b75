"""Numbers, codes and words that look like personal data and are none."""

from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Final

from personal_data import PROVINCES, People, id_check, luhn_check

SENTENCES: Final = (
    "鲁迅先生写过很多文章，我最喜欢《故乡》。",
    "我叫了一辆车去医院，等了半天。",
    "我叫不到车，路上又堵。",
    "我是高血压患者，已经吃药三年了。",
    "我是江苏的，在北京上大学。",
    "患者高烧不退，咳嗽三天。",
    "本人女，32岁，月经不调两个月。",
    "姓名栏不能为空，请重新填写。",
    "请问先生您需要什么帮助？",
    "感谢女士的耐心等待。",
    "李大夫说要多休息，张医生说要做手术。",
    "这位小姐姐唱歌真好听。",
    "请问联系人可以修改吗？",
    "名字叫什么好呢，孩子快出生了。",
    "北京市海淀区有很多大学，环境不错。",
    "地铁2号线到西直门站换乘13号线。",
    "从南京路一直走到外滩，大约十分钟。",
    "根据国务院第3号文件的规定执行。",
    "上海12号下雨，13号转晴。",
    "请到2号楼3层内科就诊。",
    "挂号请到一楼大厅3号窗口。",
    "医院在市中心，坐5路公交可以到。",
    "这道题的2号选项是错的。",
    "住院部在后面那栋楼。",
    "最新A12345型号已经上市。",
    "全新B67890款上架了。",
    "车牌号京A1234少了一位吧？",
    "京I12345不是合法车牌。",
    "护照有效期还有三年，需要换发吗？",
    "护照办理需要带什么材料？大概10个工作日。",
    "我的护照2019年到期。",
    "My name is not important, I just want a refund.",
    "Dear customer, your parcel is on its way.",
    "Dear Sir or Madam, the invoice is attached.",
    "Mr. President signed the bill on Monday.",
    "Abraham Lincoln was born in a log cabin.",
    "Main Street was busy at noon.",
    "The 2008 Wall Street crash hurt many people.",
    "Here are 5 Ways to save money and 10 Places to see.",
    "Take Highway 66 and then turn left.",
    "I passed 3 roads and 2 streets before the bridge.",
    "This is urgent, I am calling about a delay.",
    "Call me tomorrow, or call me back later.",
    "Her passport expired in 2019 and she needs a visa.",
    "Follow @news_daily and read a@b or x@localhost.",
    "Versions 3.11.4 and 10.15.7 are supported, 1.2.840.113549 is an OID.",
    "400-820-8820转1，或者拨打95588、12345。",
    "每次0.5g，每日3次，连服5-7天，餐后30分钟服用。",
    "血压135/85mmHg，心率72次/分，体温36.8℃。",
    "Take 400 mg every 6 hours, at most 1200 mg in 24 hours.",
    "李白的《静夜思》和杜甫的《春望》都要背。",
    "电话打不通，换个号码试试。",
    "The order of 12 rooms at 3 hotels was placed on 5 May.",
    "王老师今天讲了二次函数。",
)


def hard_negative(people: People, random: Random, at: int) -> str:
    """The next look-alike: every fourth a sentence from the list, the others a number."""
    if at % 4 == 0:
        return f"{random.choice(SENTENCES)}{people.chinese.sentence()}"
    frames = (
        ("订单号{}一直没发货", "快递单号 {}，三天没更新", "流水号：{}。", "编号{}的设备坏了"),
        ("Order {} never arrived.", "Reference {}, thanks.", "The serial number is {}."),
    )
    value = random.choice(NUMBERS)(people, random)
    return random.choice(random.choice(frames)).format(value)


def _day(random: Random) -> date:
    return date(2015, 1, 1) + timedelta(days=random.randrange(4_000))


def _order(people: People, random: Random) -> str:
    return f"{_day(random):%Y%m%d}{people.digits(random.choice((6, 8, 10, 12)))}"


def _wrong_id(people: People, random: Random) -> str:
    county = random.choice(("110105", "440305", "310104"))
    body = f"{county}{1975 + random.randrange(30)}{_day(random):%m}12{people.digits(3)}"
    right = id_check(body)
    return body + random.choice([c for c in "0123456789X" if c != right])


def _nobodys_id(people: People, random: Random) -> str:
    """A right checksum under a region or a day that does not exist."""
    head = random.choice(("990105", "000000", "890203"))
    body = f"{head}19900307{people.digits(3)}"
    if random.random() < 0.5:
        body = f"110105{random.choice(('19901307', '19900231', '29900101'))}{people.digits(3)}"
    return body + id_check(body)


def _wrong_card(people: People, random: Random) -> str:
    body = random.choice(("622202", "621700", "4532", "5500")) + people.digits(9)
    body = body.ljust(15, "1")[:15]
    return body + str((int(luhn_check(body)) + random.randint(1, 9)) % 10)


def _nobodys_card(people: People, random: Random) -> str:
    body = random.choice(("1234", "7000", "0012", "9100")) + people.digits(11)
    return body + luhn_check(body)


def _price(people: People, random: Random) -> str:
    return random.choice((f"¥1{random.randint(3, 9)}{people.digits(9)}.00",
                          f"${random.randint(1, 999)},{people.digits(3)}.{people.digits(2)}",
                          f"{random.randint(1, 99_999)}元"))  # fmt: skip


def _parcel(people: People, random: Random) -> str:
    return random.choice(("SF1", "YT", "JD", "ZTO")) + people.digits(12)


def _moment(people: People, random: Random) -> str:
    day = _day(random)
    clock = f"{random.randint(0, 23):02d}:{random.randint(0, 59):02d}"
    return random.choice(
        (f"{day} {clock}", f"{day:%Y%m%d}", f"{day:%Y/%m/%d}", f"17{people.digits(11)}")
    )


def _code(people: People, random: Random) -> str:
    return random.choice((
        f"E{_day(random):%Y%m%d}", f"G{people.digits(8)}", f"AB-{people.digits(9)}",
        f"v{random.randint(1, 9)}.{random.randint(0, 30)}.{people.digits(4)}",
        f"192.168.{random.randint(0, 255)}.{random.randint(0, 255)}",
        f"978-7-{people.digits(3)}-{people.digits(5)}-{people.digits(1)}",
        f"{people.digits(4)}-{people.digits(3)}", people.digits(9), people.digits(10),
        f"12{people.digits(9)}", f"10{people.digits(9)}", people.english.uuid4(),
        f"{random.choice(PROVINCES)}A{people.digits(3)}",
        f"{random.choice(PROVINCES)}I{people.digits(5)}",
        f"{people.english.sha256()[:32]}", f"86{people.digits(13)}",
    ))  # fmt: skip


Maker = Callable[[People, Random], str]
NUMBERS: Final[tuple[Maker, ...]] = (
    _order, _wrong_id, _nobodys_id, _wrong_card, _nobodys_card, _price, _parcel, _moment,
    _code, _code,
)  # fmt: skip
