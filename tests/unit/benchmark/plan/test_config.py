from __future__ import annotations

import json

import pytest

from dualclip_lightning.adaptation import AdaptationSettings
from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.config import ConfigError, load_config, parse_config
from dualclip_lightning.benchmark.plan.methods import method_names
from dualclip_lightning.demo.data.assets import MATERIALS, REAL
from dualclip_lightning.registry import MODELS
from tests.tiny_benchmark import CONFIGS, shipped_config, tiny_content

CONTENT = tiny_content("data", "demo")
TABLE = {"ClipZeroShot", "WindowCLIP", "AnoCLIP", "ClipAD", "MuSc", "DualImageCLIP"}


def refusal(content):
    with pytest.raises(ConfigError) as refused:
        parse_config(content)
    return str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sedes": [0]}, "Unknown key 'sedes'. Did you mean 'seeds'"),
        ({"methods": {"a": {"model": "DualImgCLIP"}}}, "methods.a: Unknown method 'DualImgCLIP'. Did you mean 'Dual"),
        ({"methods": {"a": {"model": "WindwCLIP"}}}, "Did you mean 'WindowCLIP'"),
        ({"methods": {"a": {"model": "Pdim"}}}, "methods.a: Unknown method 'Pdim'. Did you mean 'Padim'"),
        ({"methods": {"a": {"model": "qqqq"}}}, "A class of your own is named by its dotted path"),
        ({"methods": {"a": {"model": "no_such_module.A"}}}, "There is no module 'no_such_module' in '"),
        ({"methods": {"a": {"model": "anomalib.models.Pdim"}}}, "no class 'Pdim'. Did you mean anomalib.models.Padim"),
        ({"methods": {"a": {"model": "anomalib.engine.Engine"}}}, "subclass of anomalib's AnomalibModule, but it is"),
        ({"methods": {"a": {"model": "padim", "arguments": {"pre_traind": 1}}}}, "of Padim 'pre_traind'. Did you mean"),
        ({"methods": {"a": {"model": "Padim", "trainer": {"max_epoch": 1}}}}, "Trainer 'max_epoch'. Did you mean 'max"),
        ({"methods": {"a": {"model": "Padim", "trainer": {"devices": 2}}}}, "a.trainer: the run itself sets 'devices'"),
        ({"methods": {"a": {"model": "Padim", "k_shot": 0}}}, "Expected `methods.a.k_shot` from 1, but got 0"),
        ({"methods": {"a": {"model": "Padim", "kind": "full"}}}, "methods.a.kind: Unknown kind 'full'. Expected"),
        ({"arguments": {"pretraned": "demo"}, "methods": {"a": {"model": "Padim"}}}, "Did you mean 'pretrained'"),
        ({"methods": {"a": {"modell": "MuSc"}}}, "Unknown key of methods.a 'modell'. Did you mean 'model'"),
        ({"methods": {"a": {}}}, "Expected `methods.a.model` to name a method"),
        ({"methods": {}}, "Expected `methods` to hold at least one label"),
        ({"methods": {"a": {"model": "MuSc", "arguments": {"lowst": 1}}}}, "of MuSc 'lowst'. Did you mean 'lowest'"),
        ({"methods": {"a": {"model": "MuSc", "arguments": {"seed": 1}}}}, "seeds stand under `seeds`"),
        ({"methods": {"a": {"model": "MuSc", "arguments": {"evaluator": True}}}}, "the run itself sets 'evaluator'"),
        ({"arguments": {"alpha": 0.5}, "methods": {"a": {"model": "MuSc"}}}, "methods.a: Unknown argument of MuSc 'al"),
        ({"datasets": {"MVTecAd": {}}}, "datasets.MVTecAd: Unknown data set 'MVTecAd'. Did you mean 'MVTecAD'"),
        ({"datasets": {"x": {"data": "Vias"}}}, "datasets.x: Unknown data set 'Vias'. Did you mean 'Visa'"),
        ({"datasets": {"Visa": {"arguments": {"rot": "."}}}}, "Unknown argument of Visa 'rot'. Did you mean 'root'"),
        ({"datasets": {"Visa": {"arguments": {"category": "pcb1"}}}}, "the run itself sets 'category' of Visa"),
        ({"datasets": {"MVTecAD": {"categories": ["botle"]}}}, "category of MVTecAD 'botle'. Did you mean 'bottle'"),
        ({"datasets": {"BTech": {"categories": [1]}}}, "Unknown category of BTech '1'. Did you mean '01'"),
        ({"datasets": {"MVTecAD": {"categories": "bottle"}}}, "Expected categories to be \"all\" or a list"),
        ({"datasets": {"Kolektor": {"categories": ["a"]}}}, "Kolektor has no categories"),
        ({"datasets": {"Folder": {}}}, "datasets.Folder: Folder needs name and normal_dir. Set them under"),
        ({"device": "gpu"}, "Unknown device 'gpu'"),
        ({"precision": "16"}, "Unknown precision '16'. Expected one of 16-mixed, 32-true"),
        ({"seeds": [0, 0]}, "Expected `seeds` to list different seeds, but got [0, 0]"),
        ({"batch_size": 0}, "Expected batch_size above 0"),
        ({"batch_size": "many"}, "many"),
        ({"datasets": {"BTech": {"class_name": {"1": "product"}}}}, "tested category of BTech '1'. Did you mean '01'"),
        ({"datasets": {"BTech": {"class_name": "--"}}}, "datasets.BTech.class_name: Expected a class name with at lea"),
        ({"datasets": {"BTech": {"class_name": {"01": None}}}}, "datasets.BTech.class_name: "),
        ({"datasets": {"BTech": {"class_name": ["product"]}}}, "datasets.BTech.class_name: "),
    ],
)  # fmt: skip
def test_invalid_names_are_refused_with_the_nearest_valid_one(changes, sentence):
    assert sentence in refusal(CONTENT | changes)


