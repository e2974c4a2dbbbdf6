"""The commands of `trio-push`, a module each; imported by `trio_push.cli` when one runs."""
