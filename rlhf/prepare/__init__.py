"""From what people have to what the stages train on.

    read → clean → anonymise → label → twins out → split → augment → train.jsonl, held_out.jsonl

`making.py` makes a row in a worker, `ledger.py` holds what must be known of all rows at once,
`pipeline.py` is the whole way, `folder.py` what comes out of it.
"""
