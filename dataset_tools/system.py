"""The machine beneath: its system libraries (python -m dataset_tools.system says what is missing), and native chatter."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator

from dataset_tools.errors import PhotomendError, from_import_error

NEEDS = ("cv2", "dataset_tools.faces")


def missing() -> str | None:
    """The line that says what is missing and how to install it, or None."""
    for name in NEEDS:
        try:
            module = importlib.import_module(name)
            if name == "dataset_tools.faces":
                module.import_mediapipe()
        except PhotomendError as error:
            return str(error)
        except (ImportError, OSError) as error:
            return str(from_import_error(error) or error)
    return None


def forbid_telemetry() -> None:
    """Turns the telemetry of ONNX Runtime and of OpenVINO off for this process; called before either is first imported.

    From 1.29 on ONNX Runtime's packages report to events.data.microsoft.com and keep a device identifier unless this is set
    before they start; its own disable_telemetry_events() comes too late for that. The two names are those of different releases.
    OpenVINO, which Keras imports where it is installed, reports each import, unless the package that does it cannot be found.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """While it runs, what native code writes to file descriptor 2 goes nowhere: a command's stderr is for its user.

    Exceptions are not touched. MediaPipe and TensorFlow print notices as they load that no setting of theirs turns off.
    """
    try:
        kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # there is no stderr to keep quiet
        yield
        return
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


if __name__ == "__main__":
    told = missing()
    if told:
        sys.exit(f"photomend: {told}")
