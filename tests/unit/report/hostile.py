"""Strings that a host or a person may put anywhere, and a walk that puts them into every string of a document."""

HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attributes": 'x" onmouseover="alert(1)" y=\' onfocus=\'alert(1)',
    "ends": "]]> --> </style></script></title></pre></svg> <!-- <![CDATA[ ?>",
    "entities": "&amp; &lt;b&gt; &#x3c;i&#62; &nosuch; %22 {{ 7 * 7 }} {% raw %}",
    "controls": "a\x00b\x08c\x0bd\x1b[31me\x7ff\x85g\ufffeh\uffffi",
    "surrogates": "a\ud800b\udfffc",
    "direction": "\u202ename\u2066other\u2069 \u200b\u00ad\ufeffend",
    "lines": "one\ntwo\r\nthree\tfour\u2028five",
    "long": "node" * 2_500,
    "words": "\u05d0\u05d1\u05d2 \u4e3b\u6a5f \U0001f5a7 e\u0301",
}


def replaced(value, text):
    """Return a copy of a document in which every string, and every key that is a host, is the text."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        hosts = {key for key in value if key.startswith("node")}
        return {(text if key in hosts else key): replaced(item, text) for key, item in value.items()}
    return [replaced(item, text) for item in value] if isinstance(value, list) else value


def each_replaced(value, text):
    """Yield copies of a document in each of which one string is the text."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from ({**value, key: other} for other in each_replaced(item, text))
    elif isinstance(value, list):
        for at, item in enumerate(value[:2]):  # the others are of the same kind
            yield from ([*value[:at], other, *value[at + 1 :]] for other in each_replaced(item, text))
    elif isinstance(value, str):
        yield text
