"""The server of the peer python-manager: Python's own manager with two queues, a list, a dict and a counter.

Beside the calls that every queue has there are two for batches, which a user would add first. A
counter is what a user has to add, since a Value that is read and then set loses what others add.
"""

import sys
from multiprocessing.managers import BaseManager, DictProxy, ListProxy
from queue import Queue
from threading import Lock


class BatchQueue(Queue):
    def put_many(self, items):
        with self.not_empty:
            self.queue.extend(items)
            self.not_empty.notify(len(items))

    def get_many(self, most):
        with self.not_empty:
            while not self.queue:
                self.not_empty.wait()
            return [self.queue.popleft() for _ in range(min(most, len(self.queue)))]


class Counter:
    def __init__(self):
        self.lock, self.number = Lock(), 0

    def add(self, by):
        with self.lock:
            self.number += by
            return self.number

    def get(self):
        return self.number


class Manager(BaseManager):
    pass


for name in ("jobs", "results"):
    Manager.register(name, callable=lambda queue=BatchQueue(): queue)
for name, shared, proxy in ("list", [], ListProxy), ("dict", {}, DictProxy), ("counter", Counter(), None):
    Manager.register(name, callable=lambda shared=shared: shared, proxytype=proxy)

port, authkey = int(sys.argv[1]), sys.argv[2].encode()
Manager(address=("127.0.0.1", port), authkey=authkey).get_server().serve_forever()
