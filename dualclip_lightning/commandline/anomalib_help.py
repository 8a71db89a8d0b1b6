"""Help for anomalib's commands with our models; anomalib's own help takes ten seconds and lists other models."""

from __future__ import annotations

from dualclip_lightning.registry import DATAMODULES

MODELS = {
    "DualImageCLIP": "two unlabelled test images are each other's reference; --model.tta true adapts to each image",
    "ClipZeroShot": "plain CLIP",
    "WindowCLIP": "WinCLIP, windows of patches; with --model.k_shot K normal images it is WinCLIP+",
    "AnoCLIP": "V-V attention, 22 views, an adapter for each image",
    "ClipAD": "CLIP-AD's SDP; --model.variant sdp+ must be trained on other, labelled data",
    "MuSc": "all test images score each other; --model.num_references 1 for pairs",
}
MODEL_OPTIONS = {
    "--model NAME": "one of the models above, or another of anomalib's; required",
    "--model.class_name WORDS": "what the images show; default: the category of the data, else 'object'",
    "--model.backbone NAME": "architecture of open_clip; default: ViT-B-16-plus-240",
    "--model.pretrained TAG": "weights tag, file or folder, or demo (offline); default: laion400m_e32 (ClipAD: e31)",
    "--model.seed N": "of everything that the method leaves to chance; default: 0",
    "--model.visualizer false": "no pictures, which saves their time; default: true",
    "--model.NAME VALUE": "any other argument of the model; default: configs/model/ lists all of them",
}
DATA = {
    "test": f"{', '.join(sorted(DATAMODULES))}, MVTecAD, Visa, Folder or another datamodule of anomalib; required",
    "predict": "a file or folder of images, or a datamodule of anomalib; required",
}
COMMON_OPTIONS = {
    "--trainer.NAME VALUE": "of Lightning's Trainer, as --trainer.accelerator cpu; default: Lightning's",
    "--default_root_dir FOLDER": "for results; default: results",
    "--config FILE": "YAML with any of these; default: none",
    "--print_config": "write such a YAML to standard output, and run nothing",
}


def help_of(command: str, summary: str) -> str:
    """Return the text of `dualclip COMMAND --help`."""
    data = {
        "--data NAME": DATA.get(command, DATA["test"]),
        "--data.NAME VALUE": "an argument of the datamodule, as --data.category bottle; default: anomalib's",
    }
    extra = {"--ckpt_path FILE": "layers of ClipAD's sdp+ that were trained; default: none"}
    if command == "export":
        extra = {"--export_type TYPE": "torch, onnx (extra `export`) or openvino; required"}
    parts = {"models of this package": MODELS, "options": {**MODEL_OPTIONS, **data, **extra, **COMMON_OPTIONS}}
    tables = "\n\n".join(f"{title}:\n{_table(rows)}" for title, rows in parts.items())
    shots = "path/to/images" if command == "predict" else "MVTec --data.category bottle"
    return f"""usage: dualclip {command} --model NAME --data NAME [options]

{summary} anomalib's command, with the models of this package.

{tables}

example:
  dualclip {command} --model DualImageCLIP --data {shots}

`dualclip {command} --model.help DualImageCLIP` shows every argument of a model, `anomalib {command} --help` more."""


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows)) + 2
    return "\n".join(f"  {name:<{width}}{text}" for name, text in rows.items())
