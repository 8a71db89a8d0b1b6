"""Seeds derived from the seed of the user and the names of what they are for."""

from __future__ import annotations

import hashlib

import pytest

from dualclip_lightning.utilities.seeding import derive_seed, file_identity


def test_the_seed_is_the_first_63_bits_of_a_hash_that_any_machine_can_compute():
    digest = hashlib.sha256(b"7|str:5:masks|int:2:12|bytes:2:\xff\x00").hexdigest()
    assert derive_seed(7, "masks", 12, b"\xff\x00") == int(digest[:16], 16) // 2


def test_every_part_and_the_boundaries_between_parts_count():
    calls = [
        (0,),
        (1,),
        (0, "a"),
        (0, b"a"),
        (0, "1"),
        (0, 1),
        (0, "a", "b"),
        (0, "ab"),
        (0, "b", "a"),
        (0, "a|str:1:b"),
    ]
    assert len({derive_seed(*call) for call in calls}) == len(calls)


def test_seeds_are_valid_for_all_generators_and_spread_over_the_range():
    seeds = [derive_seed(0, i) for i in range(2000)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert sum(seeds) / len(seeds) / 2**63 == pytest.approx(0.5, abs=0.03)


def test_a_file_name_that_is_not_unicode_has_its_own_seed():
    broken = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert derive_seed(0, broken) != derive_seed(0, "caf\u00e9.png")


def test_a_file_is_the_same_from_every_working_directory(tmp_path, monkeypatch):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "0.png").touch()
    found = [file_identity(str(tmp_path / "good" / "0.png"))]
    for folder, name in ((tmp_path, "good/0.png"), (tmp_path / "good", "0.png"), (tmp_path / "good", "../good/0.png")):
        monkeypatch.chdir(folder)
        found.append(file_identity(name))
    assert set(found) == {"good/0.png"}
    assert file_identity("image 3") == "image 3"  # an image in memory
