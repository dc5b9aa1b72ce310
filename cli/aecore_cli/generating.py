"""The verbs that encode and decode sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecore_cli import options as o
from aecore_cli import sentences as s
from aecore_cli.show import note, working


def sample(
    run: o.RunPath,
    n: o.Count = 10,
    temperature: o.Temperature = None,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    beam: o.Beam = 1,
    max_length: o.MaxLength = None,
    unknown: o.Unknown = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Decode latents drawn from the prior.

    Prints a sentence a line; with --json a list of strings.
    """
    choice = o.choice_of(temperature, top_k, top_p, beam, max_length, unknown)
    from aecore import api

    with working():
        sentences = api.load(run, device).sample(n, temperature, seed, **choice)
    s.print_sentences(sentences, as_json)


def reconstruct(
    run: o.RunPath,
    file: o.SentenceFile = None,
    n: o.TestSentences = 5,
    temperature: o.Temperature = None,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    beam: o.Beam = 1,
    max_length: o.MaxLength = None,
    unknown: o.Unknown = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Encode sentences and decode their codes.

    Prints each sentence above its reconstruction; into a pipe, both on one line, a tab between;
    with --json a list of objects.
    """
    choice = o.choice_of(temperature, top_k, top_p, beam, max_length, unknown)
    from aecore import api

    with working():
        found = api.load(run, device)
        sentences = s.sentences_for(found, file, n)
        pairs = list(
            zip(sentences, found.reconstruct(sentences, temperature, seed, **choice), strict=True)
        )
    s.print_reconstructions(pairs, as_json)


def interpolate(
    run: o.RunPath,
    start: Annotated[
        str, typer.Argument(metavar="SENTENCE", show_default=False, help="Where the way begins.")
    ],
    end: Annotated[
        str, typer.Argument(metavar="SENTENCE", show_default=False, help="Where it ends.")
    ],
    steps: Annotated[
        int, typer.Option(metavar="N", min=2, help="Points on the way, both ends included.")
    ] = 7,
    temperature: o.Temperature = None,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    beam: o.Beam = 1,
    max_length: o.MaxLength = None,
    unknown: o.Unknown = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Decode points between the codes of two sentences.

    Prints a sentence a line, from the reconstruction of the first to that of the second; with
    --json a list of strings.
    """
    choice = o.choice_of(temperature, top_k, top_p, beam, max_length, unknown)
    from aecore import api

    with working():
        found = api.load(run, device)
        s.note_unknown(found, [start, end])
        sentences = found.interpolate(start, end, steps, temperature, seed, **choice)
    s.print_sentences(sentences, as_json)


def transfer(
    run: o.RunPath,
    file: o.SentenceFile = None,
    n: o.TestSentences = 5,
    before: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Sentences as they are, one a line."),
    ] = None,
    after: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Sentences as they are to become."),
    ] = None,
    strength: Annotated[
        float, typer.Option(metavar="K", help="How far to go; 1 is the way between the two.")
    ] = 1.0,
    temperature: o.Temperature = None,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    beam: o.Beam = 1,
    max_length: o.MaxLength = None,
    unknown: o.Unknown = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Rewrite sentences by moving their codes.

    How is what the plugins of the run make of it. Prints each sentence above what it became; into
    a pipe, both on one line, a tab between; with --json a list of objects.
    """
    choice = o.choice_of(temperature, top_k, top_p, beam, max_length, unknown)
    from aecore import api

    with working():
        found = api.load(run, device)
        was, due = (s.examples_in(found, path) for path in (before, after))
        sentences = s.sentences_for(found, file, n)
        request = found.asked(was, due, strength)
        became = found.transferred(sentences, request, temperature, seed, **choice)
    s.print_transfers(sentences, became, as_json)


def encode(
    run: o.RunPath,
    file: o.SentenceFile = None,
    n: o.TestSentences = 5,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write .npy, .safetensors or .tsv instead of printing."),
    ] = None,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Turn sentences into codes, the centres of their posteriors.

    Prints a code a line, its numbers with tabs between, for decode to read; with --json a list of
    lists.
    """
    from aecore import api
    from aecore.generation.codes import check_suffix, write_codes

    if out is not None:
        check_suffix(out)
    with working():
        found = api.load(run, device)
        codes = found.encode(s.sentences_for(found, file, n, rows=True))
    if out is None:
        s.print_codes(codes, as_json)
    else:
        write_codes(out, codes)
        note(f"{out}: {len(codes):,} codes of {codes.shape[1]} numbers")


def decode(
    run: o.RunPath,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            show_default=False,
            help="Codes: .npy, .safetensors, or lines; - is standard input.",
        ),
    ] = None,
    temperature: o.Temperature = None,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    beam: o.Beam = 1,
    max_length: o.MaxLength = None,
    unknown: o.Unknown = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Turn codes into sentences.

    Prints a sentence a line; with --json a list of strings.
    """
    choice = o.choice_of(temperature, top_k, top_p, beam, max_length, unknown)
    from aecore import api

    with working():
        codes = s.codes_from(file)
        sentences = api.load(run, device).decode(codes, temperature, seed, **choice)
    s.print_sentences(sentences, as_json)


#: In the order in which the help lists them.
VERBS = (sample, reconstruct, interpolate, transfer, encode, decode)
