"""Puts an item that no socket holds as a whole, or gets it."""
import sys

from connected import manager

tasks = manager('get_tasks').get_tasks()
if sys.argv[1] == 'put':
    tasks.put(bytes(12 << 20))
else:
    assert tasks.get(timeout=20) == bytes(12 << 20)
    tasks.task_done()
    tasks.join()
    assert tasks.qsize() == 0
