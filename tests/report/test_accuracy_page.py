"""The study on paper: what stands in the tables, and plots that can be read."""

from xml.etree import ElementTree

from latentfp.report.accuracy import write_accuracy


def cell(group: str, value: str, **changes):
    return {
        "group": group,
        "value": value,
        "images": 20,
        "bit_accuracy": 0.975,
        "all_bits": 11,
        "interval": [0.315, 0.769],
        "psnr": None,
        "frechet": None,
        "starts": 4,
        "steps": 300,
        "seconds_per_image": 2.3456,
        **changes,
    }


def study(*cells, **changes):
    return {
        "name": "accuracy",
        "title": "Accuracy",
        "hardware": "2 cores",
        "code": ["0.2.0+1"],
        "seconds": 61.0,
        "cells": list(cells),
        **changes,
    }


def table(text: str, title: str) -> list[list[str]]:
    lines = text.split(f"## {title}\n\n")[1].split("\n\n")[0].splitlines()
    return [[word.strip() for word in line.strip("|").split(" | ")] for line in lines]


def test_tables(tmp_path):
    cells = [
        cell("sigma", "10", psnr=20.04, frechet=12.345),
        cell("attack", "jpeg | *50*"),
        cell("sigma", "0.5", psnr=None, frechet=1.0),
    ]
    path = write_accuracy(tmp_path / "a" / "b", study(*cells))
    assert path == tmp_path / "a" / "b" / "accuracy.md"
    text = path.read_text(encoding="utf-8")
    head, _, first, second = table(text, "Strength")
    assert head == [
        "strength σ",
        "images",
        "all bits right",
        "95 % interval",
        "bit accuracy",
        "PSNR (dB)",
        "Fréchet",
        "starts × steps",
        "s/image",
    ]
    assert first == ["0.5", "20", "11 (55%)", "31.5 … 76.9%", "97.50%", "–", "1", "4 × 300", "2.35"]
    assert second[:1] + second[5:7] == ["10", "20.0", "12.3"]
    assert "PSNR (dB)" not in table(text, "Attack")[0]  # nothing was measured there
    assert "| jpeg \\| \\*50\\* |" in text
    assert "3 cells in 61 s." in text


def test_one_plot_a_group_of_several(tmp_path):
    cells = [cell("shift", str(i)) for i in (0, 224)] + [cell("paper", "full")]
    text = write_accuracy(tmp_path, study(*cells)).read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["accuracy.md", "accuracy_shift.svg"]
    assert text.count("![") == 1
    assert ElementTree.parse(tmp_path / "accuracy_shift.svg").getroot().tag.endswith("svg")


def test_plots_are_a_function_of_the_numbers(tmp_path):
    cells = [cell("attack", name, psnr=psnr) for name, psnr in (("blur", 30.0), ("jpeg", None))]
    first = write_accuracy(tmp_path / "1", study(*cells)).with_name("accuracy_attack.svg").read_bytes()
    again = write_accuracy(tmp_path / "2", study(*cells)).with_name("accuracy_attack.svg").read_bytes()
    assert first == again
    other = study(cell("attack", "blur", psnr=31.0), cells[1])
    assert write_accuracy(tmp_path / "3", other).with_name("accuracy_attack.svg").read_bytes() != first
