"""A lineage as a tree of text, as a Mermaid diagram, or as SVG. Nothing here asks a server."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf import json_format

from stillroom._protocol import enums
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 240, 46, 90, 22, 16
_MOST_FACTS = 36  # characters that a box has room for
_COLORS = {"teacher": "#6b4fa0", "student": "#1f6f8b", "classifier": "#2e7d4f"}


@dataclass
class _Graph:
    nodes: dict[str, pb.LineageNode]
    children: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    parents: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, lineage: pb.GetLineageResponse) -> _Graph:
        graph = cls({node.model_version: node for node in lineage.nodes})
        for edge in lineage.edges:
            for end in (edge.parent, edge.child):
                if end not in graph.nodes:  # beyond the depth that was asked for
                    graph.nodes[end] = pb.LineageNode(model_version=end)
            graph.children[edge.parent].append((edge.child, edge.relation))
            graph.parents[edge.child].append((edge.parent, edge.relation))
        return graph

    @property
    def roots(self) -> list[str]:
        """Versions without a parent; all of them where the graph has none, which no honest server
        sends."""
        return [name for name in self.nodes if not self.parents[name]] or list(self.nodes)


def short(version: str) -> str:
    """``name@3`` of ``models/name/versions/3``."""
    parts = version.split("/")
    return f"{parts[1]}@{parts[3]}" if len(parts) == 4 else version


def tree(lineage: pb.GetLineageResponse) -> list[str]:
    """Lines of a tree from the oldest versions down; the version that was asked for has a ``*``. A
    version that has several parents is drawn below each, its descendants below the first."""
    graph = _Graph.of(lineage)
    asked = lineage.nodes[0].model_version if lineage.nodes else ""
    drawn: set[str] = set()
    lines: list[str] = []
    # A stack rather than calls: a chain may be longer than Python's.
    stack = [(root, "", "", "") for root in reversed(graph.roots)]
    while stack:
        name, relation, indent, branch = stack.pop()
        again = name in drawn and bool(graph.children[name])
        facts = [relation, *_facts(graph.nodes[name]), *(["above"] if again else [])]
        mark = " *" if name == asked else ""
        known = ", ".join(filter(None, facts))
        lines.append(f"{indent}{branch}{short(name)}{mark}" + (f"  ({known})" if known else ""))
        if name in drawn:
            continue
        drawn.add(name)
        below = indent + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        children = graph.children[name]
        for place, (child, how) in reversed(list(enumerate(children))):
            last = place == len(children) - 1
            stack.append((child, how, below, "└─ " if last else "├─ "))
    return lines


def mermaid(lineage: pb.GetLineageResponse) -> str:
    """A flowchart for Markdown pages that draw Mermaid."""
    graph = _Graph.of(lineage)
    ids = {name: f"v{place}" for place, name in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for name, node in graph.nodes.items():
        facts = ", ".join(_facts(node))
        label = _quoted(short(name)) + (f"<br/>{_quoted(facts)}" if facts else "")
        lines.append(f'    {ids[name]}["{label}"]')
    for edge in lineage.edges:
        arrow = f"-->|{_quoted(edge.relation)}|" if edge.relation else "-->"
        lines.append(f"    {ids[edge.parent]} {arrow} {ids[edge.child]}")
    for place, node in enumerate(graph.nodes.values()):
        if node.deleted:
            lines.append(f"    style v{place} stroke-dasharray: 4 4")
    if lineage.nodes:
        lines.append("    style v0 stroke-width: 3px")
    return "\n".join(lines) + "\n"


def svg(lineage: pb.GetLineageResponse) -> str:
    """The same as a picture that needs nothing else: oldest versions left, deleted ones dashed."""
    graph = _Graph.of(lineage)
    columns = _columns(graph)
    places: dict[str, tuple[int, int]] = {}
    for column, names in enumerate(columns):
        for row, name in enumerate(names):
            x, y = _EDGE + column * (_WIDTH + _GAP_X), _EDGE + row * (_HEIGHT + _GAP_Y)
            places[name] = x, y
    width = 2 * _EDGE + len(columns) * (_WIDTH + _GAP_X) - _GAP_X
    rows = max((len(names) for names in columns), default=0)
    height = 2 * _EDGE + rows * (_HEIGHT + _GAP_Y) - _GAP_Y
    asked = lineage.nodes[0].model_version if lineage.nodes else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        *(_arrow(edge, places) for edge in lineage.edges),
        *(_box(node, *places[name], name == asked) for name, node in graph.nodes.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _facts(node: pb.LineageNode) -> Iterator[str]:
    if node.kind:
        yield enums.word(model_pb2.ModelKind, node.kind)
    recipe = node.metadata.fields["recipe"].string_value if "recipe" in node.metadata else ""
    if recipe:
        yield recipe
    yield from _peer(node)
    if node.deleted:
        yield "deleted"


def _peer(node: pb.LineageNode) -> Iterator[str]:
    """Of a copy from another server: what it is there, and was made from that is not here."""
    # As plain values: to look into a Struct for what is not there puts it there.
    origin = json_format.MessageToDict(node.metadata).get("origin")
    peer = origin.get("peer") if isinstance(origin, dict) else None
    if not isinstance(peer, dict):
        return
    yield f"copy of {short(str(peer.get('model_version')))}"
    for parent in peer.get("parents") or ():
        if isinstance(parent, dict) and not parent.get("here"):
            yield f"there from {short(str(parent.get('model_version')))}"


def _columns(graph: _Graph) -> list[list[str]]:
    """Each version to the right of all its parents (longest path; Kahn, 1962)."""
    depth = dict.fromkeys(graph.nodes, 0)
    waiting = {name: len(graph.parents[name]) for name in graph.nodes}
    ready = [name for name, count in waiting.items() if count == 0]
    for name in ready:  # grows meanwhile
        for child, _ in graph.children[name]:
            depth[child] = max(depth[child], depth[name] + 1)
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name, column in depth.items():
        columns[column].append(name)
    return columns


def _box(node: pb.LineageNode, x: int, y: int, asked: bool) -> str:
    kind = enums.word(model_pb2.ModelKind, node.kind)
    color = _COLORS.get(kind, "#555")
    dashed = ' stroke-dasharray="5 4"' if node.deleted else ""
    name = short(node.model_version)
    shown = name if len(name) <= 30 else f"{name[:14]}…{name[-15:]}"
    facts = ", ".join(_facts(node))
    facts = facts if len(facts) <= _MOST_FACTS else f"{facts[: _MOST_FACTS - 1]}…"
    return (
        f'<g><title>{_escaped(node.model_version)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" rx="8" fill="{color}11" stroke="{color}" '
        f'stroke-width="{3 if asked else 1.2}"{dashed}/>'
        f'<text x="{x + 12}" y="{y + 20}" font-weight="600" fill="#222">{_escaped(shown)}</text>'
        f'<text x="{x + 12}" y="{y + 37}" fill="#555">{_escaped(facts)}</text></g>'
    )


def _arrow(edge: pb.LineageEdge, places: dict[str, tuple[int, int]]) -> str:
    x1, y1 = places[edge.parent][0] + _WIDTH, places[edge.parent][1] + _HEIGHT // 2
    x2, y2 = places[edge.child][0], places[edge.child][1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    return (
        f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2 - 6} {y2}" fill="none" '
        f'stroke="#888"/><path d="M{x2 - 8} {y2 - 4} L{x2} {y2} L{x2 - 8} {y2 + 4} Z" '
        f'fill="#888"/><text x="{middle}" y="{(y1 + y2) // 2 - 6}" text-anchor="middle" '
        f'font-size="11" fill="#555">{_escaped(edge.relation)}</text>'
    )


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _quoted(text: str) -> str:
    """Text inside a Mermaid label, which ends at a quote and reads ``#`` as the start of a code."""
    kept = "".join(c for c in text if c.isprintable()).replace("#", "#35;")
    return kept.replace('"', "#quot;").replace("|", "#124;").replace("<", "&lt;")
