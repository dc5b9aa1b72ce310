"""JSON lines: text, labels and pairs; what is kept, what is reported, what is refused."""

import json

import pytest
import torch

from aecore.batch import Batch
from aecore.data import rows
from aecore.data.corpus import load_corpus
from aecore.errors import DataError


def write(folder, **splits):
    """Each split as lines: objects are written as JSON, text and bytes as they are."""
    for name, lines in splits.items():
        texts = [line if isinstance(line, str | bytes) else json.dumps(line) for line in lines]
        raw = [line.encode() if isinstance(line, str) else line for line in texts]
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(raw) + b"\n")
    return str(folder)


def text(sentence, **more):
    return {"text": sentence, **more}


def pair(source, target, **more):
    return {"source": source, "target": target, **more}


def notes(corpus):
    return [line for report in corpus.reports for line in report.lines()]


def test_sentences(tmp_path):
    train = [text("a b"), text(" a\tc "), text("a", other=3)]
    corpus = load_corpus(write(tmp_path, train=train, valid=[text("b")], test=[text("x")]))
    assert (corpus.kind, corpus.labels) == ("text", ())
    assert corpus.train.flat.tolist() == [4, 5, 4, 6, 4]
    assert corpus.train.labels is corpus.train.target is corpus.test.originals is None
    assert notes(corpus) == []
    batch = corpus.train.batch(torch.tensor([0]))
    assert batch.labels is batch.target is None


def test_text_and_json_lines_of_the_same_sentences_are_the_same_corpus(tmp_path):
    spec = write(tmp_path, train=[text("a b"), text("c")], valid=[text("b")], test=[text("x")])
    one = load_corpus(spec)
    (tmp_path / "train.jsonl").unlink()
    (tmp_path / "train.txt").write_text("a b\nc\n")
    assert load_corpus(spec).fingerprint == one.fingerprint


def test_labels_are_numbered_in_sorted_order_of_the_whole_training_split(tmp_path):
    train = [text("a", label="pos"), text("b", label="neg"), text("c", label="mid")]
    spec = write(
        tmp_path,
        train=train,
        valid=[text("a", label="neg")],
        test=[text("b", label="pos"), text("c", label="mid")],
    )
    corpus = load_corpus(spec)
    assert (corpus.kind, corpus.labels) == ("labelled", ("mid", "neg", "pos"))
    assert [split.labels.tolist() for split in (corpus.train, corpus.valid, corpus.test)] == [
        [2, 1, 0],
        [1],
        [2, 0],
    ]
    head = load_corpus(f"{spec}[:1]")
    assert (head.labels, head.train.labels.tolist(), len(head.valid)) == (
        ("mid", "neg", "pos"),
        [2],
        1,
    )
    batch = corpus.train.batch(torch.tensor([2, 0]))
    assert batch.labels.tolist() == [0, 2]
    assert batch.labels.dtype == torch.int64
    assert corpus.train.head(2).labels.tolist() == [2, 1]


def test_whole_numbers_are_labels_by_value_and_mixtures_by_their_text(tmp_path):
    train = [text("a", label=10), text("b", label=9), text("c", label=-1)]
    spec = write(tmp_path, train=train, valid=[text("a", label=9)], test=[text("b", label="10")])
    assert load_corpus(spec).labels == ("-1", "9", "10")
    write(tmp_path, train=[*train, text("d", label="9"), text("e", label="x")])
    mixed = load_corpus(spec)
    assert mixed.labels == ("-1", "10", "9", "x")
    assert mixed.train.labels.tolist() == [1, 2, 0, 2, 3]


def test_a_label_that_training_has_not_is_a_bad_line(tmp_path):
    row = text("a", label="x")
    corpus = load_corpus(
        write(
            tmp_path, train=[row], valid=[row, text("b", label="y"), text("c", label=1)], test=[row]
        )
    )
    assert notes(corpus) == [
        "valid.jsonl: 2 unseen-label (not in the training split) lines dropped (lines 2, 3)"
    ]
    assert len(corpus.valid) == 1


def test_too_many_labels_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MOST_LABELS", 3)
    train = [text("a", label=number) for number in range(4)]
    with pytest.raises(DataError, match="more than 3 different labels"):
        load_corpus(write(tmp_path, train=train, valid=train, test=train))


