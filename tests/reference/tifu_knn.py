"""TIFU-kNN as its paper writes it, basket by basket: the yardstick of hrnn/evaluation/baselines/frequency_neighbours.py.

Source: Hu, He, Gao, Zhang 2020, "Modeling Personalized Item Frequency Information for Next-basket Recommendation", section 4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


def user_vector(baskets: list[list[int]], num_items: int, groups: int, within: float, between: float) -> Vector:
    """Baskets are split into groups of about the same size, the newest ones the larger; both decay."""
    number = min(groups, len(baskets))
    sizes = [len(baskets) // number + (group >= number - len(baskets) % number) for group in range(number)]
    vector, begin = np.zeros(num_items), 0
    for group, size in enumerate(sizes):
        of_group = np.zeros(num_items)
        for place, basket in enumerate(baskets[begin : begin + size]):
            for item in set(basket):
                of_group[item] += within ** (size - 1 - place)
        vector += between ** (number - 1 - group) * of_group / size
        begin += size
    return vector / number


def scores(own: Vector, others: list[Vector], neighbours: int, alpha: float) -> Vector:
    """The own vector and the mean of the nearest others."""
    nearest = sorted(range(len(others)), key=lambda user: (round(float(((own - others[user]) ** 2).sum()), 12), user))
    mean = np.mean([others[user] for user in nearest[:neighbours]], axis=0)
    return np.asarray(alpha * own + (1 - alpha) * mean)
