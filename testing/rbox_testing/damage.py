"""Files damaged at random: of JSON, of other text, of anything."""

from __future__ import annotations

import random
import re

# What stands in a line: a number, a text, a word, a sign.
TOKEN = re.compile(rb'-?[0-9][0-9.eE+-]*|"(?:[^"\\]|\\.)*"|[a-z]+|[][{}:,]|\n')
STRAYS = [
    *(
        b"0",
        b"-1",
        b"0.9",
        b"1.0",
        b"-0.0",
        b"1e308",
        b"1e999",
        b"-1e999",
        b"1e9",
        b"1000000001",
        b"9" * 40,
        b"9" * 400,
    ),
    *(b"9" * 5_000, b"1e-400", b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"false", b"[]", b"{}", b"[[]]"),
    *(b'""', b'"0"', b'"abc"', b'"boxes"', b'"failed"', b'"width"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\xff"'),
    *(
        b"\xed\xa0\x80",
        b"\x00",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\n\n",
        b" ",
        b"\t",
        b",",
        b":",
        b"]",
        b"}",
        b"[",
        b"{",
    ),
    *(
        b"[" * 3_000,
        b'{"a":' * 3_000,
        b"<a>" * 500,
        b"<",
        b">",
        b"</",
        b"&x;",
        b"<!DOCTYPE a [<!ENTITY x 'y'>]>",
        b"01",
        b"../",
        b"/etc/passwd",
        b"C:\\",
        b"a" * 300,
        b"inf",
        b"tram",
        "é".encode(),
        b"+1",
        b"1.",
        b".5",
        b"0x1",
        b"1_0",
        b"'a'",
        b"//",
        b'"_"',
        b'"\xc2\xa0"',
    ),
]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a file's content with one to three things wrong: a number, a text, a sign, some bytes, a line, its end."""
    for _ in range(chance.randint(1, 3)):
        tokens = list(TOKEN.finditer(content))
        kind = chance.random()
        if kind < 0.6 and tokens:  # a token becomes another, of the same file or a stray
            token = chance.choice(tokens)
            other = chance.choice([*STRAYS, *(chance.choice(tokens).group() for _ in range(20))])
            content = content[: token.start()] + other + content[token.end() :]
        elif kind < 0.8:  # some bytes go, come twice, or become others
            a = chance.randint(0, len(content))
            b = min(len(content), a + chance.choice([0, 1, 1, 2, 8, 60]))
            other = chance.choice([*STRAYS, b"", content[a:b] * 2, content[a:b][::-1], chance.randbytes(2)])
            content = content[:a] + other + content[b:]
        elif kind < 0.95:  # a line goes, comes twice, or elsewhere
            lines = content.splitlines(keepends=True) or [b""]
            line = lines.pop(chance.randrange(len(lines)))
            for _ in range(chance.choice([0, 1, 1, 2])):
                lines.insert(chance.randint(0, len(lines)), line)
            content = b"".join(lines)
        else:  # cut
            content = content[: chance.randint(0, len(content))]
    return content
