"""The root helper: applies what needs root, with a journal, and undoes it when its compositor is gone."""