@pytest.mark.parametrize(
    ("special", "sentence"),
    [
        (["MVTecAD"], "Expected `methods.a.per_dataset` to hold settings by data set, but got ['MVTecAD']"),
        ({"MVTecAD": None}, "Expected settings under `methods.a.per_dataset.MVTecAD`, but got None"),
        ({"MVTecAD": {"argument": {}}}, "key of methods.a.per_dataset.MVTecAD 'argument'. Did you mean 'arguments'"),
        ({"MVTec": {}}, "a.per_dataset: Unknown data set of this configuration 'MVTec'. Did you mean 'MVTecAD'"),
        ({"MVTecAD": {"arguments": {"lowst": 1}}}, "a.per_dataset.MVTecAD: Unknown argument of MuSc 'lowst'. Did"),
        ({"MVTecAD": {"masks": "fulll"}}, "methods.a.per_dataset.MVTecAD.masks 'fulll'. Did you mean 'full'"),
        ({"MVTecAD": {"categories": {"metal_nutt": {}}}}, "category of MVTecAD 'metal_nutt'. Did you mean 'metal_nut'"),
        ({"MVTecAD": {"categories": {"metal_nut": {"seed": 1}}}}, "categories.metal_nut: seeds stand under `seeds`"),
    ],
)  # fmt: skip
def test_what_differs_by_data_set_is_checked_like_everything_else(special, sentence):
    assert sentence in refusal(CONTENT | {"methods": {"a": {"model": "MuSc", "per_dataset": special}}})


def test_all_problems_are_reported_at_once():
    said = refusal(CONTENT | {"device": "tpu", "datasets": {"Vsia": {}, "MVTecAD": {"categories": ["wod"]}}})
    assert all(name in said for name in ("'tpu'", "'Vsia'", "'wood'"))


