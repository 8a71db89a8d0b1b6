"""Drawn scenes and defects: the same for the same seed, with masks of the places where an image was changed."""

from __future__ import annotations

import numpy as np
import pytest

from dualclip_lightning.demo.data.assets import MATERIALS, photographs
from dualclip_lightning.demo.training.held_out import DEMO_MATERIALS, validation_materials
from dualclip_lightning.demo.training.seen import load_textures
from dualclip_lightning.demo.training.synthetic import groups
from dualclip_lightning.demo.training.synthetic.camera import random_camera, take
from dualclip_lightning.demo.training.synthetic.faults import FAULTS, add_fault
from dualclip_lightning.demo.training.synthetic.groups import Kinds, all_faults, all_scenes, make_group
from dualclip_lightning.demo.training.synthetic.scenes import LOGICAL, SCENES

SIZE = 96
PLAIN = {"texture", "brushed", "turned", "stripes", "plain"}
"""Kinds of scenes that do not consist of pieces."""


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """Folder of photographs of three materials of the package, under names that training may use."""
    folder = tmp_path_factory.mktemp("textures")
    for material in ("cork", "granite", "terrazzo"):
        for path in photographs(material):
            (folder / f"like {material}").mkdir(exist_ok=True)
            (folder / f"like {material}" / path.name).write_bytes(path.read_bytes())
    return load_textures(folder, SIZE, DEMO_MATERIALS)


@pytest.mark.parametrize("kind", SCENES)
def test_a_group_depends_only_on_its_generator(textures, kind):
    kinds = Kinds((kind,), all_faults(frozenset()))
    first, again, other = (make_group(textures, kinds, np.random.default_rng(seed), SIZE) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.masks, again.masks)
    assert (first.images != other.images).any()
    assert first.images.shape == (4, SIZE, SIZE, 3)
    assert first.images.dtype == np.uint8
    assert first.names
    assert not first.masks[:2].any()
    assert first.masks[2:].any((1, 2)).all()


@pytest.mark.parametrize(("share", "fault"), [(0.0, "stain"), (1.0, "logical")])
def test_a_group_records_what_it_shows(textures, monkeypatch, share, fault):
    monkeypatch.setattr(groups, "LOGICAL_SHARE", share)
    assert make_group(textures, Kinds(("cells",), ("stain",)), np.random.default_rng(0), SIZE).kinds == {"cells", fault}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_changes_nothing_outside_its_mask(textures, kind):
    image, other = textures["like cork"][0], textures["like granite"][0]
    rng = np.random.default_rng(0)
    for _ in range(3):
        drawn = add_fault(image, kind, rng, other)
        np.testing.assert_array_equal(drawn.image[~drawn.mask], image[~drawn.mask])
        assert (drawn.image != image)[drawn.mask].any()


def test_an_invisible_fault_is_reported():
    plain = np.full((SIZE, SIZE, 3), 128, np.uint8)
    with pytest.raises(ValueError, match="A moved cannot be seen on this image"):
        add_fault(plain, "moved", np.random.default_rng(0), plain)


@pytest.mark.parametrize("kind", sorted(set(SCENES) - PLAIN))
@pytest.mark.parametrize("fault", LOGICAL)
def test_scenes_of_pieces_have_logical_faults(textures, kind, fault):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scene = SCENES[kind](textures, rng, SIZE)
        if scene.faults:
            try:
                _, mask = scene.faulty(fault, rng)
            except ValueError:
                continue
            assert 0 < mask.mean() < 1
            return
    pytest.fail(f"no {kind} has the fault {fault}")


def test_the_camera_transforms_image_and_mask_in_the_same_way():
    rng = np.random.default_rng(0)
    camera = random_camera(rng, turn=90, shift=0.1)._replace(
        blur=0.0, noise=0.0, quality=100, light=0.0, gamma=1.0, grey=False
    )
    mask = np.zeros((SIZE, SIZE), bool)
    mask[20:50, 30:60] = True
    image = np.where(mask[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    taken, moved = take(camera, image, mask, rng)
    assert (moved != mask).any()
    assert ((taken[..., 0] > 110) == moved).mean() > 0.99


@pytest.mark.slow
def test_held_out_scenes_and_faults_are_never_drawn(textures):
    kinds = Kinds(all_scenes(frozenset({"cable", "label"})), all_faults(frozenset({"dent", "scratch"})))
    groups = [make_group(textures, kinds, np.random.default_rng(seed), 32, views=2) for seed in range(40)]
    drawn = frozenset.union(*(group.kinds for group in groups))
    assert not drawn & {"cable", "label", "dent", "scratch"}
    assert len(drawn & {*SCENES}) > 8
    assert len(drawn & {*FAULTS}) > 15


def test_the_demos_materials_are_not_loaded(tmp_path):
    for name in ("Cork", "granite", "brick"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(photographs("cork")[0].read_bytes())
    assert set(load_textures(tmp_path, 32, DEMO_MATERIALS)) == {"brick"}
    assert set(MATERIALS) == DEMO_MATERIALS


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no folders of photographs\. Set --textures"):
        load_textures(tmp_path, 32, DEMO_MATERIALS)


def test_every_eighth_material_is_for_validation():
    names = [f"m{number:02}" for number in range(20)]
    assert validation_materials([*names, "cork"]) == {"m00", "m08", "m16"}
