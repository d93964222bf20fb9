"""From a filter's text to its tree. Knows the language, not what can be filtered.

conjunction = factor { ["AND"] factor }
factor      = term { "OR" term }
term        = ["NOT" | "-"] ( "(" conjunction ")" | field comparator value )
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stillroom_registry.filters.tree import And, Comparison, Not, Or, Tree, bad_filter
from stillroom_registry.names import shown

MAX_LENGTH = 4096
MAX_TERMS = 100
MAX_DEPTH = 32
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<comparator><=|>=|!=|[=<>:])
    |(?P<mark>[()-])
    |(?P<word>[\w*][\w*+./-]*)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_SPACE = re.compile(r"\s*", re.ASCII)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_KEYWORDS = ("AND", "OR", "NOT")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int

    def is_(self, kind: str, *texts: str) -> bool:
        return self.kind == kind and self.text in texts


def parse(text: str) -> Tree | None:
    """The tree, None of an empty filter; InvalidArgument (BAD_FILTER) with the position."""
    if len(text) > MAX_LENGTH:
        raise bad_filter(MAX_LENGTH + 1, f"a filter has at most {MAX_LENGTH:,} characters")
    if (surrogate := _SURROGATE.search(text)) is not None:
        raise bad_filter(surrogate.start() + 1, "it is no valid Unicode")
    tokens = tuple(_tokens(text))
    if tokens[0].kind == "end":
        return None
    parser = _Parser(tokens)
    tree = parser.conjunction(0)
    if parser.next.kind != "end":
        raise _unexpected(parser.next, "AND, OR or the end")
    return tree


def _tokens(text: str) -> Iterator[_Token]:
    place = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches anything
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise bad_filter(place + 1, f"{shown(text[place])} cannot begin anything; quote texts")
        assert match.lastgroup is not None
        yield _Token(match.lastgroup, match.group(), place + 1)
        place = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]
    yield _Token("end", "", len(text) + 1)


class _Parser:
    def __init__(self, tokens: tuple[_Token, ...]) -> None:
        self._tokens = tokens
        self._place = 0
        self._terms = 0

    @property
    def next(self) -> _Token:
        return self._tokens[self._place]

    def conjunction(self, depth: int) -> Tree:
        factors = [self._factor(depth)]
        while not (self.next.kind == "end" or self.next.is_("mark", ")")):
            if self.next.is_("word", "AND"):
                self._place += 1
            factors.append(self._factor(depth))
        return factors[0] if len(factors) == 1 else And(tuple(factors))

    def _factor(self, depth: int) -> Tree:
        terms = [self._term(depth)]
        while self.next.is_("word", "OR"):
            self._place += 1
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self, depth: int) -> Tree:
        token = self.next
        if depth > MAX_DEPTH:
            raise bad_filter(token.position, f"it is nested more than {MAX_DEPTH} deep")
        if token.is_("word", "NOT") or token.is_("mark", "-"):
            self._place += 1
            return Not(self._term(depth + 1))
        if token.is_("mark", "("):
            self._place += 1
            tree = self.conjunction(depth + 1)
            if not self.next.is_("mark", ")"):
                raise _unexpected(self.next, "a closing parenthesis")
            self._place += 1
            return tree
        return self._comparison()

    def _comparison(self) -> Comparison:
        self._terms += 1
        start = self.next
        if self._terms > MAX_TERMS:
            raise bad_filter(start.position, f"it has more than {MAX_TERMS} comparisons")
        path = self._field()
        comparator = self._take("comparator", "one of = != < <= > >= : after the field")
        value = self.next
        if value.kind == "text":
            self._place += 1
            found = _unquoted(value.text)
        else:
            found = self._word("a value").text
        return Comparison(path, comparator.text, found, start.position, value.position)

    def _field(self) -> tuple[str, ...]:
        word = self._word("the name of a field")
        parts = word.text.split(".")
        # A part of a name may be quoted when it is the last: labels."my key".
        if parts[-1] == "" and self.next.kind == "text":
            parts[-1] = _unquoted(self._take("text", "").text)
        if "" in parts:
            raise bad_filter(word.position, f"{shown(word.text)} is no name of a field")
        return tuple(parts)

    def _word(self, wanted: str) -> _Token:
        if self.next.text in _KEYWORDS:
            raise _unexpected(self.next, wanted)
        return self._take("word", wanted)

    def _take(self, kind: str, wanted: str) -> _Token:
        token = self.next
        if token.kind != kind:
            raise _unexpected(token, wanted)
        self._place += 1
        return token


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1])


def _unexpected(token: _Token, wanted: str) -> Exception:
    found = "it ends" if token.kind == "end" else f"{shown(token.text, 40)} is"
    return bad_filter(token.position, f"{found} where {wanted} should be")
