"""Made-up personal data in the forms that people write it, each from its own format's rules.

Nothing here is read from `feedback_store`: the checksums, the regions and the issuers are written
down again, so that the detectors are judged by something other than themselves.
"""

from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Final

from faker import Faker

# County codes of GB/T 2260, one from each province.
COUNTIES: Final = tuple(map(str, (
    110101, 110105, 120101, 130102, 140105, 150102, 210202, 220102, 230103, 310104, 310115,
    320102, 320506, 330106, 340104, 350203, 360102, 370202, 410105, 420106, 430102, 440305,
    440106, 450103, 460105, 500103, 510104, 520103, 530102, 540102, 610113, 620102, 630102,
    640104, 650102,
)))  # fmt: skip
# Issuer prefix and length: ICBC, CCB, ABC, BOC, Postal, CMB, credit cards, then the world's.
ISSUERS: Final = (
    ("622202", 19), ("621700", 19), ("622848", 19), ("621661", 19), ("622188", 19), ("621483", 16),
    ("622588", 16), ("625965", 16), ("622155", 16), ("955880", 19), ("4392", 16), ("4532", 16),
    ("5187", 16), ("5500", 16), ("2720", 16), ("3714", 15), ("3400", 15), ("3530", 16),
    ("6011", 16),
)  # fmt: skip
MOBILES: Final = tuple(map(str, (
    134, 135, 136, 137, 138, 139, 147, 150, 151, 152, 157, 158, 159, 178, 182, 183, 184, 187,
    188, 198, 130, 131, 132, 155, 156, 166, 176, 185, 186, 133, 153, 173, 177, 180, 181, 189,
    191, 199, 193,
)))  # fmt: skip
AREAS: Final = ("010", "021", "022", "0755", "0571", "025", "028", "0731", "0512", "0574")
AMERICAN_AREAS: Final = ("212", "415", "617", "312", "206", "303", "512", "713", "404", "305")
PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
PLATE_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
DISTRICTS: Final = (
    "北京市海淀区", "北京市朝阳区", "上海市浦东新区", "上海市徐汇区", "广东省深圳市南山区",
    "广东省广州市天河区", "浙江省杭州市西湖区", "江苏省苏州市姑苏区", "四川省成都市武侯区",
    "湖北省武汉市武昌区", "陕西省西安市雁塔区", "山东省青岛市市南区", "河南省郑州市金水区",
    "湖南省长沙市岳麓区", "福建省厦门市思明区", "重庆市渝中区", "天津市和平区", "海淀区",
    "深圳市福田区", "杭州市余杭区", "河北省石家庄市长安区", "广西壮族自治区南宁市青秀区",
)  # fmt: skip
ROADS: Final = (
    "中关村大街", "人民路", "解放东路", "和平街", "建国路", "科技园南区高新南一道", "长江西路",
    "文三路", "平江路", "天府大道北段", "学院路", "香港中路", "花园路", "麓山南路", "湖滨北路",
)  # fmt: skip
ESTATES: Final = ("阳光花园", "万科城", "翠湖小区", "锦绣家园", "幸福里", "绿地国际公寓", "御景湾")
STREETS: Final = ("Oak", "Maple", "Cedar Hill", "Washington", "Elm", "Sunset", "Park", "Lincoln")
KINDS_OF_STREET: Final = ("Street", "St", "Avenue", "Ave", "Road", "Lane", "Drive", "Blvd")
CITIES: Final = ("Springfield, IL 62704", "Portland, OR 97205", "Austin, TX 78701-2345")

_WIDE: Final = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})


