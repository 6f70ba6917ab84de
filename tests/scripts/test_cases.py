"""The check of docs/cases.md, with a small project that is made for the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import cases

LINE = "| C01 | Mail is kept. | `tests/test_mail.py::test_kept` |"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a source file that cites a case, the test of this case, and the line in docs/cases.md."""
    for folder in ("docs", "services", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "services" / "mail.py").write_text("# Never lost (C01).\n")
    (tmp_path / "tests" / "test_mail.py").write_text("def test_kept() -> None: ...\n")
    (tmp_path / "docs" / "cases.md").write_text(f"# Cases\n\n{LINE}\n")
    return tmp_path


def _append(project: Path, line: str) -> None:
    with (project / "docs" / "cases.md").open("a") as document:
        document.write(line + "\n")


def test_a_project_in_order_has_no_fault(project: Path) -> None:
    assert cases.faults(project) == []


@pytest.mark.parametrize(
    ("file", "text", "case"),
    [
        ("services/mail.py", "# See C77.\n", "C77"),
        ("tests/test_mail.py", "def test_kept(): ...\ndef test_c09_f12_lines(): ...\n", "F12"),
        ("docs/page.md", "As P21 says.\n", "P21"),
        ("README.md", "(F67)\n", "F67"),
    ],
)
def test_a_citation_without_a_line_is_a_fault(project: Path, file: str, text: str, case: str) -> None:
    (project / file).write_text(text)
    assert [fault for fault in cases.faults(project) if fault.startswith(f"{case} has no line")]


@pytest.mark.parametrize("text", ["=C3=A9", "%C33", "# noqa: F401", "P99", "0xC12", "C123456"])
def test_other_text_is_not_a_citation(text: str) -> None:
    assert cases.cited(text) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("| C02 | A test that is not there. | `tests/test_mail.py::test_gone` |", "does not exist"),
        ("| C02 | A file that is not there. | `tests/test_gone.py::test_kept` |", "does not exist"),
        ("| C02 | No test at all. | none |", "names no test"),
        (LINE, "more than one line"),
        (LINE.replace("C01", "C00"), "not in order"),
    ],
)
def test_a_line_that_names_no_test_or_is_not_in_order_is_a_fault(project: Path, line: str, fault: str) -> None:
    _append(project, line)
    assert any(fault in sentence for sentence in cases.faults(project))


def test_a_case_in_a_yaml_file_counts_as_a_test(project: Path) -> None:
    (project / "tests" / "rules.yaml").write_text("groups:\n  - name: g\n    cases:\n      - name: a sender\n")
    _append(project, "| C02 | A rule. | `tests/rules.yaml::a sender` |")
    assert cases.faults(project) == []
    _append(project, "| C03 | A rule. | `tests/rules.yaml::a recipient` |")
    assert len(cases.faults(project)) == 1


def test_fix_sorts_and_follows_a_test_that_moved(project: Path) -> None:
    (project / "tests" / "mail").mkdir()
    (project / "tests" / "test_mail.py").rename(project / "tests" / "mail" / "test_mail.py")
    _append(project, LINE.replace("C01", "C00"))
    _append(project, LINE.replace("test_mail.py", "mail/test_mail.py"))
    cases.fix(project)
    assert cases.faults(project) == []
    assert (project / "docs" / "cases.md").read_text().count("`tests/mail/test_mail.py::test_kept`") == 2
