"""Surnames, characters of given names, first names, and what looks like one but is none."""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The hundred or so surnames of most people: enough alone before 先生 and 女士.
COMMON_SURNAMES: Final = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏"
    "薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常"
    "武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂焦向柳邢岳齐梅莫庄辛管祝左涂谷"
    "祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄"
)
SURNAMES: Final = COMMON_SURNAMES | frozenset(
    "项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池"
    "滕晋苑邬臧畅宫来嵇苟全褚廉简娄盖符奚木穆党燕郎邸冀谈姬屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花"
    "仇艾蓝都巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗应台巫鞠僧桑荆谌银扬明沙伏岑习胥保和蔺肖闫"
    "寇修元居冶湛禹狄贝支昝裘缪骆钮荀芮储隗宓郗班仰伊厉戎祖束幸韶蓟印宿蒲邰鄂索劳逄扶宰郦雍濮扈浦"
    "农庾暨衡阙晁阚巢蒯桓麦佘亓仝"
)
COMPOUND_SURNAMES: Final = _words(
    "欧阳 上官 司马 诸葛 司徒 东方 独孤 南宫 夏侯 皇甫 尉迟 公孙 慕容 令狐 长孙 宇文 轩辕 端木 "
    "淳于 申屠 公羊 澹台 公冶 宗政 濮阳 单于 太叔 仲孙 钟离 闾丘 司空 西门 呼延 拓跋 赫连 百里 "
    "东郭 完颜 纳兰"
)
GIVEN: Final = frozenset(
    "兵畅伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂华建国文志玉红梅春梓涵轩浩宇欣怡子萱一诺雨泽宸"
    "睿嘉俊思远博晨阳雪婷琳璐佳颖慧莹倩雯琪瑶瑾瑜萍燕凤香莲云莉琴翠珍珠瑞祥福贵生荣林森海江波浪鹏飞"
    "龙虎豪雄斌彬峰岭岩松柏竹菊梦婕妍姝媛嫣馨蕾薇蓉蓓菲菁芸茜茹荷萌若兮曦晓晴昊昕旭晖辉煌亮光耀星辰"
    "宏弘鸿洪源泉清洁冰凌霜露雷震霆振兴邦安康宁和顺利达通成功才德仁义礼智信忠孝诚善良正直贤淑惠美好"
    "乐欢喜庆新鑫钰铭锐钧铁钢银金锋立丹青蓝紫彤朱碧黛墨学书章诗词歌赋棋画艺彦哲聪捷勤奋进取向前程万"
    "里凯胜威武壮健坚毅恒永久长沛泓润洲淼澜渊深瀚漫沁汐溪玲珑珊瑚琼瑛璇玥玮琦琨珂珺珏璟瑄瑗圆满园凡"
    "帆繁帅舒心悦怀念忆忻恬恺愉爱芬芝芹芙芷苗苑茂茵荃莎菡萧薛蕙藻花叶桐柳杨栋梁楠榕槐樱权朴树根本末"
    "来友双全启元先世代家业继承绍祖宗庭天宝贝财富发裕丰盈余卫保民庶众群东西南北中方大小少伯仲叔季尚"
    "上士仕伦佑佐作任依侠倚翔羽翰翼飘逸鹤鸣凰鹰雁鸽莺可昌冬夏秋岚川山岳峻崇巍丘石磐砚克京亚亭人仙以"
    "会伊佩允兆冠凝勋化卓卿厚原吉君吟周咏品唯喆团城培基堂坤垚奇奕如妙妮姗姣娅娇娣婉婧婵媚嫦存孟定宛"
    "宜宣宪容宾密寒寅寿尔展巧希帝年庚延廷开弈征必恩惟意慈拓挺政敬斐旋旺易昂映昱晋景晶曼月有朋望朝栩"
    "桃榆楚毓水汉沐沙法泰洛津浦淇添温湘滢滨漪火灵炎炜炫炳烁烨焕煊煜熙熠燊爽牧珈班理琛琢瑀田甜男疆登"
    "皓盛真睦瞳硕祎祯祺禄禧秉科穆穗竣端笑笛筠筱简精素纯纲经维绮缘罡翊联胤能自致航舟节芮芯苏范茗莞菱"
    "葆葵蒙蓬蔓虹蝶行衍裴言许语谊谦谨贞越路轶辛迅迎迪逊道邈郁采野钊钦铎锦镇阅队阔隆雅霁霄霖非韬韵颂"
    "频颜风飒驰骁骏高魁麒麟默黎齐龄"
)
# The second of these begins the next word more often than it ends a name.
NOT_GIVEN: Final = frozenset(
    "的了是在我你您他她它们这那吗呢吧啊呀哦嘛很都也就还没不被把给从到对跟与及或但去说问住姓电手号岁"
    "要想请"
)
AFTER_NAME: Final = _words(
    "今年 来自 现在 电话 手机 身份 住在 性别 联系 地址 先生 女士 小姐 同学 老师 医生 大夫 因为 "
    "已经 想要 需要 前天 昨天 今天 明天 最近 一个 一名 一位 男性 女性 本人 家住 年龄 出生 生日 "
    "生于 以及 可以 能够 有个 有点 有人 有时 和我 和他 会在 会给 上周 下周 上个 下个 早上 上午 "
    "中午 下午 晚上 先前 先后 小时 大家 方便 自从 自己 联络 行吗 好吗 好的 在家 家里 家在 人在 "
    "能不 能帮 能否 开户 持有 名下 高中 大学 大二 大三 小学 初中 毕业 真的 真名 成年 年纪 本来 "
    "一下 一直 一般 一共 可是 可能 如果 如下 以前 以后 以为 友好 会员 发现 发烧 发了 东西 中国 "
    "保险 订单 双方"
)
TITLES: Final = _words("医生 大夫 老师 主任 教授 护士 经理 师傅 律师 院长 同学 阿姨 叔叔 老板")
# Writers and statesmen whom lessons call 先生.
PUBLIC: Final = _words(
    "鲁迅 孙中山 梁启超 胡适 陈独秀 李大钊 梁思成 钱学森 钱钟书 钱穆 陈寅恪 王国维 朱自清 闻一多 "
    "沈从文 叶圣陶 杨绛 季羡林 陶行知 冯友兰 傅雷 蔡元培 徐悲鸿 齐白石 梅兰芳 马寅初 邓稼先 "
    "袁隆平 宋庆龄 章太炎 金庸 巴金 曹雪芹 黄宾虹 林语堂 梁实秋 华罗庚 马云 马化腾"
)
# Words that end on a surname, before 先生 or 女士 no name.
WORDS: Final = _words(
    "感谢 多谢 谢谢 答谢 致谢 主任 责任 信任 现任 前任 新任 对方 男方 女方 双方 甲方 乙方 官方 "
    "我方 贵方 紧张 明白 晚安 早安 平安 其余 现金 奖金 百万 千万 工程 课程 非常 也许 允许 本周 "
    "上周 下周 照顾 有钱 浙江 龙江 关于 由于 对于 至于 最高 提高 身高 如何 为何 任何 及时 有时 "
    "同时 按时 随时 小时 一向 方向 作文 中文 英文 原文 健康 安康 相关 有关 一段 主管 尽管 不管 "
    "历史 恐龙 大陆 公安 不安 容易 简易 交易 树林 森林 地方 一方 城管 保管"
)