def test_for_a_configuration_of_anomalibs_benchmark_its_command_is_named():
    assert "anomalib benchmark --config" in refusal({"accelerator": ["cpu"], "benchmark": {"model": {}}})


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_overrides_replace_what_the_file_says_and_the_name_is_that_of_the_file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("methods: {a: {model: MuSc, arguments: {lowest: 0.3}}}\ndatasets: {MVTecAD: {}}\n")
    config = load_config(path, ["datasets={Demo: {}}", "seeds=[3,4]", "methods.a.arguments.lowest=0.5"])
    assert config.name == "small"
    assert list(config.datasets) == ["Demo"]
    assert config.seeds == [3, 4]
    assert config.methods["a"].arguments == {"lowest": 0.5}
    with pytest.raises(ConfigError, match="Expected an override"):
        load_config(path, ["seeds"])


def test_every_registered_method_and_data_set_can_be_named():
    assert set(MODELS) <= set(method_names())
    known = set(catalogue.data_names())
    assert {"Demo", "MVTec", "MVTecAD", "Visa", "BTech", "Folder", "Kolektor"} <= known
    assert "AnomalibDataModule" not in known
    assert all(catalogue.categories(name) for name in known)
    assert catalogue.categories("MVTec") == catalogue.categories("MVTecAD")
    assert len(catalogue.categories("Visa")) == 12


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_shipped_configurations_are_valid(name):
    assert shipped_config(name).name == name


@pytest.mark.parametrize("name", ["demo", "mvtec", "visa", "paper"])
def test_the_papers_table_has_every_method(name):
    assert {method.model for method in shipped_config(name).methods.values()} >= TABLE


def test_the_papers_ablations_vary_what_they_say():
    steps = shipped_config("ablation_steps").methods.values()
    assert [method.arguments["tta"]["steps"] for method in steps] == list(range(7))
    parts = shipped_config("ablation_components").methods.values()
    found = {(method.arguments.get("alpha", 0.5) < 1, method.arguments.get("tta", False)) for method in parts}
    assert found == {(reference, tta) for reference in (False, True) for tta in (False, True)}
    of_one_seed = ("demo", "reference_", "mvtec_musc")  # MuSc uses no random numbers
    repeated = [path.stem for path in CONFIGS.glob("*.yaml") if not path.stem.startswith(of_one_seed)]
    assert all(len(shipped_config(name).seeds) == 5 for name in repeated)


@pytest.mark.parametrize("name", ["demo", "demo_ablations", "reference_ablation", "reference_stem"])
def test_configurations_of_the_demo_keep_drawn_and_real_defects_apart(name):
    found = {label: data.categories for label, data in shipped_config(name).datasets.items()}
    assert found == {"Demo, drawn defects": list(MATERIALS), "Demo, real defects": list(REAL)}


def test_the_ablations_of_the_demo_are_the_papers():
    config = shipped_config("demo_ablations")
    given = {label: method.arguments for label, method in config.methods.items()}
    papers = [shipped_config(f"ablation_{name}").methods for name in ("components", "steps", "references")]
    asked = {json.dumps(method.arguments) for methods in papers for method in methods.values()}
    here = {json.dumps(arguments) for arguments in given.values()}
    defaults = {json.dumps({}), json.dumps({"tta": True})}
    assert asked - defaults <= here
    assert AdaptationSettings().steps == 2  # T = 2 is the default, and so is K = 1


@pytest.mark.parametrize(
    ("content", "overrides", "sentence"),
    [
        ("methods: {a: [", [], "valid YAML"),
        ("[1, 2]", [], "keys and values"),
        ("{}", ["datasets={Demo: "], "Expected the override 'datasets={Demo: '"),
        ("{}", ["name=${nope}"], "nope"),
    ],
)
def test_invalid_yaml_is_refused_in_one_sentence(content, overrides, sentence, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as refused:
        load_config(path, overrides)
    assert sentence in str(refused.value)
