"""Is the candidate better than the champion, and how sure are we?

metrics → judges → winrate → gate → report: each is a pure step on values, and none loads a model.
"""
