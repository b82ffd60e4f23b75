import pytest

from rlhf.data.language import language

TEXTS = [
    ("我有高血压这两天吃党参可以吗？", "zh"),
    ("我的iPhone坏了怎么办", "zh"),
    ("血压140/90，心率80", "zh"),
    ("How do I reset my password?", "en"),
    ("¿Dónde está la biblioteca?", "en"),  # by script, not by language
    ("It's fine — really", "en"),
    ("请把 the reset password link 发给我，谢谢", "mixed"),
    ("これは日本語の文章です", "other"),
    ("한국어 문장입니다", "other"),
    ("Это предложение", "other"),
    ("هذه جملة", "other"),
    ("12345 !!!", "other"),
    ("", "other"),
    ("<PHONE>是我的电话号码，请打过来", "zh"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_language(text: str, expected: str) -> None:
    assert language(text) == expected
