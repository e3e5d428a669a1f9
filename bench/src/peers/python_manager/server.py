"""The server of the peer python-manager: Python's own manager with two queues.

Beside the calls that every queue has there are two for batches, which a user would add first.
"""

import sys
from multiprocessing.managers import BaseManager
from queue import Queue


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


class Manager(BaseManager):
    pass


for name in ("jobs", "results"):
    Manager.register(name, callable=lambda queue=BatchQueue(): queue)

port, authkey = int(sys.argv[1]), sys.argv[2].encode()
Manager(address=("127.0.0.1", port), authkey=authkey).get_server().serve_forever()
