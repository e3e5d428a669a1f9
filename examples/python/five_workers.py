"""Five processes append to one shared list.

The broker is their manager: `[python.names] get_my_list = "list:my_list"` in its configuration.

    GANGER_PYTHON=127.0.0.1:7118 GANGER_AUTHKEY=… python five_workers.py
"""
import multiprocessing
import os
from multiprocessing.managers import BaseManager


class Manager(BaseManager):
    pass


Manager.register('get_my_list')


def connected():
    host, port = os.environ['GANGER_PYTHON'].rsplit(':', 1)
    manager = Manager(address=(host, int(port)), authkey=os.environ['GANGER_AUTHKEY'].encode())
    manager.connect()
    return manager


def work(number):
    shared = connected().get_my_list()
    print(f'worker {number}: {len(shared)} results before mine', flush=True)
    shared.append(f'result of worker {number}')


if __name__ == '__main__':
    workers = [multiprocessing.Process(target=work, args=(number,)) for number in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result in sorted(connected().get_my_list()):
        print(result)
