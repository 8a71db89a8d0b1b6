from __future__ import annotations

from io import BytesIO
from urllib.error import URLError

import pytest
from anomalib.data import MVTecAD, Visa

from dualclip_lightning.data import Demo, MVTec, missing
from dualclip_lightning.data.missing import check_available, told_where_to_get

PAGES = {MVTec: "https://www.mvtec.com/", MVTecAD: "https://www.mvtec.com/", Visa: "https://github.com/amazon-science"}


def fail(*_, **__):
    raise URLError("no network")


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """Addresses that were asked, on a server that answers."""
    addresses = []

    def answer(address, timeout):
        addresses.append(address)
        return BytesIO()

    monkeypatch.setattr(missing, "urlopen", answer)
    return addresses


@pytest.mark.parametrize(("kind", "wrong", "right"), [(MVTecAD, "botle", "bottle"), (Visa, "candel", "candle")])
def test_an_unknown_category_is_reported_before_anything_is_prepared(kind, wrong, right, tmp_path):
    with (
        pytest.raises(ValueError, match=f"has no category '{wrong}'. Did you mean '{right}'"),
        told_where_to_get(kind(root=tmp_path, category=wrong)),
    ):
        pytest.fail("it went on")


@pytest.mark.parametrize(("kind", "category"), [(MVTec, "bottle"), (MVTecAD, "bottle"), (Visa, "candle")])
def test_data_that_cannot_be_downloaded_are_reported_with_page_folder_and_option(kind, category, tmp_path, monkeypatch):
    monkeypatch.setattr("anomalib.data.utils.download.urlretrieve", fail)
    data = kind(root=tmp_path / "sets", category=category)
    with pytest.raises(FileNotFoundError) as told, told_where_to_get(data):
        data.prepare_data()
    said = str(told.value)
    assert "no network" in said
    assert PAGES[kind] in said
    assert f"'{tmp_path / 'sets' / category}'" in said
    assert "--data.root" in said


def test_mvtec_reports_it_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("anomalib.data.utils.download.urlretrieve", fail)
    with pytest.raises(FileNotFoundError, match=r"MVTec AD is not in .*sets.* cannot be downloaded"):
        MVTec(root=tmp_path / "sets").prepare_data()


@pytest.mark.parametrize("other", [None, "a/folder", Demo])
def test_errors_of_other_data_are_raised_unchanged(other, tmp_path):
    with pytest.raises(URLError), told_where_to_get(other(root=tmp_path) if other is Demo else other):
        fail()
    with pytest.raises(PermissionError), told_where_to_get(MVTecAD(root=tmp_path)):
        raise PermissionError


@pytest.mark.parametrize(("kind", "category"), [(MVTec, "bottle"), (MVTecAD, "bottle"), (Visa, "candle")])
def test_without_a_network_nothing_is_begun(kind, category, tmp_path, monkeypatch):
    monkeypatch.setattr(missing, "urlopen", fail)
    with pytest.raises(FileNotFoundError, match=r"is not in .*sets.* cannot be downloaded \(no network\)"):
        check_available(kind(root=tmp_path / "sets", category=category))
    assert not (tmp_path / "sets").exists()


@pytest.mark.parametrize(
    ("kind", "category", "present"),
    [
        (MVTecAD, "bottle", "bottle/"), (MVTecAD, "bottle", "mvtec_anomaly_detection.tar.xz"),
        (Visa, "candle", "candle/"), (Visa, "candle", "visa_pytorch/candle/"),
        (Visa, "candle", "VisA_20220922.tar"),
    ],
)  # fmt: skip
def test_no_server_is_asked_for_data_or_an_archive_that_are_there(kind, category, present, tmp_path, asked):
    data = kind(root=tmp_path, category=category)
    check_available(data)
    (address,) = asked
    assert address.startswith("https://")
    place = tmp_path / present
    if present.endswith("/"):
        place.mkdir(parents=True)
    else:
        place.touch()
    check_available(data)
    assert len(asked) == 1
