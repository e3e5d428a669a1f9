"""Ctrl-C ends a wait, and the next call of the same thread gets its own answer."""
import signal
import threading

from connected import manager

tasks = manager('get_tasks').get_tasks()
is_over = threading.Event()
waiting = threading.main_thread().ident


def interrupt():
    # Again and again: a signal that comes right before the wait does not end it.
    while not is_over.wait(0.3):
        signal.pthread_kill(waiting, signal.SIGINT)


# Whoever has started this may have it ignore the signal, as shells do with what runs behind them.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt, daemon=True).start()
try:
    tasks.get(timeout=30)
    raise SystemExit('nothing has broken the wait off')
except KeyboardInterrupt:
    is_over.set()
assert tasks.qsize() == 0
tasks.put('mine')
assert tasks.qsize() == 1
assert tasks.get() == 'mine'
assert tasks.empty() is True
