"""Reads the votes for those who judge them."""

from feedback_store.reading.streams import Streams
from feedback_store.trust.ballots import Ballots
from feedback_store.trust.draft import SAMPLE, Draft


class BallotBox(Streams):
    """A store's ballots by themselves; a snapshot makes them of the rows that it reads anyway."""

    def ballots(
        self, project: str, upto: int, *, up: float = 4.0, down: float = 2.0, sample: int = SAMPLE
    ) -> Ballots:
        """Real votes on consented answers as of a watermark; ratings from `up` on count as up.

        At most about `sample` of the texts are kept.
        """
        draft = Draft(upto, up=up, down=down)
        answers: dict[str, int] = {}
        for answer in self.answer_rows(project, upto):
            answers[answer.id] = answer.seq
            draft.answer(answer)
        for word in self.feedback_rows(answers, upto):
            draft.word(word, self.metrics.to_scale(word))
        for choice in self.comparison_rows(project, answers, upto):
            draft.choice(choice)
        return draft.finished(self, sample)
