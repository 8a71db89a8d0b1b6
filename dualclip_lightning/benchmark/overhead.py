"""Former name of `python -m dualclip_lightning.measuring.overhead`, which it runs."""

from runpy import run_module

if __name__ == "__main__":
    run_module("dualclip_lightning.measuring.overhead", run_name="__main__")
