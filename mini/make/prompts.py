"""Texts of the mini corpus and of the typical corpus, and how speakers are given them.

All texts were written for this corpus. They are everyday requests, words about home and
health, and single-character answers. Only Han characters: no punctuation, no digits.

`TRAIN_POOL` is shared: the train speakers read it, and half of what each val and test speaker reads
comes from it. `VAL_UNSEEN` and `TEST_UNSEEN` occur in no other split and not in the typical
corpus, but are made of characters that do.
"""

from __future__ import annotations

import random
from collections import Counter


def split(words: str) -> list[str]:
    """The words between blanks and line ends."""
    return words.split()


TRAIN_POOL = split("""
好 是 不 来 水 疼 走 要 冷 饿 对 喝 喝水 吃饭 开门 关灯 谢谢 你好 再见 电视 回家 睡觉 难受 医生 妈妈
朋友 早上 明天 苹果 牛奶 手机 穿衣 洗脸 等等 快点 中国 北京 上海 音乐 语音 我要喝水 打开电视 关上窗户
我想睡觉 我肚子疼 请你帮我 扶我起来 给我毛巾 今天很冷 我不想去 你在哪里 妈妈来了 我头很晕 吃药了吗
我要回家 慢慢说 别着急 听音乐 洗个脚 开空调 声音太大 我听不见 没关系 对不起 再说一次 我很高兴 换件衣服
想吃面条 喝点牛奶 坐轮椅 穿上鞋子 叫护士来 现在几点 明天下雨 去医院 看医生 打电话 写名字 手很麻
腿没力气 我很累 买水果 吃香蕉 下楼走走 电灯坏了 声音小点 数字语音 语言识别 中国饭店 复旦总工 背景声音
请帮我打开门 我想喝一杯茶 今天天气很好 把灯关了吧 我的手机在哪 帮我拿一下书 我想出去走走 我不喜欢吃鱼
晚上早点睡觉 把电视开大声 请再说一次 我要上厕所 我想坐起来 左边的腿很疼 右手没有力气 背上有点痒
请帮我翻个身 被子太厚了 枕头有点高 这杯水太烫了 今天的饭很咸 给我一张纸 我的眼镜在哪 窗户外面有风
昨天睡得不好 我喜欢听音乐 孩子在学校 爸爸下班了吗 我想吃红苹果 早上要喝牛奶 请把轮椅推来 我们去公园吧
他在上海上班 我住在上海 中国很大很美 请你慢慢说话 我听不清楚 明天去看医生 护士给我打针 吃完药就睡觉
我今天很高兴 谢谢你帮我 周末一起吃饭 姐姐回来了 电话没有声音 把音乐关小点 商店几点开门 饭店在左边
语音识别很快 帮我充一下电 屋里太黑了 我想晒晒太阳 洗澡水不够热 请把电视的声音开大 我想喝一杯热水
今天晚上想吃面条 明天早上去医院看病 帮我把空调关了吧 我的左腿今天很疼 请你说得慢一点 妈妈什么时候回来
我想给姐姐打电话 外面下雨了别出去 把桌子上的书给我 今天的药我吃完了 我昨天晚上没睡好 请扶我去一下厕所
他们在饭店吃饭呢 中国的语言有很多 数字语音识别很难 我喜欢北京的秋天 上海商行在复旦旁边 总工今天不在北京
早上起来先喝水 把被子给我盖好 我的手机没有电了 爸爸坐车去上班 孩子们在公园里玩 这件衣服有点小
请帮我换一下衣服 天气冷了多穿点 我要买三个苹果 今天是我的生日 走路的时候要小心 屋里有点热开窗吧
请帮我把窗户打开一点好吗 我今天早上忘了吃降压药 明天上午要去医院看医生 电视的声音太小我听不清楚
外面风很大出门多穿衣服 麻烦你给我拿一杯热牛奶 我想请你帮我打一个电话 妈妈说晚上回来煮面条
我们周末一起去公园走走 左边的鞋子有点小不舒服 语音识别听得懂我说话吗 我的左手没有力气请你帮我拿一下杯子
今天天气很好我想坐轮椅出去晒晒太阳 晚上睡觉的时候肚子疼得很难受 请你说得慢一点大声一点我听不清楚
妈妈早上去商店买了苹果香蕉和牛奶 医生说每天要吃三次药多喝水早点睡觉 我想看一会儿电视请把声音开大一点
昨天下雨了我没有去公园在家里听音乐 爸爸在北京上班周末坐车回上海看我们 请帮我把被子盖好再把床边的灯关了
手机没有电了请帮我充一下电谢谢你
""")

