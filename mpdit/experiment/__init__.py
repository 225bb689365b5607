from .grid import Experiment

__all__ = ["Experiment"]