class People:
    """Draws personal data; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.chinese, self.english = Faker("zh_CN"), Faker("en_US")
        self.chinese.seed_instance(seed)
        self.english.seed_instance(seed)

    def digits(self, count: int) -> str:
        return "".join(self.random.choices("0123456789", k=count))

    def id_card(self) -> str:
        draw = self.random
        county = draw.choice(COUNTIES)
        born = date(1940, 1, 1) + timedelta(days=draw.randrange(27_000))
        if draw.random() < 0.2:
            born = date(1940, 1, 1) + timedelta(days=draw.randrange(16_000))
            return self._written(f"{county}{born:%y%m%d}{self.digits(3)}", (6, 6, 3))
        body = f"{county}{born:%Y%m%d}{self.digits(3)}"
        number = body + id_check(body)
        return self._written(number.lower() if draw.random() < 0.3 else number, (6, 8, 4))

    def bank_card(self) -> str:
        prefix, size = self.random.choice(ISSUERS)
        body = prefix + self.digits(size - len(prefix) - 1)
        groups = (4, 6, 5) if size == 15 else (4, 4, 4, 4, 3)[: 4 + (size == 19)]
        return self._written(body + luhn_check(body), groups)

    def phone(self) -> str:
        draw = self.random
        mobile = draw.choice(MOBILES) + self.digits(8)
        area = draw.choice(AREAS)
        land = draw.choice("2345678") + self.digits(7)
        office = f"{draw.choice('346789')}{draw.choice('2345678')}{draw.choice('23456789')}"
        us = (draw.choice(AMERICAN_AREAS), office, self.digits(4))
        if draw.random() < 0.6:
            return self._written(mobile, (3, 4, 4))
        return draw.choice((
            f"+86 {mobile}", f"+86-{mobile[:3]}-{mobile[3:7]}-{mobile[7:]}", f"86{mobile}",
            f"{area}-{land}", f"({area}){land}", f"{area} {land[:4]} {land[4:]}",
            "({}) {}-{}".format(*us), "{}-{}-{}".format(*us), "+1 {} {} {}".format(*us),
            "1-{}-{}-{}".format(*us), "{}.{}.{}".format(*us),
        ))  # fmt: skip

    def email(self) -> str:
        draw = self.random
        user = draw.choice((self.english.user_name(), self.chinese.user_name()))
        address = draw.choice((
            self.english.email(), self.english.company_email(), self.chinese.free_email(),
            f"{self.digits(draw.randint(6, 10))}@qq.com", f"{user}+shop@gmail.com",
            f"{user.upper()}_{self.digits(2)}@163.com", f"{user}.li@mail.tsinghua.edu.cn",
        ))  # fmt: skip
        return address.translate(_WIDE) if draw.random() < 0.08 else address

    def passport(self) -> str:
        """As mainland ones are printed: E or G and eight digits, or EA to EZ and seven."""
        draw = self.random
        number = draw.choice((
            "E" + self.digits(8), "G" + self.digits(8),
            f"E{draw.choice('ABCDEFGHJKLMNPQRSTUVWXYZ')}{self.digits(7)}",
        ))  # fmt: skip
        return number.translate(_WIDE) if draw.random() < 0.1 else number

    def foreign_passport(self) -> str:
        draw = self.random
        return draw.choice((self.digits(9), draw.choice("ACHK") + self.digits(8)))

    def plate(self) -> str:
        draw = self.random
        head = draw.choice(PROVINCES) + draw.choice(PLATE_LETTERS)
        tail = list(self.digits(5))
        for place in draw.sample(range(5), draw.choice((0, 0, 1, 1, 2))):
            tail[place] = draw.choice(PLATE_LETTERS)
        if draw.random() < 0.35:
            energy = draw.choice("DF")
            small = energy + draw.choice(PLATE_LETTERS + "0123456789") + self.digits(4)
            tail = list(draw.choice((small, energy + self.digits(5), self.digits(5) + energy)))
        plate = head + draw.choice(("", "", "·", " ", "-")) + "".join(tail)
        return plate.translate(_WIDE) if draw.random() < 0.1 else plate

    def chinese_address(self) -> str:
        draw = self.random
        number, room = draw.randint(1, 300), draw.randint(101, 3204)
        block, door = draw.randint(1, 30), draw.randint(1, 6)
        if draw.random() < 0.25:
            return self.chinese.address()
        where = draw.choice(DISTRICTS)
        road, estate = draw.choice(ROADS), draw.choice(ESTATES)
        return where + draw.choice((
            f"{road}{number}号", f"{road}{number}号{estate}{block}栋{door}单元{room}室",
            f"{estate}{block}号楼{room}室", f"{estate}{block}幢{room}",
            f"{road}{number}弄{block}号{room}室",
            f"{estate}{block}-{door}-{room}", f"{road}{number}号院{block}号楼{door}单元{room}",
            f"{road}甲{number}号", f"{estate}三栋二单元{room}室",
        ))  # fmt: skip

    def english_address(self) -> str:
        draw = self.random
        if draw.random() < 0.4:
            return self.english.address().replace("\n", ", ")
        street = f"{draw.choice(STREETS)} {draw.choice(KINDS_OF_STREET)}"
        unit = draw.choice(("", "", ", Apt 4B", ", Suite 210", " #12"))
        city = draw.choice(("", f", {draw.choice(CITIES)}"))
        return f"{draw.randint(2, 1799)} {street}{unit}{city}"

    def chinese_name(self) -> str:
        return self.chinese.name()

    def english_name(self) -> str:
        first, last = self.english.first_name(), self.english.last_name()
        return self.random.choice((f"{first} {last}", f"{first} {last}", first))

    def _written(self, number: str, groups: tuple[int, ...]) -> str:
        """The number as typed: mostly in one piece, else broken apart, or in wide digits."""
        style = self.random.choices(
            ("plain", "spaces", "dashes", "wide", "wide spaces", "one by one"), (60, 14, 8, 8, 5, 5)
        )[0]
        parts, at = [], 0
        for size in groups:
            parts.append(number[at : at + size])
            at += size
        forms: dict[str, Callable[[], str]] = {
            "plain": lambda: number,
            "spaces": lambda: " ".join(parts),
            "dashes": lambda: "-".join(parts),
            "wide": lambda: number.translate(_WIDE),
            "wide spaces": lambda: "\u3000".join(parts).translate(_WIDE),
            "one by one": lambda: " ".join(number),
        }
        return forms[style]()


def id_check(body: str) -> str:
    """The 18th character of an identity card (GB 11643: ISO 7064, MOD 11-2)."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]


def luhn_check(body: str) -> str:
    """The last digit of a card (ISO/IEC 7812: Luhn)."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)
