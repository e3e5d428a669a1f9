"""A process is killed while it waits for an item; the item that comes then goes to another one."""
import os
import signal
import time

from connected import manager


def main():
    tasks = manager('get_tasks').get_tasks()
    child = os.fork()
    if child == 0:
        manager('get_tasks').get_tasks().get()
        os._exit(0)
    # It waits: nothing else makes it take longer than this to ask.
    time.sleep(1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    tasks.put('item')
    print(tasks.get(timeout=20))


main()
