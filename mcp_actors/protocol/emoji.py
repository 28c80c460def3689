"""The emoji that are written with characters that cannot be seen: those of Emoji 17.0 (UTS #51).

Only these sequences are recommended for general interchange (RGI): in any other, the invisible characters show nothing.
"""
# ruff: noqa: RUF001 - emoji, not letters

import re

JOINER, EMOJI_STYLE = "\u200d", "\ufe0f"

TEXT_STYLE = (
    "©®‼⁉™ℹ↔↕↖↗↘↙↩↪⌨⏏⏭⏮⏯⏱⏲⏸⏹⏺Ⓜ▪▫▶◀◻◼☀☁☂☃☄☎☑☘☝☠☢☣☦☪☮☯☸☹☺♀♂♟♠♣♥♦♨♻♾⚒⚔⚕⚖⚗⚙⚛⚜⚠⚧⚰⚱⛈⛏⛑⛓⛩⛰⛱⛴⛷⛸⛹✂✈✉✌✍✏✒✔✖✝✡✳✴❄❇❣❤➡⤴⤵⬅⬆"
    "⬇〰〽㊗㊙🅰🅱🅾🅿🈂🈷🌡🌤🌥🌦🌧🌨🌩🌪🌫🌬🌶🍽🎖🎗🎙🎚🎛🎞🎟🏋🏌🏍🏎🏔🏕🏖🏗🏘🏙🏚🏛🏜🏝🏞🏟🏳🏵🏷🐿👁📽🕉"
    "🕊🕯🕰🕳🕴🕵🕶🕷🕸🕹🖇🖊🖋🖌🖍🖐🖥🖨🖱🖲🖼🗂🗃🗄🗑🗒🗓🗜🗝🗞🗡🗣🗨🗯🗳🗺🛋🛍🛎🛏🛠🛡🛢🛣🛤🛥🛩🛰🛳"
)
"""Characters that are shown as emoji only with `EMOJI_STYLE` behind them; others must not have it."""

STYLE_OR_TONE = "⛹🏋🏌🕵"
"""Those that have no `EMOJI_STYLE` in front of a skin tone."""

TONES = "\U0001f3fb-\U0001f3ff"

