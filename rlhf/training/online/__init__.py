"""The parts of PPO's loop: who answers, what an answer is worth, when to stop."""
