"""Options of several commands accept both spellings, and name what they replace."""

from __future__ import annotations

from pipeline.commands.options import flag, option


def test_an_option_accepts_dashes_and_underscores() -> None:
    made = option("num-epochs", "train.num_epochs")
    names = [made.default, *made.param_decls]
    assert {"--num-epochs", "--num_epochs"} <= set(names)
    assert made.help == "Instead of train.num_epochs."
    assert option("lr", help="Rate.").help == "Rate."


def test_a_flag_has_no_opposite() -> None:
    made = flag("dry", "Run nothing.")
    assert "--dry" in [made.default, *made.param_decls] and made.help == "Run nothing."
