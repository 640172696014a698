"""Looks whether this machine can train: torch, accelerate and the devices, asked in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

from kladml_core.runs.event_text import size_text
from kladml_core.runs.gpus import gpus
from kladml_core.workspace.doctor import Check, Finding

SECONDS = 120.0
"""How long importing torch may take, on a slow disk for the first time."""
_ASK = """
import json, torch, accelerate
found = {"torch": torch.__version__, "accelerate": accelerate.__version__, "devices": []}
if torch.cuda.is_available():
    found["devices"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    found["kind"] = "cuda"
elif getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
    found.update(devices=["mps"], kind="mps")
found["built_for"] = torch.version.cuda
print(json.dumps(found))
"""


def examine_machine() -> list[Check]:
    """What trains here. Takes some seconds."""
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", _ASK], capture_output=True, timeout=SECONDS, check=False, text=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return [Check("training", "wrong", f"torch cannot be asked: {error}")]
    try:
        found = json.loads(answer.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        why = answer.stderr.strip().splitlines()[-1:] or [f"exit code {answer.returncode}"]
        return [Check("training", "wrong", f"torch or accelerate cannot be imported: {why[0]}", "Install it anew")]
    versions = Check("training", "ok", f"torch {found['torch']}, accelerate {found['accelerate']}")
    devices = tuple(
        Finding(f"GPU {one.index}", f"{one.name}, {size_text(one.free)} of {size_text(one.total)} free")
        for one in gpus()
    )
    if found["devices"]:
        return [versions, Check("devices", "ok", ", ".join(found["devices"]), findings=devices)]
    if devices:
        what = "is built without CUDA" if found["built_for"] is None else f"is built for CUDA {found['built_for']}"
        text = f"{len(devices)} of NVIDIA, but torch {found['torch']} cannot use them: it {what}"
        return [versions, Check("devices", "wrong", text, "Install a torch that fits the driver", devices)]
    return [versions, Check("devices", "ok", "the CPU; no GPU is seen")]
