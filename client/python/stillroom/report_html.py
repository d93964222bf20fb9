"""A student's fidelity report as one HTML page that needs nothing else.

Everything that a server said is escaped, and the figure is embedded as an image, in which browsers
run no scripts and load nothing; the page's own policy forbids both once more.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: fidelity report</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --accent: #1f6f8b; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; \
margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere }}
h2 {{ font-size: 1.1rem; margin-top: 2rem }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem; padding: 0 }}
.figures li {{ list-style: none; border: 1px solid var(--line); border-radius: .5rem; \
padding: .6rem 1rem; min-width: 8rem }}
.figures b {{ display: block; font-size: 1.5rem; color: var(--accent) }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; \
overflow-wrap: anywhere }}
th + th, td + td {{ text-align: right; font-variant-numeric: tabular-nums }}
img {{ max-width: 100%; background: #fff; border-radius: .5rem }}
</style>
</head>
<body>
<h1>{name}</h1>
{body}
</body>
</html>
"""
Row = Sequence[object]


def render(report: Message | Mapping[str, Any], *, name: str, figure_svg: str | None = None) -> str:
    """The page of ``report``, a FidelityReport or a mapping with its field names; ``name`` is that
    of the student, ``figure_svg`` the text of its fidelity.svg. Fields that are unset, or that this
    release does not know, are left out."""
    values = _plain(report)
    parts = [f"<p>{_text(_compared(values))}</p>", _headline(values)]
    if figure_svg:
        data = base64.b64encode(figure_svg.encode()).decode()
        source = f"data:image/svg+xml;base64,{data}"
        parts.append(f'<p><img alt="The figures of this report, drawn." src="{source}"></p>')
    for title, head, rows in (
        ("First dimensions alone", *_prefixes(values)),
        ("Stored in fewer bytes", *_quantizations(values)),
        ("Evaluations", *_scores(values)),
        ("Facts", ("", ""), list(_facts(values))),
    ):
        if rows:
            parts += [f"<h2>{_text(title)}</h2>", _table(head, rows)]
    return _PAGE.format(name=_text(name), body="\n".join(part for part in parts if part))


def _plain(report: Message | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(report, Message):
        return {**(report.get("measured_speed") or {}), **report}
    from google.protobuf.json_format import MessageToDict

    found: Mapping[str, Any] = MessageToDict(report, preserving_proto_field_name=True)
    return found


def _compared(values: Mapping[str, Any]) -> str:
    if not _number(values.get("texts")):
        return "This student was not compared with its teacher."
    built_in = _word(values.get("text_source")) == "built in"
    which = "built-in texts" if built_in else "texts held out of the corpus"
    space = ""
    if _word(values.get("cosine_basis")) == "aligned":
        space = " Cosines are taken after a linear map to the teacher's space."
    return f"Compared with its teacher on {_count(values['texts'])} {which}.{space}"


def _headline(values: Mapping[str, Any]) -> str:
    neighbors = _count(values.get("recall_neighbors") or 10)
    figures = [
        ("mean cosine", _figure(values.get("mean_cosine"))),
        ("5th percentile", _figure(values.get("p5_cosine"))),
        ("Spearman of similarities", _figure(values.get("similarity_spearman"))),
        (f"recall of {neighbors} neighbors", _figure(values.get("recall_at_10"))),
        (
            "bytes of the teacher's",
            _share(values.get("student_bytes"), values.get("teacher_bytes")),
        ),
    ]
    items = [f"<li><b>{_text(value)}</b>{_text(label)}</li>" for label, value in figures if value]
    return f'<ul class="figures">{"".join(items)}</ul>' if items else ""


Table = tuple[Row, list[Row]]


def _prefixes(values: Mapping[str, Any]) -> Table:
    rows: list[Row] = [
        (
            _count(item.get("dimensions")),
            _figure(item.get("similarity_spearman")),
            _figure(item.get("recall_at_10")),
            _figure(item.get("mean_cosine")),
        )
        for item in _items(values, "prefixes")
    ]
    return ("Dimensions", "Spearman of similarities", "Recall of neighbors", "Mean cosine"), rows


def _quantizations(values: Mapping[str, Any]) -> Table:
    rows: list[Row] = [
        (
            _word(item.get("element_type")),
            _size(item.get("bytes")),
            _figure(item.get("mean_cosine"), ".5f"),
            _figure(item.get("similarity_spearman")),
            _figure(item.get("spearman_change"), "+.5f"),
        )
        for item in _items(values, "quantizations")
    ]
    return ("Type", "Weights", "Cosine to float32", "Spearman", "Change"), rows


def _scores(values: Mapping[str, Any]) -> Table:
    rows: list[Row] = [
        (
            item.get("name", ""),
            item.get("metric", ""),
            _figure(item.get("student")),
            _figure(item.get("teacher")),
            _share(item.get("student"), item.get("teacher")),
            _count(item.get("count")),
        )
        for item in _items(values, "scores")
    ]
    return ("Evaluation", "Metric", "Student", "Teacher", "Share", "Rows"), rows


def _facts(values: Mapping[str, Any]) -> Iterator[Row]:
    """Everything else that the report has, nested names joined."""
    shown = {"prefixes", "quantizations", "scores", "distribution", "measured_speed"}
    for key, value in values.items():
        if key in shown or value is None:
            continue
        if isinstance(value, Mapping):
            for inner, entry in value.items():
                if not isinstance(entry, Mapping | list | tuple) and entry is not None:
                    yield _fact(inner, entry, f"{_word(key)}: ")
        elif not isinstance(value, list | tuple):
            yield _fact(key, value, "")


def _fact(key: object, value: object, before: str) -> Row:
    label = before + _word(key)
    number = _number(value)
    if number is None or isinstance(value, bool):
        return label, _word(value) if label.endswith(("basis", "source", "type")) else value
    if str(key).endswith("bytes"):
        return label, _size(value)
    return label, _count(value) if number == int(number) else f"{number:,.6g}"


def _items(values: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [item for item in values.get(key) or () if isinstance(item, Mapping)]


def _table(head: Row, rows: list[Row]) -> str:
    lines = [_row("th", head)] if any(head) else []
    lines += [_row("td", row) for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _row(tag: str, cells: Row) -> str:
    return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _word(value: object) -> str:
    """``ELEMENT_TYPE_INT8`` and ``int8`` alike, for people."""
    words = "" if value is None else str(value).replace("_", " ").lower()
    for enum in ("element type ", "fidelity texts ", "cosine basis "):
        words = words.removeprefix(enum)
    return words


def _number(value: object) -> float | None:
    """Protobuf's JSON writes 64-bit integers as texts."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _figure(value: object, form: str = ".4f") -> str:
    number = _number(value)
    return "" if number is None else format(number, form)


def _count(value: object) -> str:
    number = _number(value)
    return "" if number is None else f"{number:,.0f}"


def _share(part: object, whole: object) -> str:
    above, below = _number(part), _number(whole)
    return f"{above / below:.1%}" if above is not None and below is not None and below > 0 else ""


def _size(value: object) -> str:
    from stillroom.cli.human import size

    number = _number(value)
    return "" if number is None else size(int(number))