def test_pairs(tmp_path):
    train = [
        pair("a b", "c"),
        {"source": "d", "references": ["e f", "g"]},
        pair("a", "b", references=["c", "b"]),
    ]
    valid = [
        {"source": "a", "references": ["b", "x y z"]},
        pair("q", "Ä ☃", references=["Ä ☃", "u"]),
    ]
    corpus = load_corpus(write(tmp_path, train=train, valid=valid, test=[pair("a", "b")]))
    assert corpus.kind == "pairs"
    words = [
        corpus.vocabulary.decode(row) for row in corpus.train.target.batch(torch.arange(3)).tokens
    ]
    assert words == ["c", "e f", "b"]  # the first reference is the target
    # a to f: sources and targets of train, no other reference
    assert len(corpus.vocabulary) == 4 + 6
    assert corpus.train.originals is None
    assert [corpus.valid.originals[number] for number in range(2)] == [
        ("a", ("b", "x y z")),
        ("q", ("Ä ☃", "u")),
    ]
    with pytest.raises(IndexError, match="sentence 2 of a split of 2"):
        corpus.valid.originals[2]
    assert len(corpus.valid.head(1).originals) == len(corpus.valid.head(1).target) == 1
    batch = corpus.train.batch(torch.tensor([1, 0]))
    assert (len(batch), len(batch.target)) == (2, 2)
    assert [corpus.vocabulary.decode(row) for row in batch.tokens] == ["d", "a b"]
    assert [corpus.vocabulary.decode(row) for row in batch.target.tokens] == ["e f", "c"]
    assert batch.target.index.tolist() == batch.index.tolist() == [1, 0]


def test_labelled_sentences_keep_their_references_for_evaluation(tmp_path):
    row = text("it is bad", label=0, references=["it is good"])
    corpus = load_corpus(write(tmp_path, train=[row], valid=[text("it", label=0)], test=[row]))
    assert corpus.test.originals[0] == ("it is bad", ("it is good",))
    assert corpus.valid.originals[0] == ("it", ())
    assert len(corpus.vocabulary) == 7


BAD = [
    ("{'text': 'a'}", "non-JSON"),
    ('{"text": "a"', "non-JSON"),
    ("[" * 100_000, "non-JSON"),
    ('{"text": "a", "label": ' + "1" * 5000 + "}", "non-JSON"),
    (b'{"text": "\xff", "label": 1}', "non-UTF-8"),
    ('{"text": "\\ud800", "label": 1}', "non-UTF-8"),
    ('["a"]', "non-object (an object {...} was due)"),
    ('"a"', "non-object (an object {...} was due)"),
    ("", "empty"),
    (text(" ", label=1), "empty"),
    (text("a", label=" "), "empty"),
    (text("a b c d e", label=1), "over-long (more than 4 words)"),
    ({"label": 1}, "incomplete (no 'text')"),
    (text(None, label=1), "incomplete (no 'text')"),
    (text("a"), "incomplete (no 'label')"),
    (text(3, label=1), "ill-typed ('text' is no text)"),
    (text("a", label=1.5), "ill-typed ('label' is neither text nor a whole number)"),
    (text("a", label=True), "ill-typed ('label' is neither text nor a whole number)"),
    (text("a", label=1, references="b"), "ill-typed ('references' is no list)"),
    (text("a", label=1, references=[2]), "ill-typed ('references' is no text)"),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=range(len(BAD)))
def test_bad_labelled_lines(tmp_path, line, reason):
    good = text("a b", label=1)
    corpus = load_corpus(
        write(tmp_path, train=[good, line, good], valid=[good], test=[good]), max_length=4
    )
    assert notes(corpus) == [f"train.jsonl: 1 {reason} line dropped (line 2)"]
    assert (corpus.reports[0].kept, len(corpus.train)) == (2, 2)


