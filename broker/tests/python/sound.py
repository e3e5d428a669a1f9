"""A program that is served as ever."""
from connected import manager

m = manager()
shared = m.list([1])
shared.append(2)
assert shared[:] == [1, 2]
