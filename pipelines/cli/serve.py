"""photomend serve"""

from __future__ import annotations

import webbrowser
from contextlib import suppress

import click


@click.command("serve", short_help="Restore photos in the browser, on a page of this machine.")
@click.option("--model", "models", multiple=True, metavar="MODEL", help="To choose from; by default mosaic, colorize.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="By default any that is free.")
@click.option("--open/--no-open", "opens", default=True, help="Open the page in the browser; it is opened by default.")
def command(models: tuple[str, ...], port: int, opens: bool) -> None:
    """Serve a page that restores photos: drop one, look, drag the slider, save.

    The models run in the browser; no photo leaves it, and the page asks nobody but this machine, which answers nobody else.

    photomend serve --model runs/mend
    """
    from pipelines.engines import shipped
    from pipelines.serve import Server
    from pipelines.site import site_of

    with Server(site_of(models or shipped()), port) as server, suppress(KeyboardInterrupt):
        click.echo(f"{server.url} (Ctrl-C ends it)")
        if opens:
            webbrowser.open(server.url)
        server.serve_forever()