BAD_PAIRS = [
    ({"source": "a"}, "incomplete (no 'target' and no 'references')"),
    ({"source": "a", "references": []}, "incomplete (no 'target' and no 'references')"),
    ({"target": "a"}, "incomplete (no 'source')"),
    (pair("a", ""), "empty"),
    (pair("a", "b", references=["b", " "]), "empty"),
    (pair("a", ["b"]), "ill-typed ('target' is no text)"),
    (pair("a", "b b b b b"), "over-long (more than 4 words)"),
    (pair("a a a a a", "b"), "over-long (more than 4 words)"),
    (text("a"), "incomplete (no 'target' and no 'references')"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_PAIRS, ids=range(len(BAD_PAIRS)))
def test_bad_pairs(tmp_path, line, reason):
    good = pair("a", "b", references=["r r r r r r"])  # only sources and targets have a limit
    corpus = load_corpus(
        write(tmp_path, train=[good], valid=[good, line], test=[good]), max_length=4
    )
    assert notes(corpus) == [f"valid.jsonl: 1 {reason} line dropped (line 2)"]


def test_the_first_good_line_decides_not_the_first(tmp_path):
    train = ["{", {"source": "a"}, {"other": 1}, text("a", label=1), pair("a", "b"), text("b")]
    corpus = load_corpus(
        write(tmp_path, train=train, valid=[text("a", label=1)], test=[text("a", label=1)])
    )
    assert corpus.kind == "labelled"
    assert notes(corpus) == [
        "train.jsonl: 1 non-JSON line dropped (line 1)",
        "train.jsonl: 1 incomplete (no 'target' and no 'references') line dropped (line 2)",
        "train.jsonl: 1 incomplete (no 'text' and no 'source') line dropped (line 3)",
        "train.jsonl: 1 incomplete (no 'text') line dropped (line 5)",
        "train.jsonl: 1 incomplete (no 'label') line dropped (line 6)",
    ]


@pytest.mark.parametrize(
    ("valid", "what"),
    [(text("a"), "sentences without labels"), (pair("a", "b"), "pairs"), (text("a", label=1), "")],
)
def test_the_splits_must_agree(tmp_path, valid, what):
    good = text("a", label=1)
    spec = write(tmp_path, train=[good], valid=[valid], test=[good])
    if not what:
        assert load_corpus(spec).kind == "labelled"
        return
    with pytest.raises(DataError) as caught:
        load_corpus(spec)
    assert str(caught.value) == (
        f"'valid.jsonl' holds {what}, 'train.jsonl' labelled sentences.\n"
        "  due: the same keys in all three files; the first good line of a file decides"
    )


def test_a_file_without_a_good_line(tmp_path):
    with pytest.raises(DataError) as caught:
        load_corpus(write(tmp_path, train=["a plain sentence"], valid=[], test=[]))
    assert str(caught.value) == (
        f"'{tmp_path}/train.jsonl' holds no sentence.\n"
        "  train.jsonl: 1 non-JSON line dropped (line 1)\n"
        '  due: one {"text"}, {"text", "label"} or {"source", "target"} a line, of 1 to 200 words, '
        "in UTF-8"
    )


def test_the_fingerprint_tells_labels_and_targets_apart(tmp_path):
    def fingerprint(row, *others):
        return load_corpus(
            write(tmp_path, train=[row, *others], valid=[row], test=[row])
        ).fingerprint

    labels = [fingerprint(text("a", label=label), text("b", label="n")) for label in "mno"]
    targets = [fingerprint(pair("a b", target)) for target in "ab"]
    assert len({*labels, *targets}) == 5


def test_the_toys():
    labelled, pairs, plain = (
        load_corpus(spec) for spec in ("toy:labelled[:20]", "toy:pairs", "toy[:20]")
    )
    assert (labelled.kind, labelled.labels) == ("labelled", ("negative", "positive"))
    assert torch.equal(labelled.train.flat, plain.train.flat)
    assert set(labelled.train.labels.tolist()) == {0, 1}
    assert pairs.kind == "pairs"
    target = pairs.valid.target.batch(torch.tensor([0])).tokens[0]
    assert pairs.valid.originals[0].references == (pairs.vocabulary.decode(target),)
    assert 3 not in pairs.test.target.flat


def test_labels_and_targets_go_where_their_batch_goes():
    target = Batch(
        torch.tensor([[1, 7, 2, 0], [1, 8, 9, 2], [1, 2, 0, 0]]),
        torch.tensor([2, 3, 1]),
        torch.arange(3),
    )
    tokens = torch.tensor([[1, 4, 2], [1, 5, 2], [1, 6, 2]])
    batch = Batch(tokens, torch.tensor([2, 2, 2]), torch.arange(3), torch.tensor([5, 6, 7]), target)
    row = batch.rows(slice(0, 1))
    assert row.labels.tolist() == [5]
    assert row.target.tokens.tolist() == [[1, 7, 2]]  # padded to the longest of its own
    turned = batch.rows(torch.tensor([2, 1]))
    assert turned.labels.tolist() == [7, 6]
    assert turned.target.tokens.tolist() == [[1, 2, 0, 0], [1, 8, 9, 2]]
    moved = batch.to("meta")
    assert moved.labels.is_meta
    assert moved.target.tokens.is_meta