VAL_UNSEEN = split("""
去 坐 下床 热水 起来 吃面 脚疼 我要洗脸 打开电灯 护士来了 肚子饿了 想听音乐 明天很热 吃水果 走慢点
请帮我拿毛巾 我想去公园 爸爸在北京 把手机给我 左手有点疼 晚上想吃鱼 外面太黑了 请把窗户关上吧
我想看一下手机 妈妈明天早上回来 我的背今天有点疼 姐姐给我买衣服 请你给我拿一杯热水好吗
我们明天去北京看姐姐 妈妈明天坐车去上海给我买衣服和鞋子 我的头有点疼请帮我叫一下医生好吗
""")

TEST_UNSEEN = split("""
热 饭 药 看 吃药 开灯 关门 回去 洗手 看书 头疼 天冷 上床 很好 我要吃饭 打开窗户 关上电视 妈妈回家
我脚很麻 请叫医生 给我牛奶 今天下雨 你去哪里 我头疼 听不见了 想看电视 喝点热水 别说话 衣服太小 明天见
买苹果 空调坏了 请帮我关上门 我想喝热牛奶 把窗户打开吧 我的衣服在哪 明天早上下雨 右边的手很麻
我不想打针 妈妈在上海 姐姐去学校了 今天的鱼很好 请把书给我 我想早点回家 电视没有声音 医生几点来
枕头太厚了 请把空调的声音关小 我想喝一杯热茶 明天晚上想吃鱼 帮我把电视打开吧 我的右手今天很麻
爸爸什么时候下班 把桌子上的药给我 我昨天早上去了医院 孩子们在学校吃饭 今天外面天气很冷 我想给医生打电话
请帮我把电视的声音开大好吗 明天早上要给爸爸打电话 我今天晚上没有喝牛奶 外面下雨很大出门要小心
我的右腿没有力气请你扶我下床走走 今天下雨我不想出去在家里看电视听音乐 医生说晚上要早点睡觉早上要吃药
请把窗户打开一点再帮我拿一杯热水
""")

# Words for the typical corpus. Few share a syllable and a tone, because without a language model
# nothing tells such characters apart.
KEY_WORDS = split("数字 语音 语言 识别 中国 总工 北京 背景 上海 商行 复旦 饭店")

WORDS = split("""
我 你 他 我们 你们 他们 妈妈 爸爸 姐姐 哥哥 爷爷 奶奶 医生 护士 老师 朋友 孩子 客人 喝水 喝茶 吃饭 吃药
看电视 听音乐 洗手 洗脸 刷牙 洗澡 睡觉 起床 上厕所 出门 回家 打电话 写字 看书 上班 下班 下楼 游泳 打针
吃糖 喝汤 煮面条 买菜 扫地 坐车 坐船 坐飞机 骑马 穿衣服 穿鞋子 换衣服 翻身 晒太阳 充电 聊天 帮忙 今天
明天 昨天 早上 中午 晚上 上午 下午 现在 周末 每天 春天 秋天 冬天 生日 去年 电视 电灯 空调 风扇 窗户 门
手机 杯子 桌子 轮椅 毛巾 枕头 被子 眼镜 苹果 香蕉 牛奶 面条 米饭 鱼 肉 糖 豆腐 白菜 西瓜 水果 帽子 雨伞
报纸 照片 铅笔 沙发 头 手 脚 腿 背 肚子 嘴 鼻子 耳朵 喉咙 胸口 腰 左手 右手 左边 右边 旁边 外面 里面
前面 医院 公园 商店 银行 学校 家里 屋里 厕所 楼下 农村 车站 南京 长江 很冷 很热 很疼 很累 很麻 很痒
很饿 很晕 难受 高兴 舒服 清楚 漂亮 聪明 安全 简单 红色 绿色 蓝色 黄色 黑色 太烫 太咸 太厚 太高 太小
太大 太快 太慢 太远 太贵 有点甜 有点酸 下雨 下雪 多云 晴天 太阳 月亮 星星 森林 草 花 鸟 猫 狗 老虎 熊
一 二 三 四 五 六 七 八 九 两个 三次 一杯 一张 半天 几点 多少 百 好 是 不 来 走 要 冷 饿 对 喝 请 把 给
的 了 吗 吧 呢 和 先 就 再 别 快 慢 没有 不要 应该 降压药 谢谢 你好 再见 没关系 对不起 别着急 等等 快点
慢慢 麻烦 什么 哪里 怎么 为什么 名字 声音 力气 时候 小心 忘了 坏了 听得懂 听不见 喜欢 打开 关上 这件
一会儿 不够 很美 吃完 听说 记得 爱 笑 哭 推 拿 扶 叫 住 玩 盖好 走路 看病
""")

