"""Texts that try to run, to break out of their place, or to break the layout.

Each sets `window.pwned`, opens a dialog, loads something, or is only hard to lay out.
"""

from __future__ import annotations

RUN = "window.pwned=1"

MARKUP = (
    f"<script>{RUN}</script>",
    f"<ScRiPt>{RUN}</ScRiPt>",
    f"</script><script>{RUN}</script>",
    f"<img src=x onerror='{RUN}'>",
    f'<img src="x" onerror="{RUN}"/>',
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<math><mi//xlink:href='data:x,<script>{RUN}</script>'>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<iframe src='javascript:parent.{RUN}'></iframe>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<input autofocus onfocus={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<body onload={RUN}>",
    f"<object data='javascript:{RUN}'></object>",
    f"<embed src='javascript:{RUN}'>",
    "<base href='https://example.invalid/'>",
    "<meta http-equiv=refresh content='0;url=https://example.invalid'>",
    "<link rel=stylesheet href='https://example.invalid/x.css'>",
    "<style>*{display:none!important}</style>",
    "<form action='https://example.invalid'><button>Sign in</button></form>",
    f"<a href='javascript:{RUN}'>x</a>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<table><td background='javascript:{RUN}'>",
    f"<div style='background:url(javascript:{RUN})'>",
    f"<template><script>{RUN}</script></template>",
    f"<!--><img src=x onerror={RUN}>-->",
    f"<![CDATA[<script>{RUN}</script>]]>",
    f"<marquee onstart={RUN}>x</marquee>",
    '"><div id="main">another main</div>',
    "<plaintext>",
    "<textarea>",
    "<dialog open>Sign in again: <input></dialog>",
)
MARKDOWN = (
    f"[x](javascript:{RUN})",
    f"[x](JaVaScRiPt:{RUN})",
    f"[x](&#106;avascript:{RUN})",
    f"[x](data:text/html,<script>{RUN}</script>)",
    f"[x](vbscript:{RUN})",
    f"[x]( javascript:{RUN})",
    f'![x](x"onerror="{RUN})',
    "![tracker](https://example.invalid/pixel.png)",
    f"<javascript:{RUN}>",
    f"[a]: javascript:{RUN}\n[a]",
    f"```\n</code></pre><script>{RUN}</script>\n```",
    "# # # # # # " * 40,
    "> " * 300 + "deep",
    "* " * 300 + "deep",
    "[" * 2_000 + "x" + "](y)" * 500,
    "| a | b |\n|---|---|\n" + "| x | " * 200,
    "**" * 500 + "bold",
)
PLACES = (
    f"';{RUN};//",
    f'";{RUN};//',
    f"${{{RUN}}}",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    "{{ 7*7 }} {% raw %} #{7*7}",
    "\u2028window.pwned=1\u2029",
    "__proto__",
    "constructor",
    'data: {"error": {}}\n\ndata: [DONE]\n\n',
    '=HYPERLINK("https://example.invalid")',
    "../../../etc/passwd",
    "%3Cscript%3E",
)
UNICODE = (
    "\u202egnp.exe is not a picture\u202c",
    "\u2066\u2067\u2068 isolates without an end",
    "Z" + "\u0335\u0321\u034c\u030d\u0300\u0316" * 60 + "algo",
    "\u200b\u200c\u200d\ufeff" * 50,
    "W" * 3_000,
    "长" * 3_000,
    "https://example.invalid/" + "a" * 2_000,
    "👩‍👩‍👧‍👦" * 200,
    "\ufdfd" * 60,
    "\n" * 300 + "end",
    "\t" * 300 + "end",
    "العربية עברית " * 60,
)
TRICKS: tuple[str, ...] = (*MARKUP, *MARKDOWN, *PLACES, *UNICODE)
assert len(TRICKS) >= 50
