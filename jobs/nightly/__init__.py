"""The parts of `hrnn nightly`: the plan, the order among nights, the steps, and what is said at the end."""
