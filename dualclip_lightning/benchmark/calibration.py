"""Former name of `python -m dualclip_lightning.measuring.calibration`, which it runs."""

from runpy import run_module

if __name__ == "__main__":
    run_module("dualclip_lightning.measuring.calibration", run_name="__main__")
