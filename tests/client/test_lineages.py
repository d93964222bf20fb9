"""Lineages as trees, diagrams and pictures."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree

from stillroom import lineages
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as models

TEACHER, STUDENT, SMALL, HEAD = (f"models/{name}/versions/1" for name in "tsqc")


def lineage(*edges: tuple[str, str, str], asked: str, **deleted: bool) -> models.GetLineageResponse:
    found = models.GetLineageResponse()
    kinds = {TEACHER: 1, STUDENT: 2, SMALL: 2, HEAD: 3}
    names = dict.fromkeys([asked, *(end for edge in edges for end in edge[:2])])
    for name in names:
        gone = deleted.get(name.split("/")[1], False)
        found.nodes.add(model_version=name, kind=kinds.get(name, 0), deleted=gone)
    for parent, child, relation in edges:
        found.edges.add(parent=parent, child=child, relation=relation)
    return found


FAMILY = lineage(
    (TEACHER, STUDENT, "distill"),
    (STUDENT, SMALL, "quantize"),
    (STUDENT, HEAD, "train"),
    (TEACHER, HEAD, "train"),
    asked=STUDENT,
    t=True,
)


def test_a_tree_draws_descendants_once() -> None:
    assert lineages.tree(FAMILY) == [
        "t@1  (teacher, deleted)",
        "├─ s@1 *  (distill, student)",
        "│  ├─ q@1  (quantize, student)",
        "│  └─ c@1  (train, classifier)",
        "└─ c@1  (train, classifier)",
    ]
    twice = lineage(
        (TEACHER, STUDENT, "distill"),
        ("models/u/versions/1", STUDENT, "distill"),
        (STUDENT, HEAD, "train"),
        asked=STUDENT,
    )
    assert lineages.tree(twice) == [
        "t@1  (teacher)",
        "└─ s@1 *  (distill, student)",
        "   └─ c@1  (train, classifier)",
        "u@1",
        "└─ s@1 *  (distill, student, above)",
    ]


def test_a_copy_says_what_it_is_over_there() -> None:
    copies = lineage((TEACHER, STUDENT, "distill"), asked=STUDENT)
    parents = [
        {"model_version": "models/teacher/versions/4", "here": TEACHER},
        {"model_version": "models/gone/versions/2"},
    ]
    peer = {"model_version": "models/mini/versions/3", "address": "other:50051"}
    copies.nodes[0].metadata.update({"origin": {"peer": {**peer, "parents": parents}}})
    copies.nodes[1].metadata.update({"origin": {"path": "/x"}})
    before = copies.SerializeToString(deterministic=True)
    assert lineages.tree(copies) == [
        "t@1  (teacher)",
        "└─ s@1 *  (distill, student, copy of mini@3, there from gone@2)",
    ]
    assert "copy of mini@3" in lineages.mermaid(copies)
    assert "copy of mini@3" in lineages.svg(copies)
    assert copies.SerializeToString(deterministic=True) == before


def test_a_version_alone() -> None:
    alone = lineage(asked=TEACHER)
    assert lineages.tree(alone) == ["t@1 *  (teacher)"]
    assert len(boxes(lineages.svg(alone))) == 1


def test_mermaid() -> None:
    assert lineages.mermaid(FAMILY).splitlines() == [
        "flowchart LR",
        '    v0["s@1<br/>student"]',
        '    v1["t@1<br/>teacher, deleted"]',
        '    v2["q@1<br/>student"]',
        '    v3["c@1<br/>classifier"]',
        "    v1 -->|distill| v0",
        "    v0 -->|quantize| v2",
        "    v0 -->|train| v3",
        "    v1 -->|train| v3",
        "    style v1 stroke-dasharray: 4 4",
        "    style v0 stroke-width: 3px",
    ]


def boxes(page: str) -> dict[str, float]:
    """How far right each version is."""
    found = {}
    for group in ElementTree.fromstring(page).iter("{http://www.w3.org/2000/svg}g"):
        title, rectangle = group[0], group[1]
        found[str(title.text)] = float(rectangle.attrib["x"])
    return found


def test_a_picture_goes_from_old_to_new() -> None:
    page = lineages.svg(FAMILY)
    places = boxes(page)
    assert places[TEACHER] < places[STUDENT] < places[SMALL] == places[HEAD]
    assert page.count("stroke-dasharray") == 1
    assert len(re.findall("<path d=.M[0-9]+ [0-9]+ C", page)) == 4


def test_what_is_said_cannot_break_out() -> None:
    hostile = models.GetLineageResponse()
    hostile.nodes.add(model_version='a"]<script>|#')
    hostile.edges.add(parent='a"]<script>|#', child="b", relation='"|<x>')
    page = lineages.svg(hostile)
    assert "<script>" not in page
    ElementTree.fromstring(page)
    diagram = lineages.mermaid(hostile)
    assert "<script>" not in diagram
    assert diagram.count('"') == 4  # those of two labels
    assert model_pb2.ModelKind.Value("MODEL_KIND_UNSPECIFIED") == hostile.nodes[0].kind


def test_circles_and_long_chains_end() -> None:
    circle = lineage((SMALL, HEAD, "x"), (HEAD, SMALL, "x"), asked=SMALL)
    assert len(lineages.tree(circle)) <= 4
    ElementTree.fromstring(lineages.svg(circle))
    names = [f"models/m/versions/{version}" for version in range(1, 501)]
    edges = [(old, new, "tune") for old, new in itertools.pairwise(names)]
    chain = lineage(*edges, asked=names[0])
    assert len(lineages.tree(chain)) == 500
    assert len(boxes(lineages.svg(chain))) == 500
