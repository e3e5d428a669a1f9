"""Ctrl-C ends a wait, and the next call of the same thread gets its own answer."""
import os
import signal
import threading

from connected import manager

tasks = manager('get_tasks').get_tasks()
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    tasks.get(timeout=30)
    raise SystemExit('nothing has broken the wait off')
except KeyboardInterrupt:
    pass
assert tasks.qsize() == 0
tasks.put('mine')
assert tasks.qsize() == 1
assert tasks.get() == 'mine'
assert tasks.empty() is True