# A slot in braces is filled from the words of SLOTS.
TEMPLATES = split("""
我要{do} 我想{do} 请帮我{do} {who}在{where} {who}去{where}{do} {when}{who}要{do} {when}{do}吧
把{thing}给我 {thing}在哪里 {body}{feel} 我的{body}{feel} {who}的{thing}{how} {when}去{where}
请把{thing}拿来 {who}{when}在{where}{do} {who}喜欢{do} 别{do} {do}了吗 {thing}和{thing} {when}{weather}
我不想{do} {who}{when}没有{do} {thing}{how}了 {who}给{who}买{thing} {key}{key} {key}在{where}
{who}说{key} {when}{weather}了别出门 {key} {key} {word} {word}{word} {word}{word} {word}{word}{word}
{word}{word}{word} {word}{word}{word}{word} {word}{word}{word}{word}
""")

SLOTS = {
    "do": WORDS[WORDS.index("喝水") : WORDS.index("今天")],
    "who": WORDS[: WORDS.index("喝水")],
    "when": WORDS[WORDS.index("今天") : WORDS.index("生日")],
    "thing": WORDS[WORDS.index("电视") : WORDS.index("头")],
    "body": WORDS[WORDS.index("头") : WORDS.index("左边")],
    "where": WORDS[WORDS.index("医院") : WORDS.index("很冷")] + split("北京 上海 中国 饭店 商行 复旦"),
    "feel": split("很冷 很热 很疼 很麻 很痒 很难受 很舒服 不舒服 没有力气 有点疼 有点麻"),
    "how": WORDS[WORDS.index("红色") : WORDS.index("下雨")] + split("很美 很漂亮 坏了 没有了"),
    "weather": split("很冷 很热 下雨 下雪 有风 多云 晴天"),
    "key": KEY_WORDS,
    "word": WORDS + KEY_WORDS,
}

# How many prompts of each length a speaker reads, by the longest length of the bucket: (from the pool,
# unseen). A train speaker reads both numbers from the pool. 36 in all, 5.5 characters on average.
LENGTH_QUOTA = {1: (2, 1), 2: (2, 3), 4: (4, 5), 6: (5, 4), 9: (3, 3), 13: (2, 1), 20: (0, 1)}

MAX_TYPICAL_LENGTH = 14


def length_bucket(text: str) -> int:
    """The key of `LENGTH_QUOTA` that `text` belongs to."""
    return next(limit for limit in LENGTH_QUOTA if len(text) <= limit)


def speaker_prompts(unseen: list[str], used: Counter[str], rng: random.Random) -> list[str]:
    """The prompts of one mini-corpus speaker, shuffled.

    `unseen` is the split's own list (empty for a train speaker). `used` counts how often each prompt was
    given so far and is updated: the least used come first, so that the speakers share the lists evenly.
    """
    picked: list[str] = []
    for bucket, (n_pool, n_unseen) in LENGTH_QUOTA.items():
        wanted = [(unseen, n_unseen), (TRAIN_POOL, n_pool)] if unseen else [(TRAIN_POOL, n_pool + n_unseen)]
        for texts, count in wanted:
            fitting = [text for text in texts if length_bucket(text) == bucket]
            rng.shuffle(fitting)
            fitting.sort(key=lambda text: used[text])
            picked += fitting[:count]
    used.update(picked)
    rng.shuffle(picked)
    return picked


def holds_unseen(text: str) -> bool:
    """Whether `text` is one of the val or test texts kept out of training, or contains a longer one."""
    kept_out = VAL_UNSEEN + TEST_UNSEEN
    return text in kept_out or any(len(other) > 2 and other in text for other in kept_out)


def typical_texts(count: int, seed: int) -> list[str]:
    """`count` different random texts of 1 to 14 characters from `TEMPLATES`.

    Of eight random fillings the one with the rarest characters so far is taken: otherwise the characters
    of rare words would hardly be heard.
    """
    rng = random.Random(seed)
    seen_characters: Counter[str] = Counter()
    texts: dict[str, None] = {}
    while len(texts) < count:
        template = rng.choice(TEMPLATES)
        fillings = [fill(template, rng) for _ in range(8)]
        text = max(fillings, key=lambda filled: sum(1 / (1 + seen_characters[c]) for c in filled) / len(filled))
        if text in texts or len(text) > MAX_TYPICAL_LENGTH or holds_unseen(text):
            continue
        texts[text] = None
        seen_characters.update(text)
    return list(texts)


def fill(template: str, rng: random.Random) -> str:
    """`template` with every {slot} replaced by a random word of that slot."""
    while "{" in template:
        start, end = template.index("{"), template.index("}")
        template = template[:start] + rng.choice(SLOTS[template[start + 1 : end]]) + template[end + 1 :]
    return template
