"""What did compression do to this model, to whom, and how sure are we? Two subjects, asked all
batteries that fit.

`checks` are the questions, each with its margin and the reason for it; `run` asks both models,
measures the noise floor and comes to verdicts (`statistics.verdicts`); `report` writes them down
for a reader, a model card and a program.
"""
