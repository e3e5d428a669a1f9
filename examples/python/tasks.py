"""Tasks in the way of Celery, in plain Python: `@task` functions are called elsewhere, by name.

The broker's configuration: `[python.names] tasks = "Queue:tasks"`, `results = "dict:results"`.

    python tasks.py worker &
    python tasks.py
"""
import os
import sys
import time
import uuid
from multiprocessing.managers import BaseManager

for name in ('tasks', 'results'):
    BaseManager.register(name)
host, port = os.environ['GANGER_PYTHON'].rsplit(':', 1)
manager = BaseManager((host, int(port)), os.environ['GANGER_AUTHKEY'].encode())
manager.connect()
queue, results = manager.tasks(), manager.results()
registered = {}


def task(function):
    registered[function.__name__] = function
    function.delay = lambda *args: send(function.__name__, args)
    return function


def send(name, args):
    number = uuid.uuid4().hex
    queue.put({'id': number, 'name': name, 'args': list(args)})
    return number


def wait(number, pause=0.01):
    while number not in results:
        time.sleep(pause)
    return results.pop(number)


def work():
    while (job := queue.get()) is not None:
        results[job['id']] = registered[job['name']](*job['args'])
        queue.task_done()


@task
def add(a, b):
    return a + b


if __name__ == '__main__':
    if sys.argv[1:] == ['worker']:
        work()
    else:
        sent = [add.delay(number, number) for number in range(5)]
        print([wait(number) for number in sent])
        queue.put(None)
