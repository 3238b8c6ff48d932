"""The check before a study is paid for: what p' and p'' alone say of it, and one sentence."""
