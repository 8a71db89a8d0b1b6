"""The file of a bundle: nothing is lost, and damaged or foreign files are refused in one sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from dualclip_lightning.predict.bundle import file
from dualclip_lightning.predict.bundle.file import KEY, Bundle, read_bundle, write_bundle

quick = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(st.text(), PLAIN, max_size=4)
FEATURES = st.dictionaries(
    st.text("abc.019", min_size=1, max_size=9),
    arrays(np.float32, array_shapes(max_dims=3, max_side=4), elements=st.floats(-1, 1, width=32)),
    max_size=3,
)
BUNDLES = st.builds(
    Bundle, MAPPINGS, MAPPINGS, st.lists(st.text(st.characters())).map(tuple), FEATURES,
    MAPPINGS | st.just("auto") | st.none(), st.dictionaries(st.text(), st.text(), max_size=3), st.text(),
)  # fmt: skip
SMALL = Bundle(
    {"class_name": "plate"}, {"seed": 0}, ("a.png",), {"0.places": np.arange(6, dtype=np.float32).reshape(3, 2)},
    None, {"torch": "1"}, "/there",
)  # fmt: skip


@pytest.mark.slow
@settings(quick, max_examples=50)
@given(BUNDLES)
def test_what_is_read_equals_what_was_written(tmp_path, bundle):
    write_bundle(tmp_path / "b", bundle, overwrite=True)
    found = read_bundle(tmp_path / "b")
    assert found.facts == bundle.facts
    assert found.digest == bundle.digest
    assert found.arrays.keys() == bundle.arrays.keys()
    for name, array in bundle.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


@pytest.fixture
def written(tmp_path):
    write_bundle(tmp_path / "plate.dualclip", SMALL)
    return tmp_path / "plate.dualclip"


def refused(path) -> str:
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_bundle(path)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_a_file_cut_anywhere_is_refused(written):
    content = written.read_bytes()
    for length in range(len(content)):
        written.write_bytes(content[:length])
        refused(written)


def test_a_file_with_any_bit_flipped_is_refused(written):
    content = written.read_bytes()
    accepted = []
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        written.write_bytes(changed)
        try:
            read_bundle(written)
        except ValueError:
            continue
        accepted.append(position)
    assert not accepted


def test_any_changed_fact_is_noticed(written):
    with safe_open(written, framework="np") as opened:
        header = json.loads(opened.metadata()[KEY])
    for name in SMALL.facts:
        save_file(dict(SMALL.arrays), written, metadata={KEY: json.dumps(header | {name: "other"})})
        assert "is damaged" in refused(written)


def test_other_files_are_refused(tmp_path):
    image, archive, weights, text = (tmp_path / name for name in ("a.png", "b.zip", "c.safetensors", "d.json"))
    Image.new("RGB", (9, 9)).save(image)
    archive.write_bytes(b"PK\x03\x04" + bytes(99))
    save_file({"weight": np.zeros(3)}, weights)
    text.write_text("{}")
    for path in (image, archive, text, tmp_path):
        assert "it is something else" in refused(path)
    assert "is not a bundle" in refused(weights)


def test_a_missing_file_is_named_with_the_way_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no bundle .*gone.* 'dualclip calibrate'"):
        read_bundle(tmp_path / "gone")


def test_another_version_is_refused_with_both_numbers(written, monkeypatch):
    monkeypatch.setattr(file, "VERSION", 2)
    assert "has format 1, but this release reads format 2" in refused(written)


def test_an_existing_file_is_kept_unless_overwriting_is_asked_for(written):
    other = replace(SMALL, threshold="auto")
    with pytest.raises(FileExistsError, match=r"overwrite=True \(--overwrite\)"):
        write_bundle(written, other)
    assert read_bundle(written).facts == SMALL.facts
    write_bundle(written, other, overwrite=True)
    assert read_bundle(written).facts == other.facts
    with pytest.raises(FileExistsError, match="is a folder"):
        write_bundle(written.parent, other, overwrite=True)


def test_equal_bundles_give_equal_files(written):
    again = written.with_name("again")
    write_bundle(again, SMALL)
    assert again.read_bytes() == written.read_bytes()
