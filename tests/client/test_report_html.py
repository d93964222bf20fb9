from __future__ import annotations

import base64
from html.parser import HTMLParser

import pytest

from stillroom.report_html import render
from stillroom.v1 import common_pb2
from stillroom.v1 import fidelity_pb2 as pb

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HOSTILE = "\"><script>alert('x')</script><img src=x onerror=alert(1)>{name}"


class Page(HTMLParser):
    """The elements, attributes and texts that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data)


def message() -> pb.FidelityReport:
    return pb.FidelityReport(
        vocabulary_size=29_525,
        dimensions=256,
        student_bytes=15_000_000,
        teacher_bytes=90_000_000,
        texts=2000,
        text_source=pb.FIDELITY_TEXTS_HELD_OUT,
        cosine_basis=pb.COSINE_BASIS_ALIGNED,
        mean_cosine=0.81234,
        similarity_spearman=0.7,
        recall_at_10=0.5,
        recall_neighbors=10,
        element_type=common_pb2.ELEMENT_TYPE_INT8,
        prefixes=[pb.PrefixQuality(dimensions=64, similarity_spearman=0.61)],
        quantizations=[
            pb.QuantizationLoss(
                element_type=common_pb2.ELEMENT_TYPE_FLOAT16, mean_cosine=0.99999, bytes=15_000_000
            )
        ],
        scores=[pb.TaskScore(name=HOSTILE, metric="accuracy", student=0.9, teacher=0.95, count=77)],
        onnx_parity=pb.OnnxParity(min_cosine=1.0, texts=5, runs=200),
    )


def test_the_page_holds_the_figures_for_people() -> None:
    page = Page(render(message(), name="models/s/versions/3", figure_svg=SVG))
    assert page.texts[0] == "models/s/versions/3: fidelity report"
    for text in (
        "Compared with its teacher on 2,000 texts held out of the corpus. Cosines are taken after a"
        " linear map to the teacher's space.",
        "0.8123",
        "16.7%",
        "float16",
        "int8",
        "0.99999",
        "94.7%",
        "29,525",
        "onnx parity: runs",
        "held out",
    ):
        assert text in page.texts


def test_a_hostile_server_gets_no_element_and_no_address_into_the_page() -> None:
    hostile = {
        "texts": HOSTILE,
        "text_source": HOSTILE,
        "recipe": HOSTILE,
        HOSTILE: HOSTILE,
        "corpus": {HOSTILE: HOSTILE},
        "prefixes": [{"dimensions": HOSTILE, "similarity_spearman": HOSTILE}, HOSTILE],
        "quantizations": [{"element_type": HOSTILE, "bytes": HOSTILE, "mean_cosine": "nan"}],
        "scores": [{"name": HOSTILE, "metric": HOSTILE, "student": 1, "teacher": 0}],
    }
    for report in (hostile, message()):
        page = Page(render(report, name=HOSTILE, figure_svg=SVG + HOSTILE))
        assert not {"script", "svg", "link", "iframe", "object", "form", "a"} & set(page.tags)
        assert page.tags.count("img") == 1
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        (source,) = [value for _, name, value in page.attributes if name in {"src", "href"}]
        assert source is not None
        kind, _, data = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert base64.b64decode(data).decode() == SVG + HOSTILE
        policies = [value for _, name, value in page.attributes if name == "content"]
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in policies


@pytest.mark.parametrize("report", [{}, pb.FidelityReport()])
def test_a_report_without_figures_says_so(report: object) -> None:
    page = Page(render(report, name="s"))  # type: ignore[arg-type]
    assert "This student was not compared with its teacher." in page.texts
    assert not {"table", "img", "ul"} & set(page.tags)


def test_a_mapping_gives_the_page_of_its_message() -> None:
    found = message()
    found.ClearField("scores")
    values = {
        "texts": 2000,
        "text_source": "held_out",
        "cosine_basis": "aligned",
        "mean_cosine": 0.81234,
        "measured_speed": {"student_texts_per_second": 12.5},
        "distribution": {"cosines": {"counts": [1]}},
    }
    page = render(values, name="s")
    assert "0.8123" in page
    assert "12.5" in page
    assert "distribution" not in page
    assert page.splitlines()[:10] == render(found, name="s").splitlines()[:10]
