"""The command line: `photomend COMMAND`. One file a command; nothing heavy is imported before a command runs."""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType

import click

from dataset_tools.errors import PhotomendError, from_import_error, output_error

COMMANDS = ("demo", "preview", "build", "pair", "verify", "train", "compare", "evaluate", "restore", "serve", "export")
KEEP_NOTHING = ("preview", "verify", "compare", "evaluate")
INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Commands(click.Group):
    """Finds a command in the module of the same name when it is asked for, and lists them in the order of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pipelines.cli.{cmd_name}").command
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="photomend", message="photomend %(version)s")
def photomend() -> None:
    """Turn a photo archive into a paired dataset, train a Pix2Pix model on it, restore photos with that model.

    Start with: photomend demo
    """


def main() -> None:
    """The console script. Whatever a person can cause ends in one line on stderr and an exit code, never a traceback."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code: 0, 1, 2, 3, 130 or 143 (see docs/architecture.md)."""
    stopped_by = [signal.SIGINT]

    def terminate(signum: int, frame: FrameType | None) -> None:
        stopped_by[0] = signal.SIGTERM
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        result = photomend.main(arguments, prog_name="photomend", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PhotomendError as error:
        return _fail(error)
    except (KeyboardInterrupt, click.Abort):
        kept = "; what was finished is kept, and the same command goes on from there"
        click.echo(f"photomend: stopped{'' if arguments[0] in KEEP_NOTHING else kept}", err=True)
        return INTERRUPTED[stopped_by[0]]
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except MemoryError:
        return _fail(PhotomendError("not enough memory: use fewer --workers, a smaller --batch or --size"))
    except ImportError as error:
        told = from_import_error(error)
        if told is None:
            raise
        return _fail(told)
    except OSError as error:
        told_os = from_import_error(error)  # ctypes says so when a shared library is missing
        return _fail(told_os or output_error(error, error.filename or "a file"))


def _fail(error: PhotomendError) -> int:
    click.echo(f"photomend: {error}", err=True)
    return error.exit_code
