"""Puts numbers into a queue, waits until all are done, and counts what the workers made of them."""
import os

from connected import manager

m = manager('get_tasks', 'get_my_list')
tasks, squares = m.get_tasks(), m.get_my_list()
for number in range(200):
    tasks.put(number)
tasks.join()
assert sorted(squares) == [number * number for number in range(200)]
print(len(squares), 'squares')
for _ in range(int(os.environ['WORKERS'])):
    tasks.put(None)