_JOINED = """
⛓+💥 ⛹+♀ ⛹+♂ ❤+🔥 ❤+🩹 🍄+🟫 🍋+🟩 🏃+♀ 🏃+♀+➡ 🏃+♂ 🏃+♂+➡ 🏃+➡ 🏄+♀ 🏄+♂ 🏊+♀ 🏊+♂ 🏋+♀ 🏋+♂ 🏌+♀ 🏌+♂ 🏳+⚧ 🏳+🌈
🏴+☠ 🐈+⬛ 🐕+🦺 🐦+⬛ 🐦+🔥 🐻+❄ 👁+🗨 👨+⚕ 👨+⚖ 👨+✈ 👨+❤+👨 👨+❤+💋+👨 👨+🌾 👨+🍳 👨+🍼 👨+🎓 👨+🎤 👨+🎨 👨+🏫
👨+🏭 👨+🐰+👨 👨+👦 👨+👦+👦 👨+👧 👨+👧+👦 👨+👧+👧 👨+👨+👦 👨+👨+👦+👦 👨+👨+👧 👨+👨+👧+👦 👨+👨+👧+👧 👨+👩+👦
👨+👩+👦+👦 👨+👩+👧 👨+👩+👧+👦 👨+👩+👧+👧 👨+💻 👨+💼 👨+🔧 👨+🔬 👨+🚀 👨+🚒 👨+🤝+👨 👨+🦯 👨+🦯+➡ 👨+🦰 👨+🦱
👨+🦲 👨+🦳 👨+🦼 👨+🦼+➡ 👨+🦽 👨+🦽+➡ 👨+🫯+👨 👩+⚕ 👩+⚖ 👩+✈ 👩+❤+👨 👩+❤+👩 👩+❤+💋+👨 👩+❤+💋+👩 👩+🌾 👩+🍳
👩+🍼 👩+🎓 👩+🎤 👩+🎨 👩+🏫 👩+🏭 👩+🐰+👩 👩+👦 👩+👦+👦 👩+👧 👩+👧+👦 👩+👧+👧 👩+👩+👦 👩+👩+👦+👦 👩+👩+👧
👩+👩+👧+👦 👩+👩+👧+👧 👩+💻 👩+💼 👩+🔧 👩+🔬 👩+🚀 👩+🚒 👩+🤝+👨 👩+🤝+👩 👩+🦯 👩+🦯+➡ 👩+🦰 👩+🦱 👩+🦲 👩+🦳
👩+🦼 👩+🦼+➡ 👩+🦽 👩+🦽+➡ 👩+🫯+👩 👮+♀ 👮+♂ 👯+♀ 👯+♂ 👰+♀ 👰+♂ 👱+♀ 👱+♂ 👳+♀ 👳+♂ 👷+♀ 👷+♂ 💁+♀ 💁+♂ 💂+♀ 💂+♂
💆+♀ 💆+♂ 💇+♀ 💇+♂ 🕵+♀ 🕵+♂ 😮+💨 😵+💫 😶+🌫 🙂+↔ 🙂+↕ 🙅+♀ 🙅+♂ 🙆+♀ 🙆+♂ 🙇+♀ 🙇+♂ 🙋+♀ 🙋+♂ 🙍+♀ 🙍+♂ 🙎+♀ 🙎+♂
🚣+♀ 🚣+♂ 🚴+♀ 🚴+♂ 🚵+♀ 🚵+♂ 🚶+♀ 🚶+♀+➡ 🚶+♂ 🚶+♂+➡ 🚶+➡ 🤦+♀ 🤦+♂ 🤵+♀ 🤵+♂ 🤷+♀ 🤷+♂ 🤸+♀ 🤸+♂ 🤹+♀ 🤹+♂ 🤼+♀
🤼+♂ 🤽+♀ 🤽+♂ 🤾+♀ 🤾+♂ 🦸+♀ 🦸+♂ 🦹+♀ 🦹+♂ 🧍+♀ 🧍+♂ 🧎+♀ 🧎+♀+➡ 🧎+♂ 🧎+♂+➡ 🧎+➡ 🧏+♀ 🧏+♂ 🧑+⚕ 🧑+⚖ 🧑+✈
🧑+❤+💋+🧑 🧑+❤+🧑 🧑+🌾 🧑+🍳 🧑+🍼 🧑+🎄 🧑+🎓 🧑+🎤 🧑+🎨 🧑+🏫 🧑+🏭 🧑+🐰+🧑 🧑+💻 🧑+💼 🧑+🔧 🧑+🔬 🧑+🚀 🧑+🚒
🧑+🤝+🧑 🧑+🦯 🧑+🦯+➡ 🧑+🦰 🧑+🦱 🧑+🦲 🧑+🦳 🧑+🦼 🧑+🦼+➡ 🧑+🦽 🧑+🦽+➡ 🧑+🧑+🧒 🧑+🧑+🧒+🧒 🧑+🧒 🧑+🧒+🧒 🧑+🩰
🧑+🫯+🧑 🧔+♀ 🧔+♂ 🧖+♀ 🧖+♂ 🧗+♀ 🧗+♂ 🧘+♀ 🧘+♂ 🧙+♀ 🧙+♂ 🧚+♀ 🧚+♂ 🧛+♀ 🧛+♂ 🧜+♀ 🧜+♂ 🧝+♀ 🧝+♂ 🧞+♀ 🧞+♂ 🧟+♀
🧟+♂ 🫱+🫲
"""
# joiners are written as +, and the emoji style and skin tones are left out


def _element(element: str) -> str:
    if element in STYLE_OR_TONE:
        return f"{element}[{EMOJI_STYLE}{TONES}]"
    return element + EMOJI_STYLE if element in TEXT_STYLE else f"{element}[{TONES}]?"


def _sequence(joined: str) -> str:
    return JOINER.join(map(_element, joined.split("+")))


def _flag(nation: str) -> str:
    return "🏴" + "".join(chr(0xE0000 + ord(letter)) for letter in nation) + "\U000e007f"


SEQUENCE = re.compile(
    "|".join(
        [
            *map(_sequence, sorted(_JOINED.split(), key=len, reverse=True)),
            f"[{TEXT_STYLE}]{EMOJI_STYLE}",
            f"[0-9#*]{EMOJI_STYLE}\u20e3",
            *map(_flag, ("gbeng", "gbsct", "gbwls")),
        ]
    )
)
"""One emoji that has invisible characters: a joined one, one in emoji style, a keycap, or the flag of a nation."""