FIRST_NAMES: Final = _words(
    "james mary robert patricia john jennifer michael linda david elizabeth william barbara "
    "richard susan joseph jessica thomas sarah charles karen christopher lisa daniel nancy "
    "matthew betty anthony sandra mark margaret donald ashley steven kimberly andrew emily paul "
    "donna joshua michelle kenneth carol kevin amanda brian melissa george deborah timothy "
    "stephanie ronald rebecca jason laura edward sharon jeffrey cynthia ryan dorothy jacob amy "
    "gary kathleen nicholas angela eric shirley jonathan brenda stephen emma larry anna justin "
    "pamela scott nicole brandon samantha benjamin katherine samuel helen gregory christine "
    "alexander debra patrick rachel frank carolyn raymond janet jack maria dennis catherine "
    "jerry heather tyler diane aaron olivia jose julie adam joyce nathan victoria henry kelly "
    "zachary christina douglas lauren peter joan kyle evelyn noah judith ethan megan jeremy "
    "andrea christian cheryl walter hannah keith jacqueline austin martha roger madison terry "
    "teresa sean gloria carl sara harold ann dylan kathryn arthur jean lawrence alice jordan "
    "sophia jesse isabella bryan mia billy charlotte bruce amelia joe tom tim bob mike jim dave "
    "steve chris alex sam ben dan matt nick kate lucy jane liam oliver lucas mason logan ali "
    "ahmed omar fatima wei li juan carlos luis miguel pedro ana ivan olga"
)
# Capitalised words that may follow "my name is", "Mr." or "Dear", and are no names.
NOT_A_NAME: Final = _words(
    "not on in at the a an my your his her our i it sir madam sirs team customer customers "
    "support service friend friends all everyone colleague colleagues parents students member "
    "members user users valued hiring manager editor god lord santa diary president speaker "
    "chairman chair secretary minister judge justice mayor doctor professor monday tuesday "
    "wednesday thursday friday saturday sunday january february march july september october "
    "november december ok okay yes no please thank thanks sorry what who when where why how and "
    "but or if so name first last full unknown none n/a universe america world right wrong bean "
    "potato miss mr mrs ms dr we they he she this that there can could would is was are do does "
    "did has have had as of for with from to be about after before since both"
)
