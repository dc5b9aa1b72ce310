"""Reports: what metrics.jsonl says, drawn."""
