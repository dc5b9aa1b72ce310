"""The verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecore_cli import generating, many, plugins
from aecore_cli import options as o
from aecore_cli.show import note, print_json, print_table, working

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(plugins.app, name="plugins")


def _version(wanted: bool) -> None:
    if wanted:
        import aecore

        print(f"aecore {aecore.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def aecore(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
) -> None:
    """One text autoencoder, and one small plugin per paper that regularises its latent space.

    Results are printed on stdout, progress and notes on stderr. Exit codes: 0 done, 2 a mistake
    that you can mend, 130 and 143 stopped by Ctrl-C and by SIGTERM.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def train(
    plugin: o.Plugins = None,
    data: o.Data = None,
    assignments: o.Settings = None,
    config: o.Config = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    seed: o.TrainSeed = None,
    max_steps: o.MaxSteps = None,
    epochs: o.Epochs = None,
    device: o.TrainDevice = None,
    precision: o.Precision = None,
    registry: o.Registries = None,
) -> None:
    """Train the autoencoder with the named plugins.

    Prints the figures on the test split (nats per sentence), samples, reconstructions, and what to
    type next.
    """
    settings = o.settings_of(assignments)
    from aecore import api
    from aecore_cli.outcome import show_training

    limits = {
        "seed": seed,
        "epochs": epochs,
        "max_steps": max_steps,
        "device": device,
        "precision": precision,
    }
    places = {"config": config, "out": out, "overwrite": overwrite, "registries": registry or []}
    show_training(api.train, plugin or [], data, settings, **places, **limits)


@app.command()
def resume(
    run: o.RunPath,
    epochs: o.Epochs = None,
    max_steps: o.MaxSteps = None,
    device: o.TrainDevice = None,
    data: o.Where = None,
) -> None:
    """Go on with a stopped run, or extend a finished one.

    Prints what train prints. The weights become those of the uninterrupted run.
    """
    from aecore import api
    from aecore_cli.outcome import show_training

    show_training(api.resume, run, epochs=epochs, max_steps=max_steps, device=device, data=data)


@app.command()
def evaluate(
    run: o.RunPath,
    split: Annotated[str, typer.Option(metavar="NAME", help="train, valid or test.")] = "test",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N sentences.")
    ] = None,
    iw_samples: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=0,
            help="Samples of nll_iw, 500 unless the run says otherwise; 0 skips it.",
        ),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(metavar="RUN2", help="A run of lstm_lm, which says how fluent RUN's text is."),
    ] = None,
    data: o.Where = None,
    registry: o.Registries = None,
    save: Annotated[
        bool,
        typer.Option("--save", help="Keep the figures of single sentences in the run folder."),
    ] = False,
    text: Annotated[
        bool,
        typer.Option("--text", help="Measure samples and reconstructions as text: Dist, BLEU..."),
    ] = False,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Measure a run on a split of its corpus.

    Prints NLL bounds, reconstruction and KL (nats per sentence), perplexities, mutual information,
    active units, and how each was estimated. nll_iw decodes every sentence K times: about an hour a
    core for 3,000 sentences of 20 words. With a judge, the NLL and perplexity that it gives to
    samples from the prior, to the sentences of the split, and to their reconstructions.
    """
    from aecore import api
    from aecore_cli.outcome import print_figures
    from aecore_cli.progress import listening

    with working(), listening() as progress:
        figures = api.evaluate(
            run,
            judge,
            device,
            split,
            limit,
            iw_samples,
            progress.check,
            data,
            registry or [],
            progress.note,
            save,
            text,
        )
    if save:
        note(f"single sentences: {run / f'evaluation-{split}.safetensors'}")
    if as_json:
        print_json(figures)
    else:
        print_figures({"split": split, **figures})


@app.command()
def tradeoff(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", show_default=False, help="Runs that rewrite by labels."),
    ],
    split: Annotated[str, typer.Option(metavar="NAME", help="train, valid or test.")] = "test",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N sentences.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it too, as .svg.")] = None,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Set style against content, run by run.

    Prints for each run how many sentences get the target style, and how much of them is kept; in
    which settings the runs differ.
    """
    from aecore import api
    from aecore_cli.outcome import print_tradeoff
    from aecore_cli.progress import listening

    with working(), listening() as progress:
        rows = api.tradeoff(runs, split, limit, device, out, progress.note)
    if out is not None:
        note(f"{out}: style against s-BLEU")
    if as_json:
        print_json(rows)
    else:
        print_tradeoff(rows)


for verb in generating.VERBS:
    app.command()(verb)


@app.command()
def compose(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", show_default=False, help="Plugins, in the order of chains."
        ),
    ],
    assignments: o.Settings = None,
    registry: o.Registries = None,
    as_json: o.AsJson = False,
) -> None:
    """Say whether plugins can be trained together.

    Trains nothing. Prints which plugin answers each hook and what the composition provides, or why
    it is refused.
    """
    from aecore_cli import composing

    with working():
        found = composing.described(names, o.settings_of(assignments), registry or [])
    if as_json:
        print_json(found)
        return
    print_table(["hook", "kind", "answered by"], composing.hook_rows(found))
    print()
    print_table(["capability", "level", "given by"], composing.level_rows(found))
    print(f"\nbatches: {found['batching']}; weights selected by: {found['select_on']}")


for collective in many.VERBS:
    app.command()(collective)
